"""Finished runs of a toy game that several tests look at, and a real browser, which tests of pages look through."""

import contextlib
import copy
import functools
import shutil
from pathlib import Path

import jax
import pytest

from experiments import runs
from experiments.configuration.config import JobConfig
from experiments.launching import compose
from tests.command_line import TINY, call, write_synthetic_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def tiny_overrides():
    """The arguments of `tacit train` for the toy game."""
    return TINY


@pytest.fixture(scope="session")
def tacit():
    """tacit(*arguments) -> status, out, err."""
    return call


@pytest.fixture(scope="session")
def plain():
    """plain({"learner.gamma": 0.5, …}) -> the toy configuration as plain data, with dotted keys replaced."""
    composed = compose.compose(TINY)

    def change(changes=()):
        made = copy.deepcopy(composed)
        for dotted, value in dict(changes).items():
            *groups, key = dotted.split(".")
            place = made
            for group in groups:
                place = place[group]
            place[key] = value
        return made

    return change


@pytest.fixture(scope="session")
def make_job(plain):
    """make_job(output, {"learner.gamma": 0.5, …}) -> a checked job."""
    return lambda output, changes=(): JobConfig.parse(plain({"execution.output": str(output), **dict(changes)}))


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder with what `tacit train` left: runs of the toy game at two coefficients. Tests only read it."""
    folder = tmp_path_factory.mktemp("finished")
    with contextlib.chdir(folder):
        said = call("train", *TINY, "learner.entropy_coef=[0.01,0.1]")
    assert said.status == 0, said.err
    return folder, said


@pytest.fixture(scope="session")
def finished_runs(finished, make_job):
    """Its run directories, in the order of the coefficients."""
    folder, _ = finished
    return [folder / "runs" / run.name() for run in make_job("runs", {"learner.entropy_coef": [0.01, 0.1]}).runs]


@pytest.fixture
def a_run(finished_runs, tmp_path):
    """A copy of a finished run that a test may spoil."""
    return Path(shutil.copytree(finished_runs[0], tmp_path / "copies" / finished_runs[0].name))


@pytest.fixture(scope="session")
def make_run(make_job):
    """make_run(folder, {"policy.torso": [4], …}) -> the directory of a run that is finished, but learned nothing."""

    def make(folder, changes):
        (run,) = make_job(folder, changes).runs
        path = runs.claim(folder, run, overwrite=False)
        built = run.built
        keys = jax.random.split(jax.random.key(1), run.seeds)
        state = jax.lax.map(lambda key: built.learner.init(built.hyperparameters, key=key), keys)
        runs.write_policies(path / "policies.safetensors", run, jax.device_get(state.params))
        runs.write_status(path, "finished", steps=0)
        return path

    return make


@pytest.fixture(scope="session")
def wide_run(tmp_path_factory, make_run):
    """A run of the toy game with another network."""
    return make_run(tmp_path_factory.mktemp("wide"), {"policy.torso": [4, 6], "policy.actor": [3]})


@pytest.fixture(scope="session")
def synthetic_run(plain):
    """synthetic_run(root, seeds=8, …, **{"learner.gamma": 0.5}) -> the directory of a run that nobody trained.

    Args:
      root: the folder of runs.
      seeds, players: of the toy game.
      score: mean cross-play score, with noise, and self-play 30 % above; or seats -> the exact score of a cell.
      state: finished | running (by a process that lives) | killed | interrupted | failed.
      name: of the directory, instead of the run's.
      overrides: dotted keys of the configuration; game=… replaces the whole group.
    """
    return functools.partial(write_synthetic_run, plain())


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
    """A page of a wide window that fails the test for a console error, an uncaught one or a request to the outside.

    `page.wrong` lists them: a test that provokes some takes them out.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(20_000)
    wrong = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.append(request.url) if not _inside(request.url) else None)
    page.wrong = wrong
    yield page
    context.close()
    assert not wrong


def _inside(url):
    return url.startswith(("file:", "data:", "blob:", "about:", "http://127.0.0.1:"))
