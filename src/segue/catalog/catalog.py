"""The tracks that a recommender knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segue.catalog.search import TrackSearch
from segue.data.dataset import Dataset
from segue.data.schema import TABLES
from segue.errors import UsageError
from segue.text.normalize import comparable, without_notes

CATALOG_SCHEMA = TABLES["tracks"].append(
    pa.field(
        "plays",
        pa.int32(),
        nullable=False,
        metadata={"description": "how many playlists and listeners had the track in training"},
    )
)


def _coded(values: pa.ChunkedArray) -> npt.NDArray[np.int32]:
    """A number for each distinct value, -1 for null. (rows,)"""
    encoded = values.combine_chunks().dictionary_encode()
    codes: npt.NDArray[np.int32] = encoded.indices.fill_null(-1).to_numpy().astype(np.int32)
    return codes


def first_of_each(codes: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """First track of each number, from 0; -1 is none. (numbers,)"""
    values, first = np.unique(codes, return_index=True)
    return first[values >= 0]


class Catalog:
    """Rows are tracks; the row number is the track's index.

    Args:
        table: of `CATALOG_SCHEMA`.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table.cast(CATALOG_SCHEMA).combine_chunks()

    @classmethod
    def of(cls, tracks: pa.Table, plays: npt.NDArray[np.int32]) -> Catalog:
        """The tracks of a dataset with their popularity in training."""
        return cls(tracks.append_column(CATALOG_SCHEMA.field("plays"), pa.array(plays)))

    def with_tracks(self, tracks: pa.Table) -> Catalog:
        """With further tracks at the end, which nobody has played.

        Raises:
            UsageError: one of them is there already, or twice.
        """
        new = tracks["uri"]
        there = self.table["uri"].filter(pc.is_in(self.table["uri"], value_set=new))
        if len(there) or len(new.unique()) < len(new):
            counts = Counter(there.to_pylist() + new.to_pylist())
            twice = next(uri for uri, n in counts.items() if n > 1)
            raise UsageError("is in the catalog already, or twice", where=twice)
        added = Catalog.of(tracks, np.zeros(len(tracks), np.int32)).table
        catalog = Catalog(pa.concat_tables([self.table, added]))
        if self._song_keys is not None:
            catalog._song_keys = np.concatenate([self._song_keys, _song_keys(added)])
        return catalog

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, track: int) -> dict[str, Any]:
        """One track's row as a dictionary."""
        row: dict[str, Any] = self.table.slice(track, 1).to_pylist()[0]
        return row

    @cached_property
    def plays(self) -> npt.NDArray[np.int32]:
        """Playlists and listeners that had each track in training. (tracks,)"""
        plays: npt.NDArray[np.int32] = self.table["plays"].to_numpy()
        return plays

    @cached_property
    def uris(self) -> list[str]:
        """Outside name of each track."""
        uris: list[str] = self.table["uri"].to_pylist()
        return uris

    def codes(self, *columns: str) -> npt.NDArray[np.int32]:
        """A number for each distinct value of some columns, -1 where the first is null. (tracks,)

        ``codes("artist_uri", "artist")`` takes the second where the first is null.
        """
        return _coded(pc.coalesce(*(self.table[column].cast(pa.string()) for column in columns)))

    @cached_property
    def artists(self) -> npt.NDArray[np.int32]:
        """A number for each artist, -1 where unknown. (tracks,)"""
        return self.codes("artist_uri", "artist")

    @cached_property
    def albums(self) -> npt.NDArray[np.int32]:
        """A number for each album, -1 where unknown. (tracks,)

        An album without a uri is its name and its artist.
        """
        artist = pc.coalesce(self.table["artist_uri"], self.table["artist"])
        named = pc.binary_join_element_wise(self.table["album"], artist, "\n")
        return _coded(pc.coalesce(self.table["album_uri"], named))

    @cached_property
    def names(self) -> TrackSearch:
        """Search by names."""
        return TrackSearch(self.table)

    _song_keys: npt.NDArray[np.int64] | None = None

    def keep_song_keys(self) -> None:
        """Compute `song_keys` of all tracks now: it takes a microsecond a track."""
        if self._song_keys is None:
            self._song_keys = _song_keys(self.table)

    def song_keys(self, tracks: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """A number for each artist and title, 0 where one is unknown. (tracks,)

        Names are the same as `segue.text.normalize` says, without notes on guests or a remaster.
        Numbers differ from process to process.
        """
        if self._song_keys is None:
            return _song_keys(self.table.select(["artist", "title"]).take(pa.array(tracks)))
        return self._song_keys[tracks]

    def label(self, track: int) -> str:
        """``Artist - Title``, or the uri where the names are unknown."""
        return self.labels([track])[0][0]

    def labels(self, tracks: Sequence[int]) -> list[tuple[str, str]]:
        """``Artist - Title`` of each track, or the uri where the names are unknown; and the uri."""
        table = self.table.select(["artist", "title", "uri"])
        rows = table.take(pa.array(tracks, pa.int64())).to_pylist()
        return [
            (" - ".join(filter(None, (row["artist"], row["title"]))) or row["uri"], row["uri"])
            for row in rows
        ]


def _song_keys(table: pa.Table) -> npt.NDArray[np.int64]:
    names = [comparable(without_notes(table[name])) for name in ("artist", "title")]
    songs = pc.binary_join_element_wise(*names, "\x1f").to_pylist()
    return np.fromiter((0 if song is None else hash(song) for song in songs), np.int64, len(songs))


def catalog_of(dataset: Dataset, plays: Any) -> Catalog:
    """The tracks of a dataset, with how many rows of ``dataset.plays()`` have each."""
    counts = np.bincount(plays.indices, minlength=plays.shape[1]).astype(np.int32)
    return Catalog.of(dataset.tracks, counts)
