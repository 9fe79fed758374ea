"""How sphinx builds the site, offline: `make docs`."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_extensions"), str(HERE.parent)]

project = "Tacit"
copyright = "the authors of Tacit, Apache-2.0"  # furo's footer

extensions = [
    "myst_parser",
    "api_pages",
    "command_outputs",
    "configuration_tables",
    "observation_tables",
]
exclude_patterns = ["_build", "_extensions"]

myst_heading_anchors = 3  # as on GitHub, for links such as runs.md#long-runs-in-pieces

html_theme = "furo"
html_title = "Tacit"
html_static_path = ["_static"]
html_css_files = ["tacit.css"]
html_show_sphinx = False
html_copy_source = False
pygments_style = "default"
pygments_dark_style = "monokai"
