"""What the catalog alone tells: tracks by the same artists, on the same albums, of these words.

The baseline that content-based systems have to beat ("metadata only" in LARP, Salganik et al. 2024;
the artist's own tracks in van den Oord et al. 2013), and what is left to go by when nobody has
played the tracks of a history. Nothing is learned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segue.config import Config
from segue.data.dataset import Dataset
from segue.models.base.recommender import TrainingOptions
from segue.models.base.scoring import ScoringModel
from segue.numeric.arrays import Float32, Int32
from segue.queries import Queries, Query, Reason
from segue.text.normalize import comparable, comparable_name

ARTIST, ALBUM = 1.0, 0.5
"""What a track of the history says for another one of its artist, and of its album."""
_POPULARITY = 0.25
"""What popularity says for the most played track: less than any of these."""
_SHORTEST = 3
"""Letters of a title's word that is looked for."""
_MOST_WORDS = 20

Share = tuple[Reason, npt.NDArray[np.int64]]


class ContentConfig(Config, frozen=True):
    """Content has no settings."""


class Content(ScoringModel):
    """score(t) = sum over the history of s (1 [same artist] + 1/2 [same album]), + words + played

    s is 1 for a track of the history, -1 for one that was skipped or disliked. Each word of the
    title that a track's artist, title or album has adds 1 + log(tracks / tracks that have it), as a
    share of the rarest possible one. Popularity adds at most 1/4: it orders what is equal.
    """

    name = "content"
    Config = ContentConfig

    def _fit(self, dataset: Dataset, plays: Any, run: TrainingOptions) -> None:
        pass

    @property
    def reads_titles(self) -> bool:
        return True

    def answerable(self, queries: Queries) -> npt.NDArray[np.bool_]:
        liked = queries.liked()
        artists, albums = self.catalog.artists[liked.values], self.catalog.albums[liked.values]
        known = liked.where((artists >= 0) | (albums >= 0)).lengths() > 0
        titled = np.array([bool(self._words(title)) for title in queries.titles], np.bool_)
        return known | titled

    def scores(self, queries: Queries) -> Float32:
        scores = np.tile(self._popularity, (len(queries), 1))
        for q in range(len(queries)):
            some = slice(queries.offsets[q], queries.offsets[q + 1])
            negative = queries.skipped_mask[some]
            for reason, rows in self._shares(queries.tracks[some], negative, queries.titles[q]):
                scores[q, rows] += np.float32(reason.amount)
        return scores

    def _explain(self, query: Query, tracks: Int32) -> list[list[Reason]]:
        one = Queries.of([query])
        out = [[Reason("popularity", None, float(share))] for share in self._popularity[tracks]]
        for reason, rows in self._shares(one.tracks, one.skipped_mask, query.title):
            for place in np.flatnonzero(np.isin(tracks, rows)):
                out[place].append(reason)
        return out

    def _shares(
        self, history: Int32, negative: npt.NDArray[np.bool_], title: str | None
    ) -> list[Share]:
        """Each part of the scores of a query, with the tracks that have it."""
        shares: list[Share] = []
        for track, turned_away in zip(history.tolist(), negative.tolist(), strict=True):
            sign = -1.0 if turned_away else 1.0
            for codes, amount in ((self.catalog.artists, ARTIST), (self.catalog.albums, ALBUM)):
                if codes[track] >= 0:
                    same = np.flatnonzero(codes == codes[track])
                    shares.append((Reason("track", track, sign * amount), same))
        rarest = 1 + np.log(max(2, len(self.catalog)))
        for word, rows in self._words(title).items():
            weight = (1 + np.log(len(self.catalog) / len(rows))) / rarest
            shares.append((Reason("title", word, float(weight)), rows))
        return shares

    def _words(self, title: str | None) -> dict[str, npt.NDArray[np.int64]]:
        """The tracks of each word of a title that any has."""
        typed = dict.fromkeys(comparable_name(title or "").split())
        words = [word for word in typed if len(word) >= _SHORTEST]
        found = {word: self._having(word) for word in words[:_MOST_WORDS]}
        return {word: rows for word, rows in found.items() if len(rows)}

    @cached_property
    def _having(self) -> Callable[[str], npt.NDArray[np.int64]]:
        """The tracks that have a word; an answer asks for the same ones several times."""

        @lru_cache(maxsize=256)
        def having(word: str) -> npt.NDArray[np.int64]:
            hit = pc.match_substring(self._named, f" {word} ")
            return np.flatnonzero(hit.to_numpy(zero_copy_only=False))

        return having

    @cached_property
    def _named(self) -> pa.Array:
        """Words of artist, title and album of each track, a space around each."""
        table = self.catalog.table
        names = [comparable(table[name]).fill_null("") for name in ("artist", "title", "album")]
        return pc.binary_join_element_wise("", *names, "", " ")

    @cached_property
    def _popularity(self) -> Float32:
        """At most `_POPULARITY`. (tracks,)"""
        plays = self.catalog.plays
        share = _POPULARITY * plays / max(1, int(plays.max(initial=0)))
        return cast(Float32, share.astype(np.float32))

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        return {}

    def restore(self, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        pass
