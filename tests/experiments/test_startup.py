"""Commands that say what is known start at once: without jax, flax and matplotlib, from facts that hold."""

import json
import re
import subprocess
import sys

import pytest

from experiments.catalogue import described, facts, listing
from experiments.configuration import conf_files
from experiments.configuration.config import build_game
from experiments.launching import compose

PROGRAM = """
import contextlib, io, json, signal, sys
from experiments import cli

heavy, said = ("jax", "flax", "matplotlib"), []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["tacit", *arguments]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            cli.main()
        except SystemExit as ended:
            status = ended.code
    said.append([status, out.getvalue(), [name for name in heavy if name in sys.modules]])
print(json.dumps(said))
"""
"""Runs several commands in one process, and says after each what is loaded, which only grows."""

CONFIGURED = ("phase", "zsc-table", "structure-table", "adaptive")
PARSED = (
    "crossplay", "zoo", "compare", "report", "export", "status", "runs", "methods", "conventions", "symmetries",
    "games", "play", "verify", "config",
)  # fmt: skip


@pytest.mark.slow
def test_what_is_only_said_loads_no_heavy_library(synthetic_run, tacit, tmp_path):
    root = tmp_path / "runs"
    for seed in range(2):
        synthetic_run(root, first_seed=seed)
    synthetic_run(root, first_seed=2, state="failed")
    compared = ["compare", *map(str, sorted(root.iterdir())), "--format", "csv"]
    commands = [
        ["--help"],
        *([name, flag] for name in CONFIGURED for flag in ("--help", "-h")),
        *([name, "--help"] for name in PARSED),
        ["games"],
        *(["games", name] for name in ("hanabi", "dectiger", "many_edits")),
        ["status", str(root)],
        ["status", str(root), "--json"],
        ["runs", "check", str(root)],
        compared,
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(commands)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = dict(zip(map(" ".join, commands), json.loads(done.stdout), strict=True))
    assert {command: (status, heavy) for command, (status, _, heavy) in said.items()} == dict.fromkeys(said, (0, []))
    assert all(out.strip() for _, out, _ in said.values())
    for command in (["games"], ["runs", "check", str(root)], compared):  # where all is loaded they say the same
        assert tacit(*command).out == said[" ".join(command)][1]


def test_every_command_with_help_is_tried(tacit):
    named = tacit("fly").err.partition("there are ")[2].strip().split(", ")
    assert set(named) == {"train", *CONFIGURED, *PARSED}


@pytest.mark.slow
def test_the_facts_hold():
    assert facts.computed() == facts.read(), "python -m experiments.catalogue.facts writes the file anew"


@pytest.mark.parametrize("name", ["dectiger", "hanabi_very_small"])
def test_the_facts_of_a_game_are_those_of_the_game(name):
    group = conf_files.written("game", name)
    game, known = build_game(group), facts.of_game(group)
    assert known["page"] == described.page(name, group, game)
    assert known["row"] == described.row(game)
    assert (known["name"], tuple(known["score_range"])) == (game.name, game.score_range)


@pytest.mark.slow
def test_files_of_conf_are_read_as_hydra_composes_them():
    for name in conf_files.choices("game"):
        composed = compose.compose([f"game={name}", *["game.file=x"] * (name == facts.FROM_FILE)])["game"]
        assert conf_files.written("game", name) | ({"file": "x"} if name == facts.FROM_FILE else {}) == composed


def test_a_game_that_was_changed_is_built_and_not_remembered(monkeypatch):
    written, known = conf_files.written, facts.read()["games"]
    assert facts.of_game(written("game", "lever") | {"mismatch": 0}) == known["lever"]  # 0 is 0.0
    assert facts.of_game(written("game", "lever") | {"mismatch": 0.5}) is None
    before = listing.list_games().splitlines()
    changed = {"dectiger": {"horizon": 2}}
    monkeypatch.setattr(conf_files, "written", lambda group, name: written(group, name) | changed.get(name, {}))
    differing = [line for line in listing.list_games().splitlines() if line not in before]
    assert [re.split("  +", line) for line in differing] == [
        ["dectiger", "2", "2", "3 x 3", "2 x 2", "2", "1", "4 / 2", "-4"]
    ]
