"""Recommendations by name: tracks with their artists, titles and reasons."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from segue.bundle import Bundle
from segue.queries import Query, Reason, Slate
from segue.system.tables import text_table, to_pandas

_NAMES = ["uri", "title", "artist", "album", "duration_ms"]
PLAYED_BEFORE = "earlier plays of it"
MOST_REASONS = 8
"""Number of reasons that JSON output lists one by one."""


class NamedReason(msgspec.Struct, frozen=True):
    """A part of a score.

    Attributes:
        kind: "track", "title", "popularity", "feature" or "rest".
        what: ``Artist - Title`` of the history's track, the word of the title, or the name of the
            feature.
        uri: uri of the history's track.
        amount: amount that the part adds to the score.
    """

    kind: str
    what: str | None
    uri: str | None
    amount: float


class NamedTrack(msgspec.Struct, frozen=True):
    """One recommended track. `index` is its row in the bundle's catalog."""

    index: int
    uri: str
    title: str | None
    artist: str | None
    album: str | None
    duration_ms: int | None
    score: float
    reasons: list[NamedReason]

    @property
    def because(self) -> str:
        """The two largest positive parts of the score, as text.

        Tracks and words show their share in all positive parts. Features show the amount that they
        add to the score: others may subtract, so shares would mislead. A track that comes because
        it was played itself says so, and not its own name.
        """
        parts = [reason for reason in self.reasons if reason.amount > 0]
        if any(reason.kind == "feature" for reason in self.reasons):
            features = [reason for reason in parts if reason.kind == "feature"]
            return ", ".join(f"{reason.what} {reason.amount:+.2g}" for reason in features[:2])
        total = sum(reason.amount for reason in parts)
        names = [
            PLAYED_BEFORE if reason.uri == self.uri else reason.what or reason.kind
            for reason in parts[:2]
        ]
        return ", ".join(
            f"{name} {reason.amount / total:.0%}"
            for name, reason in zip(names, parts[:2], strict=True)
        )


class Recommendations(msgspec.Struct, frozen=True):
    """Output of ``segue continue --json``, which shortens long lists of reasons by `brief`.

    Attributes:
        model: the recommender that ranked it; "popularity" where it fell back.
        seed: training seed of the bundle.
        simulated: whether the tracks come from a simulated world.
        tracks: best first.
    """

    model: str
    seed: int
    simulated: bool
    tracks: list[NamedTrack]

    def __len__(self) -> int:
        return len(self.tracks)

    def __iter__(self) -> Iterator[NamedTrack]:
        return iter(self.tracks)

    def __getitem__(self, place: int) -> NamedTrack:
        return self.tracks[place]

    def __repr__(self) -> str:
        rows = [
            [str(place), track.artist or "", track.title or track.uri, f"{track.score:.4g}", why]
            for place, track in enumerate(self.tracks, start=1)
            for why in [track.because]
        ]
        table = text_table(["", "artist", "title", "score", "because"], rows, ("", "score"))
        return f"{table}\n{len(self)} tracks, ranked by {self.model}"

    def to_arrow(self) -> pa.Table:
        """A row for each track: ``uri``, ``artist``, ``title``, ``score``, ``because``."""
        rows = [{name: getattr(track, name) for name in _FRAME.names} for track in self.tracks]
        return pa.Table.from_pylist(rows, _FRAME)

    def to_frame(self) -> Any:
        """`to_arrow` as a pandas DataFrame.

        Raises:
            ConfigError: pandas is not installed.
        """
        return to_pandas(self.to_arrow())


class RecommendationBatch(Sequence[Recommendations]):
    """Recommendations for several queries, in the order of the queries.

    Attributes:
        queries: name of each query from the frame, or its number from 0.
    """

    def __init__(
        self, queries: Sequence[str] | Sequence[int], lists: Sequence[Recommendations]
    ) -> None:
        self.queries, self._lists = queries, lists

    def __len__(self) -> int:
        return len(self._lists)

    def __getitem__(self, place: Any) -> Any:
        return self._lists[place]

    def __repr__(self) -> str:
        tracks = sum(map(len, self._lists))
        return f"RecommendationBatch({len(self):,} queries, {tracks:,} tracks)"

    def to_arrow(self) -> pa.Table:
        """The tables of all queries, with the name of the query in the first column ``query``."""
        tables = [one.to_arrow() for one in self._lists]
        names = [name for name, one in zip(self.queries, self._lists, strict=True) for _ in one]
        table = pa.concat_tables(tables) if tables else _FRAME.empty_table()
        kind = None if names else pa.string()
        return table.add_column(0, "query", pa.array(names, kind))

    def to_frame(self) -> Any:
        """`to_arrow` as a pandas DataFrame.

        Raises:
            ConfigError: pandas is not installed.
        """
        return to_pandas(self.to_arrow())


_FRAME = pa.schema(
    [
        ("uri", pa.string()),
        ("artist", pa.string()),
        ("title", pa.string()),
        ("score", pa.float64()),
        ("because", pa.string()),
    ]
)


def answer(bundle: Bundle, query: Query, slate: Slate, most: int | None = None) -> Recommendations:
    """A slate with names and reasons; see `answers`."""
    return answers(bundle, [query], [slate], most)[0]


def answers(
    bundle: Bundle, queries: Sequence[Query], slates: Sequence[Slate], most: int | None = None
) -> list[Recommendations]:
    """Slates with names and reasons.

    Args:
        most: maximum number of separate reasons for each track, see `brief`; None: all.
    """
    catalog, manifest = bundle.catalog, bundle.manifest
    reasons = [
        bundle.recommender.explain(query, slate.tracks)
        for query, slate in zip(queries, slates, strict=True)
    ]
    if most is not None:
        reasons = [
            [brief(track_reasons, most) for track_reasons in slate_reasons]
            for slate_reasons in reasons
        ]
    parts = chain.from_iterable(chain.from_iterable(reasons))
    track_ids = {part.what for part in parts if isinstance(part.what, int)}
    labels = dict(zip(track_ids, catalog.labels(list(track_ids)), strict=True))
    names = catalog.table.select(_NAMES).take(np.concatenate([s.tracks for s in slates]))
    rows = iter(names.to_pylist())
    return [
        Recommendations(
            model=slate.served_by,
            seed=manifest.seed,
            simulated=manifest.simulated,
            tracks=[
                NamedTrack(
                    index=index,
                    score=score,
                    reasons=[_named(reason, labels) for reason in track_reasons],
                    **next(rows),
                )
                for index, score, track_reasons in zip(
                    slate.tracks.tolist(), slate.scores.tolist(), slate_reasons, strict=True
                )
            ],
        )
        for slate, slate_reasons in zip(slates, reasons, strict=True)
    ]


def brief(reasons: list[Reason], most: int = MOST_REASONS) -> list[Reason]:
    """The `most` largest parts of a score, and the sum of the others.

    Absolute amounts decide. The last reason, of the kind "rest", sums up the other parts and the
    rest that the model itself reports.
    """
    parts = [reason for reason in reasons if reason.kind != "rest"]
    if len(parts) <= most:
        return reasons
    by_size = sorted(parts, key=lambda reason: -abs(reason.amount))
    limit = abs(by_size[most - 1].amount)
    largest = [reason for reason in parts if abs(reason.amount) > limit]
    equal = [reason for reason in parts if abs(reason.amount) == limit]
    largest += equal[: most - len(largest)]
    largest.sort(key=lambda reason: -reason.amount)
    rest = math.fsum(reason.amount for reason in reasons) - math.fsum(r.amount for r in largest)
    return [*largest, Reason("rest", None, rest)]


def _named(reason: Reason, labels: Mapping[int, tuple[str, str]]) -> NamedReason:
    if isinstance(reason.what, int):
        label, uri = labels[reason.what]
        return NamedReason(reason.kind, label, uri, reason.amount)
    return NamedReason(reason.kind, reason.what, None, reason.amount)
