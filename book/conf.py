# The course book, built by ./dev book: Sphinx, MyST (Markdown), furo.
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "dualvm: one machine, two engines"
author = "the dualvm authors"
copyright = "2026, the dualvm authors"  # Sphinx wants this name.

extensions = ["myst_parser", "listing"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["deflist", "colon_fence"]
smartquotes = False  # what is quoted here is code
highlight_language = "none"

html_theme = "furo"
html_title = "One machine, two engines"
html_copy_source = False
