"""A catalog takes in new tracks."""

from __future__ import annotations

import numpy as np
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


def test_songs_have_one_key_whether_it_is_kept_or_not():
    known = catalog(("Ann", "One"), ("ANN", "One (feat. Bob)"), ("Ann", "Two"), (None, "One"))
    tracks = np.arange(4, dtype=np.int32)
    first = known.song_keys(tracks).tolist()
    assert first[0] == first[1] != first[2]
    assert first[3] == 0
    known.keep_song_keys()
    assert known.song_keys(tracks).tolist() == first
    rows = [{"uri": "new", "artist": "Ann", "title": "two"}]
    more = known.with_tracks(pa.Table.from_pylist(rows, TABLES["tracks"]))
    assert more.song_keys(np.array([4, 2], np.int32)).tolist() == [first[2]] * 2
