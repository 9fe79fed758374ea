"""What the pages say without being built: links lead somewhere, and what is generated for them lacks nothing.

`make proof` builds the site and looks at the result (test_site.py).
"""

import importlib
import re
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from experiments.configuration.config import build_game
from experiments.launching import compose
from tests.docs import named

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PACKAGES = ("games", "marl", "experiments", "tacit")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]


@pytest.fixture(scope="module")
def extension():
    """extension(NAME) -> a module of docs/_extensions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(DOCS / "_extensions"), *sys.path])
        yield importlib.import_module


def prose(page):
    """A page without its blocks of code."""
    return re.sub(r"^(```|~~~).*?^\1", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page):
    """The anchors of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#{1,3} (.*)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def test_links_lead_somewhere():
    dead = []
    for page in PAGES:
        for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
            if re.match(r"(https?|mailto):", link):
                continue
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            generated = DOCS / "reference" in target.parents  # headings of directives
            if not target.exists() or (anchor and not generated and anchor not in anchors(target)):
                dead.append(f"{page.relative_to(ROOT)}: {link}")
    assert not dead


def test_every_page_is_in_a_table_of_contents():
    listed = {DOCS / "index.md"}
    for page in PAGES:
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
            names = [line for line in block.splitlines() if line and not line.startswith(":")]
            listed |= {page.parent / f"{name}.md" for name in names}
    assert {page for page in PAGES if DOCS in page.parents} == listed


def walks():
    """Of architecture.md: the items of each walk, by its title."""
    section = (DOCS / "architecture.md").read_text().partition("## Three walks")[2].partition("\n## ")[0]
    _, *parts = re.split(r"^\*\*(.+?)\*\*", section, flags=re.MULTILINE)
    items = [re.split(r"^\d+\. ", text, flags=re.MULTILINE)[1:] for text in parts[1::2]]
    return dict(zip(parts[::2], items, strict=True))


def test_walks_name_what_there_is_and_enter_each_room_once():
    assert len(walks()) == 3
    for title, items in walks().items():
        assert len(items) <= 12
        rooms = []
        for item in items:
            files = [ROOT / file for file in re.findall(r"`((?:experiments|marl|games)/[\w/]+\.py)`", item)]
            scripts = [ROOT / "experiments/report" / file for file in re.findall(r"`(static/\w+\.js)`", item)]
            source = "\n".join(file.read_text() for file in [*files, *scripts])
            defined = set(re.findall(r"(?:def|class|function) (\w+)", source))
            for name in re.findall(r"`([A-Za-z_]+(?:\.[a-z_]+)?)`", item):
                if not name.endswith((".json", ".npz", ".js")):
                    assert set(name.split(".")) <= defined, f"{title}: {name} is in none of the files of its item"
            rooms.append(files[0].parent)
        assert len(set(rooms)) == len(rooms), title


def test_every_room_of_experiments_is_in_the_table_below_what_it_needs():
    text = (DOCS / "architecture.md").read_text()
    rooms = [file.parent.name for file in (ROOT / "experiments").glob("*/__init__.py")]
    listed = re.findall(r"^\| `(\w+)/` \| ", text, re.MULTILINE)
    assert sorted(listed) == sorted(rooms)
    for place, room in enumerate(listed):  # each imports from those above it
        for file in (ROOT / "experiments" / room).glob("*.py"):
            imported = set(re.findall(r"from experiments\.(\w+)", file.read_text()))
            assert imported & set(listed) <= set(listed[: place + 1]), file


def test_every_command_is_shown_with_its_help_and_an_output():
    text = (DOCS / "reference" / "commands.md").read_text()
    sections = dict(re.findall(r"^## `tacit ([\w-]+)`\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE))
    assert sorted(sections) == sorted(named.commands())
    for command, section in sections.items():
        run = [
            line
            for block in re.findall(r"^```\{tacit\}\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
            for line in block.splitlines()
        ]
        assert f"tacit {command} --help" in run
        assert any(re.match(rf"tacit {command} (?!--help)", line) or line == f"tacit {command}" for line in run)


@pytest.mark.slow
def test_every_key_is_on_the_configuration_page(extension):
    tables = extension("configuration_tables")
    page = (DOCS / "reference" / "configuration.md").read_text()
    shown = {
        file: tables._section(file)
        for path in re.findall(r"^```\{configuration\} (\S+)$", page, re.MULTILINE)
        for file in tables.files_of(path)
    }
    assert set(shown) == set(named.CONF.rglob("*.yaml"))
    missing = []
    for file, text in shown.items():
        keys = named.keys(file)
        assert f"Builds `{OmegaConf.load(file).get('_target_')}`." in text or "_target_" not in keys
        missing += [f"{file}: {key}" for key in keys if key != "_target_" and f"| `{key}` | " not in text]
    assert not missing


@pytest.mark.parametrize("name", ["hanabi_2x3", "lever"])
def test_every_slice_of_every_observer_is_on_the_observations_page(extension, name):
    game = build_game(compose.compose([f"game={name}"])["game"])
    text = extension("observation_tables").section(name)
    assert text.startswith(f"## `game={name}`\n")
    for observer_name in game.observers:
        assert f"`{observer_name}`: " in text
        for section in game.observer(observer_name).layout.sections:
            entries = rf"{section.start}\s…\s{section.stop - 1}"
            assert re.search(rf"{entries} \| `{re.escape(section.name)}` ", text), section


@pytest.mark.slow
def test_every_public_module_is_on_the_page_of_its_package(extension):
    api = extension("api_pages")
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    for package in sorted({".".join(file.relative_to(ROOT).parent.parts) for file in files}):
        page = (DOCS / "reference" / "api" / f"{package}.md").read_text()
        assert f"```{{api}} {package}\n" in page
        text = "\n".join(map(api.describe, api.modules(package)))
        own = (ROOT / package.replace(".", "/")).glob("*.py")
        names = [f"{package}.{file.stem}" for file in own if not file.stem.startswith("_")]
        assert [name for name in names if f"## `{name}`\n" not in text] == []


def test_a_function_is_shown_with_its_arguments(extension):
    api = extension("api_pages")
    (text,) = (api.describe(path) for path in api.modules("marl.crossplay") if path.stem == "cells")
    _, _, shown = text.partition("### `seatings`")
    shown = shown.partition("\n### ")[0]
    assert "num_agents: int" in shown and "-> np.ndarray" in shown and "TacitError" in shown
