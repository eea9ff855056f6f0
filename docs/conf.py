"""Sphinx configuration: an API reference by numpydoc, and a gallery of the examples.

    sphinx-build -W -b html docs docs/_build

needs no network and runs no example. With SKVAE_GALLERY=1 in the environment the examples run, and their output and pictures
are shown; that takes minutes.
"""

import os
import sys
from pathlib import Path

from skvae import __version__

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "skvae"
copyright = "The skvae developers"
author = "The skvae developers"
release = version = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "mathtext",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "**/*.py.md5"]
templates_path = ["_templates"]
default_role = "code"  # single backticks in docstrings are names

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings state types
numpydoc_show_class_members = False  # the template of classes lists them

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    # a pattern that no name has: examples are shown, and not run
    "filename_pattern": r"\.py$" if os.environ.get("SKVAE_GALLERY") == "1" else r"(?!)",
    "matplotlib_animations": False,
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "within_subsection_order": "header_order.HeaderOrder",
}

html_math_renderer = "mathtext"
html_theme = "pydata_sphinx_theme"
html_title = f"skvae {release}"
html_theme_options = {"show_prev_next": False, "navigation_with_keys": False}
html_sidebars = {"index": [], "auto_examples/*": []}
html_static_path = ["_static"]
html_css_files = ["wide.css"]
toc_object_entries_show_parents = "hide"
html_show_sourcelink = False
