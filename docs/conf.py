"""Sphinx's settings for the pages of this folder: ``make docs`` writes them into ``site/``."""

from __future__ import annotations

project = "dimitra"
author = "the dimitra developers"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
html_theme = "furo"
html_title = "dimitra"
html_copy_source = False
html_show_sphinx = False
templates_path: list[str] = []
exclude_patterns: list[str] = []
suppress_warnings: list[str] = []
highlight_language = "none"
