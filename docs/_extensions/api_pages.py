"""API pages from docstrings: the directive `{api} PACKAGE` shows the public names in the modules of a package.

The sources are parsed, not imported. Our docstrings are Markdown with the sections of Google's style. Sphinx's own
autodoc would read them as reStructuredText, and take several times as long.
"""

import ast
import inspect
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from generated import Generated
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
_WIDTH = 88
_SECTION = re.compile(r"(Args|Attributes|Example|Note|Raises|Returns|Yields):")
_ITEM = re.compile(r"  ([^\s:`][^:`]*): ")

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Public = _Function | ast.ClassDef | ast.Assign | ast.AnnAssign


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("api", Api)
    return {"parallel_read_safe": True}


class Api(Generated):
    """`{api} marl.exact`: a section for each module of the package."""

    required_arguments = 1

    def markdown(self) -> str:
        """The modules of the package, itself first."""
        found = []
        for path in modules(self.arguments[0]):
            self.env.note_dependency(str(path))
            found.append(describe(path))
        return "\n\n".join(found).lstrip()


def modules(package: str) -> list[Path]:
    """The source files of a package's public modules, itself first; packages in it have pages of their own."""
    files = sorted((ROOT / package.replace(".", "/")).glob("*.py"))
    return [file for file in files if file.stem == "__init__" or not file.stem.startswith("_")]


def name_of(path: Path) -> str:
    """The full name of a module: games/game.py is games.game."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def describe(path: Path) -> str:
    """The section of a module in Markdown; nothing for a package that only holds modules."""
    source = path.read_text()
    tree = ast.parse(source)
    title = "## In the package itself" if path.stem == "__init__" else f"## `{name_of(path)}`"
    parts = [title, prose(ast.get_docstring(tree) or ""), *_from_elsewhere(tree)]
    for node, doc in _public(tree.body):
        heading = f"### `{_name(node)}`"
        if isinstance(node, ast.ClassDef):
            parts += [heading, _code(_class_line(node)), prose(doc), *_members(node, source)]
        elif isinstance(node, _Function):
            parts += [heading, _code(_signature(node, wrapped=True)), prose(doc)]
        elif doc:
            parts += [heading, prose(doc)]
    return "\n\n".join(part for part in parts if part) if tree.body else ""


def _public(body: list[ast.stmt]) -> Iterator[tuple[_Public, str]]:
    """The public definitions of a module or a class, each with its docstring or the string below it."""
    for node, below in itertools.pairwise([*body, None]):
        if isinstance(node, _Public) and not _name(node).lstrip("(").startswith("_"):
            if isinstance(node, ast.Assign | ast.AnnAssign):
                text = below.value if isinstance(below, ast.Expr) else None
                yield node, inspect.cleandoc(str(text.value)) if isinstance(text, ast.Constant) else ""
            else:
                yield node, ast.get_docstring(node) or ""


def _name(node: _Public) -> str:
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0])
    return ast.unparse(node.target) if isinstance(node, ast.AnnAssign) else node.name


def _from_elsewhere(tree: ast.Module) -> list[str]:
    """The names in a package's `__all__`, with the modules that they come from."""
    imported = {
        name.asname or name.name: f"{node.module}.{name.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    exported = [
        name
        for node in tree.body
        if isinstance(node, ast.Assign) and _name(node) == "__all__"
        for name in ast.literal_eval(node.value)
    ]
    names = [f"`{imported[name]}`" for name in exported if name in imported]
    return [f"Also importable from here: {', '.join(names)}."] if names else []


def _members(owner: ast.ClassDef, source: str) -> list[str]:
    """Fields with their types and comments, then methods, as a list."""
    items = []
    for node, doc in _public(owner.body):
        if isinstance(node, _Function):
            decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
            is_property = any("property" in decorator for decorator in decorators)
            shown = f"{node.name}: {ast.unparse(node.returns)}" if is_property and node.returns else _signature(node)
        elif isinstance(node, ast.AnnAssign):
            shown = ast.unparse(node)
            assert node.end_lineno is not None  # nodes that were parsed have one
            doc = doc or source.splitlines()[node.end_lineno - 1][node.end_col_offset :].strip().removeprefix("# ")
        else:
            continue
        text = prose(doc)
        items.append(f"- `{shown}`" + (f"\n\n{indented(text)}" if "\n" in text else f": {text}" if text else ""))
    return ["**Members**\n\n" + "\n".join(items)] if items else []


def indented(text: str) -> str:
    """The lines as part of a list's item."""
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())


def _class_line(node: ast.ClassDef) -> str:
    return f"class {node.name}" + (f"({', '.join(map(ast.unparse, node.bases))})" if node.bases else "")


def _signature(node: _Function, *, wrapped: bool = False) -> str:
    """`name(arguments) -> result` without `self`; if `wrapped`, with an argument a line where it is long."""
    arguments = _arguments(node.args)
    result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"{node.name}({', '.join(arguments)}){result}"
    if not wrapped or len(line) <= _WIDTH:
        return line
    lines = "".join(f"    {argument},\n" for argument in arguments)
    return f"{node.name}(\n{lines}){result}"


def _arguments(listed: ast.arguments) -> list[str]:
    """Each with its annotation and its default, with * before those that are given by name only."""
    positional = [*listed.posonlyargs, *listed.args]
    required = [None] * (len(positional) - len(listed.defaults))
    shown = [_argument(*pair) for pair in zip(positional, [*required, *listed.defaults], strict=True)]
    by_name = [_argument(*pair) for pair in zip(listed.kwonlyargs, listed.kw_defaults, strict=True)]
    star = [f"*{ast.unparse(listed.vararg)}"] if listed.vararg else ["*"] if by_name else []
    rest = [f"**{ast.unparse(listed.kwarg)}"] if listed.kwarg else []
    return [text for text in (*shown, *star, *by_name, *rest) if text not in ("self", "cls")]


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    return ast.unparse(argument) + (f" = {ast.unparse(default)}" if default else "")


def _code(text: str) -> str:
    return f"```python\n{text}\n```"


def prose(doc: str) -> str:
    """A docstring as Markdown: its sections are bold words with lists below, its examples blocks of code."""
    found: list[str] = []
    in_section = in_example = False
    for line in [*doc.splitlines(), ""]:
        if in_example and not line:
            in_example = False
            found += ["```", ""]
        elif in_example or line.startswith(">>> "):
            found += [line] if in_example else ["```pycon", line]
            in_example = True
        elif _SECTION.fullmatch(line):
            in_section = True
            found += [f"**{line.removesuffix(':')}**", ""]
        elif line.startswith("  ") and in_section:
            item = _ITEM.match(line)
            found.append(f"- `{item.group(1)}`: {_text(line[item.end() :])}" if item else _text(line))
        else:
            in_section = in_section and not line
            found.append(line if line.startswith("    ") else _text(line))
    return "\n".join(found).strip("\n")


def _text(line: str) -> str:
    """A line without HTML and links, which our docstrings do not have: they write runs/<hash> and float64[B]."""
    parts = line.split("`")
    parts[::2] = [re.sub(r"([<\[])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)
