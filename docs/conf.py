"""Sphinx: ``make docs`` builds these pages into build/docs; a warning is an error."""

from nsqx.runtime.version import VERSION

project = "nsqx"
author = "the nsqx developers"
version = release = VERSION

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns: list[str] = []
html_theme = "furo"
html_title = f"nsqx {VERSION}"
html_show_copyright = False
html_show_sphinx = False

# Links to headings, as in [x](page.md#a-heading): the same as on the pages of code hosts.
myst_heading_anchors = 4
highlight_language = "none"
# Examples of JSON leave things out (..) and name parts (NODE): those are shown as plain text.
suppress_warnings = ["misc.highlighting_failure"]
