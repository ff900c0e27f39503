"""Search: tracks by what a person types, and by what a person is typing.

Names compare by `segue.text.normalize.comparable`.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segue.errors import AmbiguousTrackError, UsageError
from segue.system.files import shown
from segue.text.normalize import comparable, comparable_name, without_notes

CLEAR_FAVOURITE = 2.0
"""A track is the one that is meant if it has so many times the plays of every other candidate."""
_LISTED = 5

Rows = npt.NDArray[np.int64]


class Prefixes:
    """Which rows have a string that begins with something, in logarithmic time.

    Args:
        strings: (strings,)
        rows: of each. (strings,)
    """

    def __init__(self, strings: pa.Array, rows: npt.NDArray[np.int32]) -> None:
        encoded = strings.dictionary_encode()
        order = pc.sort_indices(encoded.dictionary).to_numpy()
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        places = place[encoded.indices.to_numpy()]
        self._strings = encoded.dictionary.take(pa.array(order))
        self._rows = rows[np.argsort(places, kind="stable")]
        self._ends = np.concatenate([[0], np.bincount(places, minlength=len(order)).cumsum()])

    def rows(self, text: str, whole: bool = False) -> npt.NDArray[np.int32]:
        """Rows, repeats included, of strings that begin with the text, or are it."""
        begin = text.encode()
        after = begin + (b"\0" if whole else b"\xff")  # no UTF-8 text stands between
        first, last = (
            bisect_left(self._strings, key, key=lambda string: string.as_py().encode())
            for key in (begin, after)
        )
        return self._rows[self._ends[first] : self._ends[last]]


class TrackMatch(NamedTuple):
    """The track that a text means.

    Attributes:
        row: of the catalog.
        others: tracks of other names that it could mean, the most played first.
    """

    row: int
    others: list[int]


class TrackSearch:
    """Finds tracks of a catalog by their names.

    Args:
        table: of `CATALOG_SCHEMA`.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._plays: npt.NDArray[np.int32] = table["plays"].to_numpy()

    @cached_property
    def _artists(self) -> pa.Array:
        """Comparable artists, null where unknown. (tracks,)"""
        return comparable(self._table["artist"])

    @cached_property
    def _titles(self) -> pa.Array:
        """Comparable titles, null where unknown. (tracks,)"""
        return comparable(self._table["title"])

    # By what a person typed

    def find(self, text: str) -> TrackMatch:
        """The track meant by a uri, or by words of its artist and title.

        Every word of the text is a whole word of artist and title; a part of one only where no
        track has them whole. Tracks whose title is the text
        come before those whose artist and title are, in any order; then those where one of these
        holds without a note on guests, a remaster or a version; then all others. Of the first kind
        that there is, the one with `CLEAR_FAVOURITE` times the plays of every other is meant;
        tracks of one artist and title count as one.

        Raises:
            AmbiguousTrackError: several tracks are meant.
            UsageError: the text is empty, or no track is meant.
        """
        row: int = pc.index(self._table["uri"], shown(text)).as_py()
        if row >= 0:
            return TrackMatch(row, [])
        words = comparable_name(shown(text))
        if not words:
            raise UsageError("empty track", do="give a uri, or words of title and artist")
        rows = self._of_words(words, " ")
        if not len(rows):
            rows = self._of_words(words, "")
        if not len(rows):
            raise UsageError(f"no track matches {text!r}", do="give a uri or other words")
        rows = self._closest(rows, words)
        rows = rows[np.lexsort((rows, -self._plays[rows]))]
        names = self._names(rows)
        rivals = [int(row) for row, name in zip(rows, names, strict=True) if name != names[0]]
        plays = int(self._plays[rows[0]])
        if rivals and not (plays and plays >= CLEAR_FAVOURITE * self._plays[rivals[0]]):
            raise self._ambiguous(text, rows)
        return TrackMatch(int(rows[0]), rivals)

    def _of_words(self, words: str, edge: str) -> Rows:
        """Tracks with every word in artist or title; edge: what stands on both sides of it."""
        artists, titles = self._artists.fill_null(""), self._titles.fill_null("")
        names = pc.binary_join_element_wise("", artists, titles, "", " ")
        hit = pc.match_substring(names, f"{edge}{max(words.split(), key=len)}{edge}")
        rows = np.flatnonzero(hit.to_numpy(zero_copy_only=False))
        few = names.take(pa.array(rows))
        for word in set(words.split()):
            keep = pc.match_substring(few, f"{edge}{word}{edge}").to_numpy(zero_copy_only=False)
            rows, few = rows[keep], few.filter(pa.array(keep))
        return rows

    def _closest(self, rows: Rows, words: str) -> Rows:
        """Those of the tracks whose names are the closest to the words; see `find`."""
        table = self._table.select(["artist", "title"]).take(pa.array(rows))
        bare = without_notes(table["title"])
        # "Song - Live at home" and "Song (Acoustic)" are versions of "Song".
        first = comparable(pc.replace_substring_regex(bare, r"(.)(?: [-–—] |\s*[(\[]).*$", r"\1"))
        at = pa.array(rows)
        artists, titles = self._artists.take(at), self._titles.take(at)
        for names in (titles, comparable(bare), first):
            same = [
                pc.equal(text, words).fill_null(False).to_numpy(zero_copy_only=False)
                for text in (
                    names,
                    pc.binary_join_element_wise(artists, names, " "),
                    pc.binary_join_element_wise(names, artists, " "),
                )
            ]
            for mask in (same[0], same[1] | same[2]):
                if mask.any():
                    closest: Rows = rows[mask]
                    return closest
        return rows

    def _names(self, rows: Rows) -> list[tuple[str | None, str | None]]:
        """Artist and title without notes, to tell recordings of one song from rivals."""
        table = self._table.select(["artist", "title"]).take(pa.array(rows))
        columns = (comparable(without_notes(table[name])) for name in ("artist", "title"))
        return list(zip(*(column.to_pylist() for column in columns), strict=True))

    def _ambiguous(self, text: str, rows: Rows) -> AmbiguousTrackError:
        table = self._table.take(pa.array(rows[:_LISTED])).to_pylist()
        listed = ", ".join(
            f"{' - '.join(filter(None, (row['artist'], row['title'])))} ({row['uri']})"
            for row in table
        )
        more = ", ..." if len(rows) > _LISTED else ""
        return AmbiguousTrackError(
            f"{text!r} may be {len(rows)} tracks: {listed}{more}",
            do="give the uri or more words",
            candidates=rows.tolist(),
        )

    def of_artist(self, name: str) -> list[int]:
        """The tracks of the artists with this name or uri.

        Raises:
            UsageError: there is none; the line lists names that hold it.
        """
        text = shown(name).strip()
        key = comparable_name(text)
        named = pc.equal(self._artists, key).fill_null(False)
        meant = pc.equal(self._table["artist_uri"].combine_chunks(), text).fill_null(False)
        rows: list[int] = np.flatnonzero(
            pc.or_(named, meant).to_numpy(zero_copy_only=False)
        ).tolist()
        if text and rows:
            return rows
        near = ""
        if key:
            like = pc.match_substring(self._artists, key).fill_null(False)
            near = ", ".join(sorted(self._table["artist"].filter(like).unique().to_pylist())[:5])
        raise UsageError(
            f"no artist is called {name!r}" + (f": there are {near}" if near else ""),
            do="give the whole name or the uri",
        )

    # By what a person is typing

    @cached_property
    def _beginnings(self) -> tuple[Prefixes, Prefixes]:
        """Words of artist, title and album; whole artists and titles."""
        names = [
            name.fill_null("")
            for name in (self._artists, self._titles, comparable(self._table["album"]))
        ]
        rows = np.arange(len(self._table), dtype=np.int32)
        words = pc.split_pattern(pa.concat_arrays(names), " ")
        return (
            Prefixes(words.flatten(), np.tile(rows, 3)[pc.list_parent_indices(words)]),
            Prefixes(pa.concat_arrays(names[:2]), np.tile(rows, 2)),
        )

    @cached_property
    def _most_played(self) -> Rows:
        """Rows by plays, falling. (tracks,)"""
        return np.argsort(-self._plays, kind="stable")

    def search(self, text: str, n: int) -> list[int]:
        """The best n tracks for what a person is typing.

        Those whose artist, title or album hold every word of the text as the beginning of a word.
        First come those whose whole title or artist is the text, then those whose title or artist
        begins with it, then the others, each by plays, falling, then by row. A text without words
        gives the tracks with the most plays.

        Raises:
            UsageError: n is below 1.
        """
        if n < 1:
            raise UsageError(f"n is {n}", do="ask for at least 1 track")
        key = comparable_name(shown(text))
        words, names = self._beginnings
        hit = np.ones(len(self._table), np.bool_)
        for word in set(key.split(" ")):  # "" begins every name
            has = np.zeros(len(hit), np.bool_)
            has[words.rows(word)] = True
            hit &= has
        level = np.where(hit, np.int8(2), np.int8(3))
        if key:
            level[names.rows(key)] = 1
            level[names.rows(key, whole=True)] = 0
        levels = level[self._most_played]
        best = [self._most_played[levels == some][:n] for some in range(3)]
        rows: list[int] = np.concatenate(best)[:n].tolist()
        return rows
