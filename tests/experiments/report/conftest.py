"""A real browser, which the tests of the report look through."""

import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def pytest_itemcollected(item):
    """What looks through the browser belongs to `make proof`; `make test` looks into the files."""
    if "browser" in item.fixturenames:
        item.add_marker(pytest.mark.proof)


def pytest_runtest_setup(item):
    """Here and not in the fixture, so that it is one line of the summary and not one a test."""
    if "browser" in item.fixturenames and CHROMIUM is None:
        pytest.skip("pages are not looked at: no chromium on the PATH (Debian's package chromium)")


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium, Debian's: playwright would download one of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page of a wide window that fails the test for a console error, an uncaught one or a request to the outside."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(20_000)
    wrong = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.append(request.url) if not _inside(request.url) else None)
    yield page
    context.close()
    assert not wrong


def _inside(url):
    return url.startswith(("file:", "data:", "blob:", "about:"))
