"""Texts of `tacit COMMAND --help` for commands whose arguments are KEY=VALUE, without importing the commands."""

import textwrap

from experiments.catalogue import facts
from experiments.configuration.conf_files import choices, default_choices, explained

_OF_STUDIES = (
    "execution.output=FOLDER, execution.overwrite=true, execution.progress=false, execution.figures=false",
    "--format table, markdown, csv, latex or json: of the table, with nothing else on the standard output",
)


def train() -> str:
    """What `tacit train --help` prints: the keys of conf/config.yaml and of the default choice of each group."""
    lines = ["usage: tacit train [-m] [GROUP=CHOICE …] [KEY=VALUE …]", "", *explained("config")]
    for group, choice in default_choices("config").items():
        if group == "experiment":
            continue
        others = [other for other in choices(group) if other != choice]
        said = f"{group}={choice}" + f"; others: {', '.join(others)}" * bool(others)
        lines += ["", *textwrap.wrap(said, 110, subsequent_indent="  ")]
        lines += [f"  {line}" for line in explained(f"{group}/{choice}")]
    experiments = [one for one in choices("experiment") if not one.startswith("exact/")]  # of tacit phase
    return "\n".join(
        [
            *lines,
            "",
            *textwrap.wrap(f"experiment={', '.join(experiments)}", 110, subsequent_indent="  "),
            "",
            "A game, policy or learner of your own is chosen by its Python path: game=my_game.make",
            "GROUP.KEY=VALUE changes a key of a group, and -m sweeps over KEY=A,B; tacit config says what comes of it",
        ]
    )


def phase() -> str:
    """What `tacit phase --help` prints: conf/phase.yaml explains its keys."""
    return "\n".join(
        [
            "usage: tacit phase [-m] [game=NAME | game.file=PATH] [KEY=VALUE …]",
            "",
            *explained("phase"),
            "",
            "horizon=3, variant=E, …: keys of the game itself, which tacit games NAME shows; -m sweeps over KEY=A,B",
            *_OF_STUDIES,
        ]
    )


def zsc_table() -> str:
    """What `tacit zsc-table --help` prints: the keys of conf/zsc_table.yaml and the methods."""
    methods = [f"  {one['key']:<34} {one['source']}; uses {one['uses']}" for one in facts.read()["methods"]]
    return "\n".join(
        [
            "usage: tacit zsc-table [-m] [game=NAME | game.file=PATH] [method=[NAME,…]] [KEY=VALUE …]",
            "",
            *explained("zsc_table"),
            "",
            "methods:",
            *methods,
            "",
            "horizon=3, variant=A, …: keys of the game itself, which tacit games NAME shows; -m sweeps over KEY=A,B",
            *_OF_STUDIES,
        ]
    )


def structure_table() -> str:
    """What `tacit structure-table --help` prints: the keys of conf/structure_table.yaml and the structures."""
    structures = [f"  {one['name']:<16} {one['adds']}" for one in facts.read()["structures"]]
    return "\n".join(
        [
            "usage: tacit structure-table [-m] [game=NAME] [structure=[NAME,…]] [method=[NAME,…]] [KEY=VALUE …]",
            "",
            *explained("structure_table"),
            "",
            "structures, and what each adds:",
            *structures,
            "",
            "agents=3, …: keys of the game itself, which tacit games NAME shows; -m sweeps over KEY=A,B",
            *_OF_STUDIES,
        ]
    )


def adaptive() -> str:
    """What `tacit adaptive --help` prints: conf/adaptive.yaml explains its keys."""
    return "\n".join(
        [
            "usage: tacit adaptive [-m] game=NAME | game.file=PATH | payoffs=[[…],…] [KEY=VALUE …]",
            "",
            *explained("adaptive"),
            "",
            "n=3, horizon=1, …: keys of the game itself, which tacit games NAME shows; -m sweeps over KEY=A,B",
            *_OF_STUDIES,
        ]
    )
