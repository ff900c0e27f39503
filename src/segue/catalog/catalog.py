"""The tracks a recommender knows: names, and finding one by what a person types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segue.catalog.search import Prefixes
from segue.data.dataset import Dataset
from segue.data.schema import TABLES
from segue.errors import UsageError
from segue.system.files import shown
from segue.text.normalize import plain, worded

CATALOG_SCHEMA = TABLES["tracks"].append(
    pa.field(
        "plays",
        pa.int32(),
        nullable=False,
        metadata={"description": "how many playlists and listeners had the track in training"},
    )
)


_DASHES = ("-", "–", "—")


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
        return Catalog(
            pa.concat_tables(
                [self.table, Catalog.of(tracks, np.zeros(len(tracks), np.int32)).table]
            )
        )

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
    def _names(self) -> tuple[pa.Array, pa.Array]:
        """Artist and title of each track as they are compared, null where unknown."""
        artists, titles = (plain(self.table[column]) for column in ("artist", "title"))
        return artists, titles

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

    def find(self, text: str) -> int:
        """The track meant by a uri, or by words that its artist and title hold.

        Raises:
            UsageError: nothing or more than one track is meant; the line lists candidates.
        """
        row: int = pc.index(self.table["uri"], shown(text)).as_py()
        if row >= 0:
            return row
        words = plain(pa.array([shown(text)]))[0].as_py().split()
        # "Artist - Title", as answers are printed, has a word that names do not.
        words = [word for word in words if word not in _DASHES] or words
        if not words:
            raise UsageError("empty track", do="give a uri, or words of title and artist")
        artists, titles = (names.fill_null("") for names in self._names)
        names = pc.binary_join_element_wise(artists, titles, " ")
        hit = pc.match_substring(names, words[0])
        for word in words[1:]:
            hit = pc.and_(hit, pc.match_substring(names, word))
        rows = np.flatnonzero(hit.to_numpy(zero_copy_only=False))
        for whole in (titles, names):  # what is the text to the letter wins over what is longer
            if len(rows) > 1:
                found = whole.take(pa.array(rows)).to_pylist()
                same = np.array([name.split() == words for name in found])
                if same.sum() == 1:
                    rows = rows[same]
        if len(rows) == 1:
            return int(rows[0])
        if not len(rows):
            raise UsageError(f"no track matches {text!r}", do="give a uri or other words")
        raise UsageError(
            f"{text!r} may be {len(rows)} tracks: {self._candidates(rows)}",
            do="give the uri or more words",
        )

    @cached_property
    def _beginnings(self) -> tuple[Prefixes, Prefixes]:
        """What `search` looks up: words of artist, title and album; whole artists and titles."""
        names = [worded(names) for names in (*self._names, plain(self.table["album"]))]
        rows = np.arange(len(self), dtype=np.int32)
        words = pc.split_pattern(pa.concat_arrays(names), " ")
        return (
            Prefixes(words.flatten(), np.tile(rows, 3)[pc.list_parent_indices(words)]),
            Prefixes(pa.concat_arrays(names[:2]), np.tile(rows, 2)),
        )

    @cached_property
    def _most_played(self) -> npt.NDArray[np.int64]:
        """Rows by plays, falling. (tracks,)"""
        return np.argsort(-self.plays, kind="stable")

    def search(self, text: str, n: int) -> list[int]:
        """The best n tracks for what a person is typing.

        Those whose artist, title or album hold every word of the text as the beginning of a word.
        First come those whose whole title or artist is the text, then those whose title or artist
        begins with it, then the others, each by plays, falling, then by row. A text without words
        gives the tracks with the most plays.
        Names are compared as `find` does, and accents and punctuation do not count.

        Raises:
            UsageError: n is below 1.
        """
        if n < 1:
            raise UsageError(f"n is {n}", do="ask for at least 1 track")
        wanted: str = worded(plain(pa.array([shown(text)])))[0].as_py()
        words, names = self._beginnings
        hit = np.ones(len(self), np.bool_)
        for word in set(wanted.split(" ")):  # "" begins every name
            has = np.zeros(len(self), np.bool_)
            has[words.rows(word)] = True
            hit &= has
        level = np.where(hit, np.int8(2), np.int8(3))
        if wanted:
            level[names.rows(wanted)] = 1
            level[names.rows(wanted, whole=True)] = 0
        levels = level[self._most_played]
        best = [self._most_played[levels == some][:n] for some in range(3)]
        rows: list[int] = np.concatenate(best)[:n].tolist()
        return rows

    def of_artist(self, name: str) -> list[int]:
        """The tracks of the artists with this name or uri.

        Raises:
            UsageError: there is none; the line lists names that hold it.
        """
        text = shown(name).strip()
        wanted = plain(pa.array([text]))[0]
        named = pc.equal(self._names[0], wanted).fill_null(False)
        meant = pc.equal(self.table["artist_uri"].combine_chunks(), text).fill_null(False)
        rows: list[int] = np.flatnonzero(
            pc.or_(named, meant).to_numpy(zero_copy_only=False)
        ).tolist()
        if text and rows:
            return rows
        near = ""
        if text:
            like = pc.match_substring(self._names[0], wanted.as_py()).fill_null(False)
            near = ", ".join(sorted(self.table["artist"].filter(like).unique().to_pylist())[:5])
        raise UsageError(
            f"no artist is called {name!r}" + (f": there are {near}" if near else ""),
            do="give the whole name or the uri",
        )

    def _candidates(self, rows: Sequence[int] | npt.NDArray[np.int64], most: int = 5) -> str:
        best = sorted(rows, key=lambda row: (-self.plays[row], row))[:most]
        listed = ", ".join(f"{self.label(int(row))} ({self.uris[row]})" for row in best)
        return listed + (", ..." if len(rows) > most else "")


def catalog_of(dataset: Dataset, plays: Any) -> Catalog:
    """The tracks of a dataset, with how many rows of ``dataset.plays()`` have each."""
    counts = np.bincount(plays.indices, minlength=plays.shape[1]).astype(np.int32)
    return Catalog.of(dataset.tracks, counts)
