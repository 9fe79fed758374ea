"""The configuration as tables: the directive `{configuration} PATH` shows a file or a folder of conf/.

Our files have one key per line with its meaning in a comment after it, and comments at the top about the whole file.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from generated import Generated, table
from omegaconf import OmegaConf
from sphinx.application import Sphinx

CONF = Path(__file__).parents[2] / "conf"
_LINE = re.compile(r"(?P<indent> *)(?:(?P<key>[\w.]+):|-)(?: +(?P<value>[^#]*?))? *(?:# *(?P<comment>.*))?")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("configuration", Configuration)
    return {"parallel_read_safe": True}


class Key(NamedTuple):
    """A key of a file with its groups, joined by dots; its value as written there; and its meaning."""

    name: str
    value: str
    meaning: str


class Configuration(Generated):
    """`{configuration} learner`: a section for each file of the folder; `{configuration} phase.yaml`: that file."""

    required_arguments = 1

    def markdown(self) -> str:
        """The sections."""
        files = files_of(self.arguments[0])
        for file in files:
            self.env.note_dependency(str(file))
        return "\n\n".join(_section(file) for file in files)


def files_of(path: str) -> list[Path]:
    """A file of conf/, or all files of a folder of it."""
    return [CONF / path] if path.endswith(".yaml") else sorted((CONF / path).rglob("*.yaml"))


def keys_of(file: Path) -> list[Key]:
    """The keys of a file that have a value, except `defaults` and, in a command's own file, `hydra`."""
    found: list[Key] = []
    groups: list[tuple[int, str]] = []
    for line in file.read_text().splitlines():
        parts = _LINE.fullmatch(line)
        if parts is None:
            comment = line.strip().removeprefix("# ")
            if found and line.strip().startswith("#"):
                found[-1] = found[-1]._replace(meaning=f"{found[-1].meaning} {comment}")
        elif parts["key"] is None:  # an item of a list
            found[-1] = found[-1]._replace(value=f"{found[-1].value}, {parts['value']}".removeprefix(", "))
        else:
            indent = len(parts["indent"])
            groups = [*(group for group in groups if group[0] < indent), (indent, parts["key"])]
            name = ".".join(key for _, key in groups)
            found.append(Key(name, parts["value"] or "", parts["comment"] or ""))
    groups_of_keys = {key.name for key in found for other in found if other.name.startswith(f"{key.name}.")}
    leaves = [key for key in found if key.name not in groups_of_keys]
    unread = ("defaults", "hydra") if file.parent == CONF else ("defaults",)  # `hydra` is not for users
    return [key for key in leaves if key.name.partition(".")[0] not in unread]


def _section(file: Path) -> str:
    """A choice of a group with what it is for, what it builds and its keys."""
    text = file.read_text()
    head = [line.removeprefix("# ") for line in _leading_comments(text) if not line.startswith("# @package")]
    parts = [f"### `{_choice(file)}`", " ".join(head)]
    keys = keys_of(file)
    parts += [f"Builds `{key.value}`." for key in keys if key.name == "_target_"]
    plain: Any = OmegaConf.to_container(OmegaConf.load(file))
    defaults = plain.get("defaults", [])
    parents = [f"`{item}`" for item in defaults if isinstance(item, str) and item != "_self_"]
    chosen = [
        f"`{key.split()[-1].strip('/')}={choice}`"
        for item in defaults
        if isinstance(item, dict)
        for key, choice in item.items()
        if choice not in (None, "none")
    ]
    if parents:
        parts.append(f"All keys of {', '.join(parents)}; its own are:")
    if chosen:
        parts.append(f"Chooses {', '.join(chosen)}.")
    rows = [[f"`{key.name}`", f"`{key.value}`", _plain(key.meaning)] for key in keys if key.name != "_target_"]
    if rows:
        parts.append(table(["key", "default", "meaning"], rows))
    return "\n\n".join(parts)


def _choice(file: Path) -> str:
    """A file as chosen on a command line: conf/learner/ippo.yaml is learner=ippo; conf/phase.yaml is just the file."""
    relative = file.relative_to(CONF).with_suffix("")
    group, _, choice = relative.as_posix().partition("/")
    if group == "hydra":
        group, _, choice = relative.as_posix().rpartition("/")
    return f"{group}={choice}" if choice else f"conf/{group}.yaml"


def _leading_comments(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if not line.startswith("#"):
            return
        yield line


def _plain(text: str) -> str:
    """Text with all markup escaped except backticks."""
    return re.sub(r"([<*\[])", r"\\\1", text)
