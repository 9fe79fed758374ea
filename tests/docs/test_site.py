"""The site builds offline without a warning, and nothing is missing on its generated pages.

What can be said without building it is in test_pages.py.
"""

import functools
import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from experiments.configuration.config import build_game
from experiments.launching import compose
from games.errors import TacitError
from tests.docs import named

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PACKAGES = ("games", "marl", "experiments", "tacit")
pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]  # the first test waits for the site
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, built from nothing by a process of its own."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-E", "-W", "--keep-going", "-q", str(DOCS), str(folder)]
    built = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True)
    assert built.returncode == 0, built.stderr.decode()
    return folder


@pytest.fixture(scope="module")
def sections(site):
    """sections(page) -> the text below each heading of a built page, without that of headings below it."""

    @functools.cache
    def read(page):
        article = re.search(r"<article.*</article>", (site / page).read_text(), re.DOTALL).group()
        parts = re.split(r"<h[1-6]>(.*?)<a class=\"headerlink\".*?</h[1-6]>", article, flags=re.DOTALL)
        texts = [html.unescape(re.sub(r"<[^>]*>", "", part)) for part in parts[1:]]
        return dict(zip(texts[::2], texts[1::2], strict=True))

    return read


def test_every_command_is_shown_with_its_help_and_an_output(sections):
    shown = sections("reference/commands.html")
    for command in named.commands():
        text = shown[f"tacit {command}"]
        printed = [line for line in text.splitlines() if line and not line.startswith("$ ")]
        assert f"$ tacit {command} --help\n" in text
        assert re.search(rf"^\$ tacit {command} (?!--help)", text, re.MULTILINE) or command == "config"
        assert len(printed) > 5, command


def test_outputs_have_no_machine_in_them(site):
    text = html.unescape(re.sub(r"<[^>]*>", "", (site / "reference" / "commands.html").read_text()))
    assert "\x1b" not in text
    assert not re.search(r"/tmp/|/home/|/root/|steps/s", text)
    assert str(ROOT) not in text


def test_every_key_is_on_the_configuration_page(sections):
    missing = []
    for file in sorted(named.CONF.rglob("*.yaml")):
        group, _, choice = file.relative_to(named.CONF).with_suffix("").as_posix().partition("/")
        if group == "hydra":
            group, choice = f"{group}/{file.parent.name}", file.stem
        shown = sections("reference/configuration.html")[f"{group}={choice}" if choice else f"conf/{group}.yaml"]
        keys = named.keys(file)
        if OmegaConf.load(file).get("_target_", "") not in shown:
            missing.append(f"{file}: _target_")
        keys = [key for key in keys if key != "_target_"]
        missing += [
            f"{file}: {key}" for key in keys if not re.search(rf"^\s*{re.escape(key)}\s*$", shown, re.MULTILINE)
        ]
    assert not missing


def test_every_slice_of_every_observer_is_on_the_observations_page(sections):
    shown = sections("reference/observations.html")
    names = [file.stem for file in (named.CONF / "game").glob("*.yaml") if file.stem != "file"]
    assert len(names) > 20
    for name in names:
        game = build_game(compose.compose([f"game={name}"])["game"])
        text = shown[f"game={name}"]
        for observer_name in game.observers:
            assert f"{observer_name}: " in text
            try:
                layout = game.observer(observer_name).layout
            except TacitError as error:
                assert str(error) in text
                continue
            for section in layout.sections:
                entries = rf"{section.start}\s…\s{section.stop - 1}"
                assert re.search(rf"{entries}\s+{re.escape(section.name)}\s", text), section


@pytest.mark.parametrize("package", sorted({".".join(file.relative_to(ROOT).parent.parts) for file in FILES}))
def test_every_public_module_is_on_the_page_of_its_package(sections, package):
    shown = sections(f"reference/api/{package}.html")
    modules = [file.stem for file in (ROOT / package.replace(".", "/")).glob("*.py") if not file.stem.startswith("_")]
    assert {package, *(f"{package}.{module}" for module in modules)} <= shown.keys()


def test_a_function_is_shown_with_its_arguments(sections):
    text = sections("reference/api/marl.crossplay.html")["seatings"]
    assert "num_agents: int" in text and "-> np.ndarray" in text and "TacitError" in text


def test_pages_load_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        loaded = re.findall(r"<(?:link|script|img)\b[^>]*?(?:href|src)=\"([^\"]*)\"", page.read_text())
        assert not [address for address in loaded if re.match(r"(https?:)?//", address)], page
