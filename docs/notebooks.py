"""The notebooks from the command line: `python -m docs.notebooks` executes them and writes their figures into docs/.

A notebook is a jupytext percent script in notebooks/. One of its cells has the tag `parameters`: literals, one a line,
with the full size in a comment where it differs from the small default,

    starts = 4  # full: 32
"""

import argparse
import ast
import base64
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jupytext
import nbclient
import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
FIGURES = ROOT / "docs" / "figures"
_FULL = re.compile(r"^(\w+) = .*  # full: (.+)$", re.MULTILINE)


def read(path: Path) -> nbformat.NotebookNode:
    """Read a percent script as a notebook, not executed."""
    return jupytext.read(path, fmt="py:percent")


def parameters_cell(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The cell with the tag `parameters`.

    Raises:
      ValueError: unless exactly one cell has it.
    """
    (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    return cell


def full_size(notebook: nbformat.NotebookNode) -> dict[str, Any]:
    """The parameters that the comments of the parameters cell give for the full size."""
    return {name: ast.literal_eval(value) for name, value in _FULL.findall(parameters_cell(notebook).source)}


def execute(path: Path, folder: Path, parameters: Mapping[str, Any] | None = None) -> nbformat.NotebookNode:
    """The executed notebook of a script.

    Args:
      path: of the script.
      folder: the working directory of its kernel, in which runs are read and made.
      parameters: literals that replace those of the parameters cell, in a cell after it.

    Raises:
      nbclient.exceptions.CellExecutionError: if a cell fails.
      ValueError: for a parameter that the notebook does not have.
    """
    notebook = read(path)
    if parameters:
        cell = parameters_cell(notebook)
        known = {line.partition(" = ")[0] for line in cell.source.splitlines() if " = " in line}
        if unknown := sorted(set(parameters) - known):
            raise ValueError(f"{path.name} has no parameter {', '.join(unknown)}, only {', '.join(sorted(known))}")
        source = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
        notebook.cells.insert(notebook.cells.index(cell) + 1, nbformat.v4.new_code_cell(source))
    # Use this interpreter, whatever kernels are installed; open no ports; ignore the user's settings.
    kernels = KernelSpecManager(kernel_dirs=[])
    with tempfile.TemporaryDirectory() as own:
        manager = AsyncKernelManager(kernel_spec_manager=kernels, transport="ipc", ip=f"{own}/kernel")
        where = {"metadata": {"path": str(folder)}}
        client = nbclient.NotebookClient(notebook, km=manager, timeout=None, resources=where)
        return client.execute(cleanup_kc=True, env={**os.environ, "IPYTHONDIR": own})


def figures(notebook: nbformat.NotebookNode) -> list[bytes]:
    """The PNG files that an executed notebook shows, in order."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", ()))
    return [base64.b64decode(output.data["image/png"]) for output in outputs if "image/png" in output.get("data", {})]


def printed(notebook: nbformat.NotebookNode) -> str:
    """The text that an executed notebook prints."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", ()))
    return "".join(output.text for output in outputs if output.get("name") == "stdout")


def main(arguments: Sequence[str] | None = None) -> None:
    """Execute notebooks from the current folder and write <notebook>_<n>.png for the n-th figure of each."""
    known = sorted(path.stem for path in NOTEBOOKS.glob("[0-9]_*.py"))
    parser = argparse.ArgumentParser(prog="python -m docs.notebooks", description="Execute notebooks, write figures.")
    parser.add_argument("name", nargs="*", help=f"{', '.join(known)}; none: all")
    parser.add_argument("--full", action="store_true", help="at full size, figures to outputs/, not docs/figures/")
    given = parser.parse_args(arguments)
    if unknown := sorted(set(given.name) - set(known)):
        parser.error(f"there is no notebook {', '.join(unknown)}, only {', '.join(known)}")
    folder = Path("outputs") if given.full else FIGURES
    folder.mkdir(exist_ok=True)
    for name in given.name or known:
        path = NOTEBOOKS / f"{name}.py"
        notebook = execute(path, Path.cwd(), full_size(read(path)) if given.full else None)
        for number, figure in enumerate(figures(notebook), start=1):
            (folder / f"{name}_{number}.png").write_bytes(figure)
            print(folder / f"{name}_{number}.png")


if __name__ == "__main__":
    main()
