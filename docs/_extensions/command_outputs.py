"""Commands with what they print: the directive `{tacit}` runs its lines when the site is built.

All commands of a page run in this process, one after the other, in one scratch folder, so that later ones see the runs
of earlier ones. A path with * is expanded in that folder, as by a shell.
"""

import contextlib
import glob
import io
import os
import re
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

_FOLDER = "tacit_folder"
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PROGRESS = re.compile(r"^[^│\n]*: [\d,]+ of [\d,]+( steps.*)?\n", re.MULTILINE)
"""Lines of progress, which are left out: on a terminal a progress bar is shown instead, and then removed."""


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("tacit", Tacit)
    return {"parallel_read_safe": False}


class Tacit(SphinxDirective):
    """Shows each of its lines as a command, followed by its output; a \\ continues a command on the next line."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Run the commands; if one fails, building the page is an error."""
        if _FOLDER not in self.env.temp_data:  # one folder for each page, removed when the page has been read
            self.env.temp_data[_FOLDER] = tempfile.TemporaryDirectory()
        folder = Path(self.env.temp_data[_FOLDER].name)
        shown = []
        for command in re.split(r"(?<!\\)\n", "\n".join(self.content)):
            status, printed, complaint = call(command.replace("\\\n", " "), folder)
            if status:
                raise self.error(f"{command} ended with status {status}: {complaint}")
            shown.append(f"$ {command}\n{printed}")
        text = "\n".join(shown)
        return [nodes.literal_block(text, text, language="console")]


def call(command: str, folder: Path) -> tuple[int, str, str]:
    """Run a command line of `tacit` in a folder.

    Returns:
      Its exit status, standard output and standard error.
    """
    from experiments import cli

    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
        _in(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", ["tacit", *_words(command, folder)]),
        mock.patch.object(sys, "stdin", io.StringIO()),  # nobody types
    ):
        try:
            cli.main()
        except SystemExit as end:
            status = int(end.code or 0)
    return status, _portable(out.getvalue(), folder), err.getvalue()


@contextlib.contextmanager
def _in(folder: Path) -> Iterator[None]:
    """Set the working directory and the environment of a command, and restore them afterwards."""
    on_term = signal.getsignal(signal.SIGTERM)
    environment = {"XDG_CACHE_HOME": str(folder / ".cache"), "COLUMNS": "100"}
    try:
        with contextlib.chdir(folder), mock.patch.dict(os.environ, environment):
            yield
    finally:
        signal.signal(signal.SIGTERM, on_term)


def _words(command: str, folder: Path) -> list[str]:
    """The arguments of a command line that begins with `tacit`, as a shell in the folder reads them."""
    first, *words = shlex.split(command)
    if first != "tacit":
        raise ValueError(f"a command must begin with tacit, not {first!r}")
    return [match for word in words for match in (sorted(glob.glob(word, root_dir=folder)) if "*" in word else [word])]


def _portable(text: str, folder: Path) -> str:
    """The output without colour codes, progress and the name of the scratch folder, so that it is always the same."""
    text = _PROGRESS.sub("", _ESCAPES.sub("", text))
    text = text.replace(f"{folder.resolve()}/", "").replace(f"{folder}/", "")
    return "\n".join(line.rstrip() for line in text.splitlines())
