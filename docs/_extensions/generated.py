"""A directive whose Markdown is written when the site is built."""

import abc

from docutils import nodes
from sphinx.util.docutils import SphinxDirective


class Generated(SphinxDirective, abc.ABC):
    """A directive replaced by Markdown, which has to begin with a heading one level below the directive's own section.

    MyST would move text before the first heading to the end.
    """

    @abc.abstractmethod
    def markdown(self) -> str:
        """The Markdown that replaces the directive."""

    def run(self) -> list[nodes.Node]:
        """Parse the Markdown where the directive is."""
        return self.parse_text_to_nodes(self.markdown(), allow_section_headings=True)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |" for cells in lines) + "\n"
