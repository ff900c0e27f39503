"""A catalog takes in new tracks."""

from __future__ import annotations

import pyarrow as pa
import pytest
from support.catalogs import catalog

from segue.catalog.catalog import Catalog
from segue.data.schema import TABLES
from segue.errors import UsageError


def test_tracks_are_added_once():
    known = catalog(("Ann", "One"), ("Bob", "Two"))

    def with_uris(*uris: str) -> Catalog:
        rows = [{"uri": uri} for uri in uris]
        return known.with_tracks(pa.Table.from_pylist(rows, TABLES["tracks"]))

    assert with_uris("a", "b").uris == ["t0", "t1", "a", "b"]
    assert with_uris("a").plays.tolist() == [1, 1, 0]
    for uris in (("a", "t1"), ("a", "t1", "t1"), ("t1",)):
        with pytest.raises(UsageError, match="t1: is in the catalog already, or twice"):
            with_uris(*uris)
    with pytest.raises(UsageError, match="b: is in the catalog already, or twice"):
        with_uris("a", "b", "b")
