"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from support.postgres import NoPostgres, Postgres
from support.skipped_tests import pytest_terminal_summary as pytest_terminal_summary

if TYPE_CHECKING:
    from support.service_worlds import Bundles

pytest_plugins = ["pytester"]

# How long an example takes says nothing on a machine that others share.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data sets; they are never part of this repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SEGUE_TEST_DATA", beside))
    if not (folder / "mpd").is_dir():
        pytest.skip("no real data - set SEGUE_TEST_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL server, one for each worker."""
    try:
        server = Postgres()
    except NoPostgres as error:
        pytest.skip(str(error))
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    """Small bundles to serve, one set for each worker."""
    from support.service_worlds import Bundles  # what the service needs takes a second to load

    return Bundles(tmp_path_factory.mktemp("bundles"))
