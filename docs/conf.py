"""Sphinx: ``make docs`` builds these pages into build/docs; a warning is an error."""

from nsqx.protocol.version import VERSION

project = "nsqx"
author = "the nsqx developers"
version = release = VERSION

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns: list[str] = []
html_theme = "furo"
html_title = f"nsqx {VERSION}"
html_show_copyright = False
html_show_sphinx = False

# Links to headings, as in [x](page.md#a-heading): the same as on the pages of code hosts.
myst_heading_anchors = 4
highlight_language = "none"

# The reference of the client is made from its docstrings, in which `name` is code.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_class_signature = "separated"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
# Examples of JSON leave things out (..) and name parts (NODE): those are shown as plain text.
suppress_warnings = ["misc.highlighting_failure"]
