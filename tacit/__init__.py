"""Tacit from Python: make a game, train seeds, load runs, play agents with each other, estimate, compare, draw.

    import tacit

    runs = tacit.train(game="lever", policy="tabular", seeds=8)
    print(tacit.compare(runs))

Functions that take KEY=VALUE arguments take those of the command of the same name, as texts, keywords or mappings. The
names below are the whole of it, and they stay; what lies below this package may change with every version.
Each is imported at its first use, so that `import tacit` costs next to nothing.
"""

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tacit import hiding

if TYPE_CHECKING:
    from experiments.runs import Runs, load
    from experiments.training.stopping import Paused
    from games.errors import TacitError
    from marl.agent import Agent
    from marl.crossplay import synthetic
    from tacit import figures
    from tacit.functions import (
        compare,
        conventions,
        crossplay,
        make,
        methods,
        partners,
        phase,
        structure_table,
        summarise,
        symmetries,
        train,
        zsc_table,
    )

__all__ = [
    "Agent",
    "Paused",
    "Runs",
    "TacitError",
    "compare",
    "conventions",
    "crossplay",
    "figures",
    "load",
    "make",
    "methods",
    "partners",
    "phase",
    "structure_table",
    "summarise",
    "symmetries",
    "synthetic",
    "train",
    "zsc_table",
]

_MODULES = {"figures": "tacit.figures", "synthetic": "marl.crossplay.synthetic"}
_ELSEWHERE = {
    "Agent": "marl.agent",
    "Paused": "experiments.training.stopping",
    "Runs": "experiments.runs",
    "TacitError": "games.errors",
    "load": "experiments.runs",
}
"""Names that are not of `tacit.functions`, and the module of each."""

if _hidden := hiding.sentence():
    # The command says it as it says every mistake, in one line; its program imports this package before anything else.
    _program = sys.argv[0] if sys.argv else ""
    if _program == "-m":  # while Python looks for the module of `python -m MODULE`
        _program = sys.orig_argv[-len(sys.argv)].removeprefix("-m")
    if Path(_program).stem == "tacit":
        sys.stderr.write(f"tacit: {_hidden}\n")
        raise SystemExit(2)
    raise ImportError(_hidden)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'tacit' has no attribute {name!r}; it has {', '.join(__all__)}")
    module = importlib.import_module(_MODULES.get(name) or _ELSEWHERE.get(name, "tacit.functions"))
    found = module if name in _MODULES else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
