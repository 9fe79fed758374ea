"""Folders of a user's own that hide packages of the lab, because they have the same name and Python looks there first.

Python puts the folder of a script, or with `python -m` and in notebooks the current folder, before the installed
packages; PYTHONPATH comes next. A program such as `tacit` has neither, but PYTHONPATH.
"""

import importlib.util
from pathlib import Path

PACKAGES = ("conf", "experiments", "games", "marl")
"""The packages that Tacit needs beside this one."""


def sentence() -> str:
    """Which folder or file hides which package of the lab, and what to do; "" if none does. Imports nothing."""
    lab = Path(__file__).resolve().parents[1]
    for name in PACKAGES:
        found = _place(name)
        if found is None:
            return f"Tacit's package {name!r} is not installed beside {Path(__file__).parent}: install Tacit again"
        if found.resolve() != lab / name:
            what = "file" if found.suffix else "folder"
            return (
                f"the {what} {found} hides Tacit's package {name!r}: run from another folder, or rename it "
                "(Python looks into the current folder and PYTHONPATH first)"
            )
    return ""


def _place(name: str) -> Path | None:
    """The folder or file that `import name` takes."""
    try:
        found = importlib.util.find_spec(name)
    except ValueError:  # imported already, without a spec
        return None
    if found is None:
        return None
    if found.submodule_search_locations:
        return Path(next(iter(found.submodule_search_locations)))
    return None if found.origin is None else Path(found.origin)
