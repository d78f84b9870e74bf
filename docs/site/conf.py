"""Sphinx configuration of the documentation site (``make site``); the pages come from ``tools/site_pages.py``."""

import importlib.metadata

from sphinx.ext.napoleon import Config, GoogleDocstring

project = "imagefinder"
author = "The imagefinder authors"
release = importlib.metadata.version("imagefinder")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
suppress_warnings = ["ref.python"]  # names of builtins that a dataclass uses for a field, such as bytes

myst_heading_anchors = 4
myst_links_external_new_tab = False
myst_url_schemes = ["http", "https", "mailto"]

autodoc_default_options = {"members": True, "undoc-members": True}
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autoclass_content = "both"
maximum_signature_line_length = 88
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"imagefinder {release}"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
pygments_style = "friendly"


def setup(app):
    """Read docstrings in Google style."""
    app.connect("autodoc-process-docstring", _read_google_style)


def _read_google_style(*event):
    _app, what, _name, _object, _options, lines = event
    # Napoleon's own hook takes "Words: more words" as the docstring of an attribute for a type and a description.
    if what not in {"attribute", "data", "property"}:
        lines[:] = GoogleDocstring(lines, Config(napoleon_use_ivar=True)).lines()
