"""How the site is built: `make docs`, without a network."""

import os
import sys
import tomllib
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent / "src")]
os.environ["PR12_WARM"] = "0"  # examples start no steps

project = "pr12"
author = "The pr12 authors"
release = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "version"
]
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "pr12_docs",
]
# shown.rst is a template of Snakemake's own report
exclude_patterns = ["examples", "shown.rst", "pr12_docs", "static", "generated/**/*.ipynb"]
default_role = "py:obj"  # single backticks of docstrings: a link where there is such a name
nitpicky = True
nitpick_ignore_regex = [("py:(?!obj).*", r".*"), ("py:obj", r"(?!pr12\.).*")]
suppress_warnings = ["config.cache"]  # functions in the settings of sphinx-gallery

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4  # as GitHub makes them
myst_links_external_new_tab = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
add_module_names = False
maximum_signature_line_length = 80
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

sphinx_gallery_conf = {
    "examples_dirs": ["examples"],
    "gallery_dirs": ["generated/examples"],
    "filename_pattern": r"\.py$",
    "abort_on_example_error": True,
    "capture_repr": (),
    "parallel": 2,
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 10**6,
    "write_computation_times": False,
}

html_title = "pr12"
html_theme = "furo"
html_math_renderer = "mathml"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_show_sphinx = False
html_last_updated_fmt = None
html_extra_path = []
