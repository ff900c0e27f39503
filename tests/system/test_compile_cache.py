"""Where libraries keep what they make, for users without a home."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from segue.system.compile_cache import keep_compiled

pytestmark = pytest.mark.skipif(
    not hasattr(os, "getuid"), reason="on Windows every user has a home: nothing is done"
)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, where nothing else can be written to."""
    for name in ("NUMBA_CACHE_DIR", "MPLCONFIGDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    return tmp_path


def kept() -> Path:
    keep_compiled()
    assert Path(os.environ.pop("MPLCONFIGDIR")).is_dir()
    return Path(os.environ.pop("NUMBA_CACHE_DIR"))


def test_numba_finds_a_folder_by_itself_where_there_is_one(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: True)
    keep_compiled()
    assert "NUMBA_CACHE_DIR" not in os.environ
    assert "MPLCONFIGDIR" not in os.environ


def test_a_folder_that_was_chosen_stays(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "mine")
    monkeypatch.setenv("MPLCONFIGDIR", "mine")
    keep_compiled()
    assert os.environ["NUMBA_CACHE_DIR"] == os.environ["MPLCONFIGDIR"] == "mine"


def test_a_user_without_a_home_gets_a_private_folder_and_keeps_it(temporary: Path) -> None:
    folder = kept()
    assert folder == temporary / f"segue-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert kept() == folder


def test_a_folder_that_others_can_write_to_is_not_used(temporary: Path) -> None:
    folder = temporary / f"segue-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    assert kept() != folder


def test_a_link_is_not_used(temporary: Path) -> None:
    (temporary / "elsewhere").mkdir()
    (temporary / f"segue-{os.getuid()}").symlink_to("elsewhere")
    assert kept().name.startswith("segue-")
    assert not kept().is_symlink()
    assert not list((temporary / "elsewhere").iterdir())
