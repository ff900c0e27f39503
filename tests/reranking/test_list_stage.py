"""The list stage: duplicates, spacing, and lists as long as they can be."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.catalog.catalog import CATALOG_SCHEMA, Catalog
from segue.catalog.recordings import Recordings
from segue.errors import UsageError
from segue.models.popularity import Popularity
from segue.numeric.arrays import Float32
from segue.queries import Queries, Query, Slate, Slates
from segue.reranking.list_stage import ListStage, continue_playlist, continue_playlists


def catalog_of(rows: list[dict[str, Any]]) -> Catalog:
    """A catalog in which an earlier row is more popular than a later one."""
    full = [
        dict.fromkeys(CATALOG_SCHEMA.names) | {"uri": f"t{i}", "plays": len(rows) - i} | row
        for i, row in enumerate(rows)
    ]
    return Catalog(pa.Table.from_pylist(full, CATALOG_SCHEMA))


class InOrder(Popularity):
    """A recommender whose ranking is the order of the rows, whatever was played."""

    def scores(self, queries: Queries) -> Float32:
        size = len(self.catalog)
        return np.tile(np.arange(size, 0, -1, dtype=np.float32), (len(queries), 1))


InOrder.name = "in-order"  # given late, so that it is not registered as one of the product


def ranks_in_order(rows: list[dict[str, Any]]) -> InOrder:
    recommender = InOrder()
    recommender.catalog = catalog_of(rows)
    return recommender


def track(
    title: str, artist: str = "A", duration_ms: int | None = 200_000, **more: Any
) -> dict[str, Any]:
    return {"title": title, "artist": artist, "duration_ms": duration_ms, **more}


def answer(rows: list[dict[str, Any]], query: Query, n: int, **stage: Any) -> list[int]:
    slate = continue_playlist(ranks_in_order(rows), query, n, ListStage(**stage))
    return slate.tracks.tolist()


def by_artists(artists: str) -> list[dict[str, Any]]:
    return [track(f"song {i}", artist) for i, artist in enumerate(artists)]


# Hand-computed


def test_off_the_list_is_the_ranking():
    assert answer(by_artists("AAAB"), Query(), 3) == [0, 1, 2]


def test_an_artist_waits_its_places():
    assert answer(by_artists("AAABBC"), Query(), 6, artist_spacing=1) == [0, 3, 1, 4, 2, 5]
    assert answer(by_artists("AAABBC"), Query(), 3, artist_spacing=2) == [0, 3, 5]


def test_where_no_track_is_allowed_the_best_is_taken():
    assert answer(by_artists("AAAB"), Query(), 4, artist_spacing=1) == [0, 3, 1, 2]
    assert answer(by_artists("AAA"), Query(), 5, artist_spacing=9) == [0, 1, 2]


def test_spacing_counts_from_the_end_of_the_history():
    rows = by_artists("AABC")
    assert answer(rows, Query(tracks=[0]), 3, artist_spacing=1) == [2, 1, 3]
    assert answer(rows, Query(tracks=[0, 3]), 2, artist_spacing=1) == [1, 2]


def test_tracks_without_an_artist_need_no_spacing():
    rows = [track("x", ""), track("y", ""), track("z", "")]
    for row in rows:
        row["artist"] = None
    assert answer(rows, Query(), 3, artist_spacing=2) == [0, 1, 2]


def test_artists_of_one_name_are_told_apart_by_their_uri():
    rows = [track("x", "Nirvana", artist_uri="us"), track("y", "Nirvana", artist_uri="uk")]
    assert answer([*rows, track("z", "B")], Query(), 2, artist_spacing=1) == [0, 1]


def test_album_spacing_leaves_other_albums_of_the_artist():
    rows = [track("x", album="1"), track("y", album="1"), track("z", album="2")]
    assert answer(rows, Query(), 3, album_spacing=1) == [0, 2, 1]


def test_far_down_the_catalog_an_allowed_track_is_found():
    rows = by_artists("A" * 300 + "B")
    assert answer(rows, Query(), 3, artist_spacing=1) == [0, 300, 1]


def test_one_recording_comes_once_and_the_better_ranked_stays():
    rows = [track("Hello"), track("HELLO!", duration_ms=203_000), track("Hello", "B"), track("Bye")]
    assert answer(rows, Query(), 4, one_recording=True) == [0, 2, 3]
    assert answer(rows, Query(), 2, one_recording=True) == [0, 2]
    assert answer(rows, Query(), 4) == [0, 1, 2, 3]


def test_a_recording_of_the_history_does_not_come_again():
    rows = [track("Hello"), track("Bye"), track("Hello - Remastered 2011")]
    assert answer(rows, Query(tracks=[2]), 3, one_recording=True) == [1]


def test_a_list_without_repeats_is_filled_from_further_down():
    rows = [track("Hello") for _ in range(200)] + [track("Bye"), track("Why")]
    assert answer(rows, Query(), 3, one_recording=True) == [0, 200, 201]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (track("Hello"), track("hello"), True),
        (track("Don't Stop"), track("Don’t  stop"), True),
        (track("Hello - 2011 Remaster"), track("Hello"), True),
        (track("Hello (Remastered)"), track("Hello"), True),
        (track("Hello - Live"), track("Hello"), False),
        (track("Hello (Acoustic)"), track("Hello"), False),
        (track("Remaster"), track("Hello"), False),
        (track("Hello", duration_ms=200_000), track("Hello", duration_ms=203_000), True),
        (track("Hello", duration_ms=200_000), track("Hello", duration_ms=203_001), False),
        (track("Hello", duration_ms=None), track("Hello", duration_ms=None), False),
        (track("Hello", "A"), track("Hello", "B"), False),
        (track("Hello", None), track("Hello", None), False),  # type: ignore[arg-type]
        (track("???"), track("!!!"), False),
        (track("Café"), track("Cafe\u0301"), True),
        (track("x", recording="GB1"), track("y", "B", recording="GB1"), True),
        (track("x", recording="GB1"), track("y", recording="GB2"), False),
        (track("x", recording=""), track("y", recording=""), False),
    ],
)
def test_when_two_tracks_are_one_recording(one, other, same):
    catalog = catalog_of([one, other])
    kept = Recordings(catalog).first_of_each(np.array([0, 1], np.int32))
    assert kept.tolist() == ([0] if same else [0, 1])


def test_likeness_does_not_run_along_a_chain():
    rows = [track("x", duration_ms=200_000 + 3000 * i) for i in range(3)]
    assert answer(rows, Query(), 3, one_recording=True) == [0, 2]


def test_negative_spacing_is_refused():
    with pytest.raises(UsageError, match="artist_spacing is -1"):
        ListStage(artist_spacing=-1)


def by_plays(plays: str) -> list[dict[str, Any]]:
    """Tracks of one artist each; "0" is one that nobody played."""
    return [track(f"song {i}", f"A{i}", plays=int(count)) for i, count in enumerate(plays)]


def test_a_quota_brings_cold_tracks_up_to_evenly_spread_places():
    rows = by_plays("1111111111" + "0000")
    assert answer(rows, Query(), 4, cold_quota=0.5) == [0, 10, 1, 11]
    assert answer(rows, Query(), 10, cold_quota=0.2) == [0, 1, 2, 3, 10, 4, 5, 6, 7, 11]
    assert answer(rows, Query(), 5, cold_quota=0.6) == [10, 0, 11, 1, 12]
    assert answer(rows, Query(), 3, cold_quota=1) == [10, 11, 12]


def test_a_quota_is_rounded_up():
    rows = by_plays("1111100")
    assert answer(rows, Query(), 3, cold_quota=0.01) == [0, 1, 5]
    assert answer(rows, Query(), 3, cold_quota=0.34) == [5, 0, 6]
    assert answer(by_plays("1" * 99 + "0" * 9), Query(), 100, cold_quota=0.07)[-1] == 105


def test_cold_tracks_that_come_by_themselves_count():
    assert answer(by_plays("0110111"), Query(), 6, cold_quota=0.3) == [0, 1, 2, 3, 4, 5]


def test_where_cold_tracks_are_too_few_others_fill_the_list():
    assert answer(by_plays("11011"), Query(), 4, cold_quota=1) == [2, 0, 1, 3]
    assert answer(by_plays("1111"), Query(tracks=[0]), 9, cold_quota=0.5) == [1, 2, 3]
    assert answer(by_plays("110"), Query(bans=[2]), 2, cold_quota=1) == [0, 1]


def test_the_quota_goes_before_the_spacing():
    rows = [track("w", "A"), track("x", "A", plays=0), track("y", "B"), track("z", "C", plays=0)]
    assert answer(rows, Query(), 2, cold_quota=0.5, artist_spacing=1) == [0, 3]
    assert answer(rows[:3], Query(), 2, cold_quota=0.5, artist_spacing=1) == [0, 1]


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_quota_that_is_no_share_is_refused(share):
    with pytest.raises(UsageError, match="cold_quota"):
        ListStage(cold_quota=share)


def test_an_adventure_weighs_the_place_by_the_model_against_rarity():
    rows = by_plays("53120")  # by rarity: places 4, 3, 1, 2, 0
    assert answer(rows, Query(), 5, adventure=0) == [0, 1, 2, 3, 4]
    assert answer(rows, Query(), 5, adventure=0.3) == [0, 1, 2, 3, 4]  # 1.2 1.6 1.7 2.7 2.8
    assert answer(rows, Query(), 5, adventure=0.5) == [2, 0, 1, 4, 3]  # 2 2 1.5 2.5 2
    assert answer(rows, Query(), 5, adventure=0.75) == [4, 2, 3, 1, 0]  # 3 2.5 1.25 2.25 1
    assert answer(rows, Query(), 2, adventure=1) == [4, 2]


def test_ties_of_an_adventure_go_by_the_model_whatever_floats_say():
    rows = by_plays("98703456")  # 0 and 3: 0.3 * 7 = 0.7 * 3, and less in floats
    assert answer(rows, Query(), 3, adventure=0.3) == [0, 3, 1]
    assert answer(by_plays("11111"), Query(), 3, adventure=0.9) == [0, 1, 2]


def test_an_adventure_goes_to_the_best_ten_times_as_many_and_no_further():
    assert answer(by_plays("1" * 9 + "00"), Query(), 1, adventure=1) == [9]
    assert answer(by_plays("1" * 10 + "00"), Query(), 1, adventure=1) == [0]
    assert answer(by_plays("1" * 19 + "0"), Query(tracks=[4, 7]), 2, adventure=1) == [19, 0]


@pytest.mark.parametrize(
    ("n", "adventure", "pool"), [(3, 0.7, 22), (25, 0.28, 88), (50, 0.14, 113)]
)
def test_the_pool_of_an_adventure_is_rounded_up_whatever_floats_say(n, adventure, pool):
    assert ListStage(adventure=adventure).pool(n) == pool


def test_an_adventure_begins_after_duplicates():
    rows = [track("Hello", plays=9) for _ in range(30)] + by_plays("1" * 8 + "00")
    assert answer(rows, Query(), 1, adventure=1, one_recording=True) == [38]
    assert answer(rows, Query(), 1, adventure=1) == [0]


def test_spacing_acts_on_the_order_of_the_adventure():
    rows = [track(f"song {i}", artist, plays=9 - i) for i, artist in enumerate("AABBB")]
    assert answer(rows, Query(), 5, adventure=1) == [4, 3, 2, 1, 0]
    assert answer(rows, Query(), 5, adventure=1, artist_spacing=1) == [4, 1, 3, 0, 2]


def test_spacing_and_quota_reach_beyond_the_pool_of_an_adventure():
    rows = [track(f"song {i}", "A", plays=50 - i) for i in range(20)] + [track("x", "B")]
    assert answer(rows, Query(), 2, adventure=1, artist_spacing=1) == [19, 20]
    assert answer(by_plays("1" * 20 + "0"), Query(), 2, adventure=0.5, cold_quota=0.5) == [0, 20]


@pytest.mark.parametrize("adventure", [-0.1, 1.1, float("nan")])
def test_an_adventure_out_of_bounds_is_refused(adventure):
    with pytest.raises(UsageError, match="adventure"):
        ListStage(adventure=adventure)


# Batches


class Counting(InOrder):
    """Writes down how many queries were asked at once, and how many tracks they asked for."""

    def recommend(self, queries: Queries, n: int) -> Slates:
        self.asked.append((len(queries), n))
        return super().recommend(queries, n)


Counting.name = "counting"


def counting(rows: list[dict[str, Any]]) -> Counting:
    recommender = Counting()
    recommender.catalog = catalog_of(rows)
    recommender.asked = []
    return recommender


def test_lists_of_a_batch_are_ranked_at_once_as_deep_as_the_deepest_needs():
    recommender = counting(by_artists("ABCDEFGH"))
    slates = continue_playlists(
        recommender, [Query(), Query(tracks=[0]), Query()], [2, 1, 4], [ListStage()] * 3
    )
    assert [slate.tracks.tolist() for slate in slates] == [[0, 1], [1], [0, 1, 2, 3]]
    assert recommender.asked == [(3, 4)]


def test_only_lists_that_are_not_decided_are_ranked_again():
    recommender = counting(by_artists("A" * 30 + "B" * 70))
    slates = continue_playlists(
        recommender,
        [Query(), Query(), Query(tracks=[30])],
        [3, 2, 9],
        [ListStage(), ListStage(artist_spacing=1), ListStage()],
    )
    assert [slate.tracks.tolist() for slate in slates] == [[0, 1, 2], [0, 30], list(range(9))]
    assert recommender.asked == [(3, 9), (1, 16), (1, 32)]


def test_no_queries_have_no_lists():
    assert continue_playlists(counting([]), [], [], []) == []


def test_an_empty_catalog_has_empty_lists():
    (slate,) = continue_playlists(counting([]), [Query()], [3], [ListStage()])
    assert slate.tracks.tolist() == []


def test_a_list_of_no_tracks_is_refused_whatever_else_is_asked():
    with pytest.raises(UsageError, match="query 1: n is 0"):
        continue_playlists(
            counting(by_artists("AB")), [Query(), Query()], [1, 0], [ListStage()] * 2
        )


def test_a_query_needs_its_own_n_and_stage():
    with pytest.raises(ValueError, match="zip"):
        continue_playlists(counting(by_artists("AB")), [Query()], [1, 2], [ListStage()])


# Properties


def rows_of(draw: st.DrawFn) -> list[dict[str, Any]]:
    names = st.one_of(st.none(), st.sampled_from("ABC"))
    return [
        {
            "title": draw(st.sampled_from(["x", "X!", "y", "z"])),
            "artist": draw(names),
            "album": draw(names),
            "duration_ms": draw(st.sampled_from([None, 1000, 3000, 9000])),
            "recording": draw(st.sampled_from([None, None, "R1", "R2"])),
            "plays": draw(st.sampled_from([0, 1, 2])),
        }
        for _ in range(draw(st.integers(1, 40)))
    ]


def question(draw: st.DrawFn, size: int) -> tuple[Query, int, ListStage]:
    some = st.lists(st.integers(0, size - 1), max_size=4)
    stage = ListStage(
        one_recording=draw(st.booleans()),
        artist_spacing=draw(st.integers(0, 4)),
        album_spacing=draw(st.integers(0, 4)),
        cold_quota=draw(st.sampled_from([0, 0.1, 0.25, 0.5, 1])),
        adventure=draw(st.sampled_from([0, 0.1, 0.3, 0.5, 0.7, 1])),
    )
    return Query(tracks=draw(some), bans=draw(some)), draw(st.integers(1, 45)), stage


@st.composite
def asked(draw: st.DrawFn) -> tuple[list[dict[str, Any]], Query, int, ListStage]:
    rows = rows_of(draw)
    return rows, *question(draw, len(rows))


@st.composite
def asked_together(
    draw: st.DrawFn,
) -> tuple[list[dict[str, Any]], list[tuple[Query, int, ListStage]]]:
    rows = rows_of(draw)
    return rows, [question(draw, len(rows)) for _ in range(draw(st.integers(1, 5)))]


def after_duplicates(rows: list[dict[str, Any]], query: Query, stage: ListStage) -> list[int]:
    """What may be answered, in the order of the ranking: written out from the definition."""
    left = [t for t in range(len(rows)) if t not in query.tracks and t not in query.bans]
    if not stage.one_recording:
        return left
    catalog = catalog_of(rows)
    kept = Recordings(catalog, query.tracks).first_of_each(np.array(left, np.int32))
    return [left[i] for i in kept]


def in_order(
    rows: list[dict[str, Any]], available: list[int], n: int, stage: ListStage
) -> list[int]:
    """The order in which places are filled: written out from the definition."""
    a = Fraction(stage.adventure).limit_denominator(100)
    best = available[: math.ceil(n * (1 + 9 * a))]
    rarest = sorted(best, key=lambda t: rows[t]["plays"])
    far = {t: (1 - a) * place + a * rarest.index(t) for place, t in enumerate(best)}
    return sorted(best, key=far.__getitem__) + available[len(best) :]


def breaks(rows: list[dict[str, Any]], before: list[int], t: int, stage: ListStage) -> bool:
    return any(
        rows[t][column] is not None
        and any(rows[u][column] == rows[t][column] for u in before[-spacing:])
        for column, spacing in (("artist", stage.artist_spacing), ("album", stage.album_spacing))
        if spacing
    )


@settings(max_examples=150)
@given(asked())
def test_a_list_is_as_long_as_it_can_be_and_holds_nothing_forbidden(asked):
    rows, query, n, stage = asked
    slate = continue_playlist(ranks_in_order(rows), query, n, stage)
    tracks = slate.tracks.tolist()
    available = after_duplicates(rows, query, stage)
    assert len(tracks) == min(n, len(available))
    assert len(set(tracks)) == len(tracks)
    assert set(tracks) <= set(available)
    assert slate.scores.tolist() == [len(rows) - t for t in tracks]


@settings(max_examples=150)
@given(asked())
def test_every_place_has_the_first_track_that_quota_and_spacing_allow(asked):
    rows, query, n, stage = asked
    before = list(query.tracks)
    left = in_order(rows, after_duplicates(rows, query, stage), n, stage)
    size = min(n, len(left))
    cold = math.ceil(Fraction(stage.cold_quota).limit_denominator(100) * size)
    met = 0
    tracks = continue_playlist(ranks_in_order(rows), query, n, stage).tracks.tolist()
    for place, t in enumerate(tracks, start=1):
        due = sum(size * j // cold <= place for j in range(1, cold + 1))
        wanted = [u for u in left if rows[u]["plays"] == 0] if due > met else left
        wanted = wanted or left
        allowed = [u for u in wanted if not breaks(rows, before, u, stage)]
        assert t == (allowed or wanted)[0]
        met += rows[t]["plays"] == 0
        left.remove(t)
        before.append(t)


@settings(max_examples=100)
@given(asked())
def test_without_adventure_a_list_is_the_ranking_and_with_it_is_no_more_played(asked):
    rows, query, n, stage = asked
    lists = [
        answer(rows, query, n, one_recording=stage.one_recording, adventure=a)
        for a in (0, stage.adventure, 1)
    ]
    available = after_duplicates(rows, query, stage)
    assert lists[0] == available[:n]
    assert set(lists[1]) <= set(available[: stage.pool(n)])
    plays = [sum(rows[t]["plays"] for t in some) for some in lists]
    assert plays[2] <= min(plays)


def in_bytes(slate: Slate) -> tuple[bytes, bytes, str]:
    return slate.tracks.tobytes(), slate.scores.tobytes(), slate.served_by


@pytest.mark.parametrize("recommender", [InOrder, Popularity])
@settings(max_examples=100)
@given(asked=asked_together())
def test_a_batch_gives_the_lists_that_its_queries_have_alone(recommender, asked):
    rows, questions = asked
    ranks = recommender()
    ranks.catalog = catalog_of(rows)
    together = continue_playlists(ranks, *zip(*questions, strict=True))
    for slate, one in zip(together, questions, strict=True):
        assert in_bytes(slate) == in_bytes(continue_playlist(ranks, *one))
