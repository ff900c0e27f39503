"""How Sphinx makes a site of these pages; `development/docs.md` says why so."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from sphinx.application import Sphinx

import segue

project = "Segue"
author = "the authors of Segue"
copyright = author
release = version = segue.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns: list[str] = []
nb_execution_mode = "off"  # notebooks keep the outputs that a test compares

# Links go to the anchors that a forge gives headings, so that the same link works in both.
myst_heading_anchors = 6
highlight_language = "none"  # a block without a language is a picture or a formula

# A name in single backticks is code in our docstrings, as in Markdown.
default_role = "code"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False  # signatures have them
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
OPTIONAL = ["av", "matplotlib", "sklearn", "tinytag", "tokenizers", "torch", "transformers"]
autodoc_mock_imports = [name for name in OPTIONAL if find_spec(name) is None]
# Types of other libraries, which would need their sites, and names that stand for arrays.
nitpick_ignore_regex = [
    ("py:.*", r"(?!segue\.).*"),
    ("py:class", r"segue\.models\..*Config"),  # settings, which the pages of models describe
    ("py:class", r"segue\.system\..*"),
]
nitpick_ignore = [("py:class", "segue.nn.items.Arrays")]

html_theme = "furo"
html_title = f"Segue {release}"
html_copy_source = False
html_show_copyright = False
html_theme_options = {"top_of_page_buttons": []}


def add_navigation(app: Sphinx, name: str, text: list[str]) -> None:
    """Make the navigation below an index page of the links that the page has.

    So an index page is plain Markdown, and what it lists, in its order and words, is what the
    navigation lists. Pages beside it that it does not link come last.
    """
    page = Path(app.srcdir, f"{name}.md")
    if page.name != "index.md" or not page.exists():
        return
    entries: dict[str, str] = {}
    for label, target in re.findall(r"\[([^\]]+)\]\(([^)#\s]+)\.(?:md|ipynb)\)", text[0]):
        beside = "/" not in target or re.fullmatch(r"[^/.]+/index", target)
        there = any((page.parent / f"{target}.{kind}").exists() for kind in ("md", "ipynb"))
        if beside and target != "index" and there:
            entries.setdefault(target, label.replace("`", ""))
    for other in sorted(page.parent.glob("*.md")):
        if other.name != "index.md" and other.stem not in entries:
            entries[other.stem] = ""
    lines = [f"{label} <{target}>" if label else target for target, label in entries.items()]
    text[0] += "\n".join(["", "```{toctree}", ":hidden:", "", *lines, "```", ""])


def setup(app: Sphinx) -> None:
    app.connect("source-read", add_navigation)
