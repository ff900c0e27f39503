"""Two stages with tracks that nobody has played: places, order, reasons, bundles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support import worlds

from segue.bundle import Bundle, Manifest
from segue.data.dataset import Dataset
from segue.data.schema import TABLES, Outcome
from segue.errors import BundleError, UsageError
from segue.models.base.recommender import TrainingOptions
from segue.models.two_stage.cold_start import AddedTracks
from segue.models.two_stage.model import TwoStage
from segue.numeric.ragged import Ragged
from segue.queries import Queries, Query, Slate

COLD = np.arange(4, 30, 5, dtype=np.int32)
"""Tracks of the first genre that nobody plays; their artists are known."""
LIKE = COLD - 1
SETTINGS: dict[str, Any] = {
    "wrmf": {"factors": 8, "artist_weight": 0.1, "album_weight": 0.1, "title_weight": 0.2},
    "title": {"factors": 8},
    "folds": 2,
    "ranker": {"trees": 20, "depth": 3, "leaf_weight": 5.0},
}
FEW = SETTINGS | {"retrieved": 10, "reranked": 20}
"""Most tracks are no candidates."""
QUERIES = [
    Query(tracks=(0, 1, 2)),
    Query(tracks=(33, 31, 60), bans=(32, 35), title="jazz"),
    Query(tracks=(7,), title="metal"),
    Query(tracks=(95, 64, 61), outcomes=(Outcome.FINISHED, Outcome.SKIPPED, Outcome.PARTIAL)),
    Query(title="metal"),
    Query(title="🎻"),
    Query(),
]
"""Nothing of them is cold."""


@pytest.fixture(scope="module")
def cold_genres(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    genres = worlds.genres(tmp_path_factory.mktemp("genres") / "dataset")
    return genres.keeping(entries=~np.isin(genres.entries, COLD))


@pytest.fixture(scope="module")
def models(cold_genres: Dataset) -> dict[str, TwoStage]:
    settings = {"all": SETTINGS, "few": FEW}
    return {
        name: TwoStage(**some).fit(cold_genres, TrainingOptions(seed=1))
        for name, some in settings.items()
    }


def fresh(count: int) -> pa.Table:
    rows = [{"uri": f"new:{i}", "artist": "artist 0", "album": "New"} for i in range(count)]
    return pa.Table.from_pylist(rows, schema=TABLES["tracks"])


def near(model: TwoStage) -> np.ndarray:
    """Vectors a little longer than those of neighbours in the catalog."""
    vectors: np.ndarray = model.space.vectors[LIKE] * np.float32(1.1)
    return vectors


def arrived(model: TwoStage) -> TwoStage:
    return model.with_tracks(fresh(len(COLD)), near(model))


def placed(model: TwoStage) -> TwoStage:
    return model.placing(COLD, near(model))


def both(model: TwoStage) -> TwoStage:
    return arrived(placed(model))


DOORS: dict[str, Callable[[TwoStage], TwoStage]] = {
    "arrived": arrived,
    "placed": placed,
    "both": both,
}
CASES = pytest.mark.parametrize(
    ("door", "which"), [(door, which) for door in DOORS for which in ("all", "few")]
)


def cold_of(model: TwoStage) -> np.ndarray:
    return np.flatnonzero(model.cold.mask)


def answers(model: Any, queries: list[Query]) -> list[Slate]:
    return list(model.recommend(Queries.of(queries), len(model.catalog)))


# Places


@CASES
def test_what_was_learned_keeps_its_order_and_its_scores(
    door: str, which: str, models: dict[str, TwoStage]
) -> None:
    model = models[which]
    more = DOORS[door](model)
    for before, after in zip(answers(model, QUERIES), answers(more, QUERIES), strict=True):
        was, now = (~np.isin(slate.tracks, cold_of(more)) for slate in (before, after))
        assert before.served_by == after.served_by
        assert before.tracks[was].tobytes() == after.tracks[now].tobytes()
        assert before.scores[was].tobytes() == after.scores[now].tobytes()


@CASES
def test_a_cold_track_keeps_the_place_that_wrmf_gives_it(
    door: str, which: str, models: dict[str, TwoStage]
) -> None:
    more = DOORS[door](models[which])
    queries = [query for query in QUERIES if query.tracks] + [Query(tracks=(0, 4, 9))]
    for alone, slate in zip(answers(more.space, queries), answers(more, queries), strict=True):
        assert slate.served_by == "two-stage"
        found, wanted = (np.isin(some.tracks, cold_of(more)) for some in (slate, alone))
        assert slate.tracks[found].tolist() == alone.tracks[wanted].tolist()
        learned = slate.scores[~found]
        above, by_wrmf = (np.cumsum(~some)[some] for some in (found, wanted))
        for have, want in zip(above, by_wrmf, strict=True):
            # No fewer learned tracks are above it; more only where their scores are the same.
            assert have >= want
            assert want == have or learned[want - 1] - learned[have - 1] < 1e-5


@CASES
def test_cold_tracks_are_in_the_order_of_wrmf(
    door: str, which: str, models: dict[str, TwoStage]
) -> None:
    more = DOORS[door](models[which])
    known = QUERIES[:-2]
    for alone, slate in zip(answers(more.space, known), answers(more, known), strict=True):
        order, wanted = (
            some.tracks[np.isin(some.tracks, cold_of(more))] for some in (slate, alone)
        )
        assert order.tolist() == wanted.tolist()


@pytest.mark.parametrize("door", DOORS)
def test_they_come_to_those_who_like_their_genre(door: str, models: dict[str, TwoStage]) -> None:
    more = DOORS[door](models["all"])
    queries = Queries.of([Query(tracks=range(30 * g, 30 * g + 4)) for g in range(4)])
    cold = cold_of(more).astype(np.int32)
    places = more.ranks(queries, Ragged.repeat(cold, 4)).reshape(4, -1)
    assert places[0].min() < 10
    assert (places[1:].mean(axis=1) > places[0].mean() + 12).all()


def dealt(
    ranked: list[int], scores: list[float], known: bool = True, n: int = 9
) -> tuple[list[int], list[float]]:
    """Tracks 0, 2, 3, ... have the scores in falling order; 1 and those from 8 on are cold."""
    mask = np.arange(12) >= 8
    mask[1] = True
    cold = AddedTracks(None, mask, 8)  # type: ignore[arg-type]
    learned = np.array([0, *range(2, 8)][: len(scores)], np.int32)
    tracks, values = cold._merged(
        learned, np.array(scores, np.float32), np.array(ranked, np.int32), known, n
    )
    return tracks.tolist(), values.tolist()


def test_cold_tracks_are_dealt_in_by_hand() -> None:
    step = 2.0**-22
    tracks, scores = dealt([8, 3, 1, 9, 0, 2, 10, 4], [4.0, 3.0, 0.5, -2.0])
    assert tracks == [8, 0, 1, 9, 2, 3, 10, 4]
    assert scores[0] == np.float32(5 - 5 * step)
    assert scores[2:4] == [4 - 4 * step, 4 - 8 * step]
    assert scores[6] == 0.5 - step
    assert [scores[i] for i in (1, 4, 5, 7)] == [4, 3, 0.5, -2]


def test_among_equal_scores_cold_tracks_come_last_in_the_order_of_wrmf() -> None:
    assert dealt([0, 9, 2, 1, 3, 8, 4], [3.0, 1.0, 1.0, 1.0])[0] == [0, 9, 2, 3, 4, 1, 8]


def test_where_wrmf_knows_nothing_cold_tracks_are_last() -> None:
    assert dealt([1, 8, 0, 2, 3], [3.0, 2.0, 1.0], known=False)[0] == [0, 2, 3, 1, 8]
    assert dealt([1, 8, 0], [3.0, 2.0, 1.0], known=False, n=3)[0] == [0, 2, 3]


def test_where_all_that_was_learned_is_banned_cold_tracks_are_left() -> None:
    assert dealt([9, 1], [])[0] == [9, 1]


# The contract of answers


@CASES
def test_lists_are_whole_in_total_order_and_begin_with_shorter_ones(
    door: str, which: str, models: dict[str, TwoStage]
) -> None:
    more = DOORS[door](models[which])
    cold = cold_of(more).tolist()
    some = [*QUERIES, Query(tracks=(cold[0], 3)), Query(tracks=(50,), bans=(cold[1], 51))]
    size = len(more.catalog)
    shorter = more.recommend(Queries.of(some), 17)
    for query, short, slate in zip(some, shorter, answers(more, some), strict=True):
        out = {*query.tracks, *query.bans}
        assert sorted(slate.tracks.tolist()) == sorted({*range(size)} - out)
        assert np.lexsort((slate.tracks, -slate.scores)).tolist() == list(range(len(slate.tracks)))
        assert short.tracks.tobytes() == slate.tracks[:17].tobytes()
        assert short.scores.tobytes() == slate.scores[:17].tobytes()


@CASES
def test_a_batch_gives_what_its_single_queries_give(
    door: str, which: str, models: dict[str, TwoStage]
) -> None:
    more = DOORS[door](models[which])
    cold = cold_of(more).tolist()
    some = [*QUERIES, Query(tracks=(cold[0],)), Query(tracks=(3, cold[1])), *QUERIES]
    for query, slate in zip(some, answers(more, some), strict=True):
        (alone,) = answers(more, [query])
        assert alone.tracks.tobytes() == slate.tracks.tobytes()
        assert alone.scores.tobytes() == slate.scores.tobytes()


@pytest.mark.parametrize("door", DOORS)
def test_places_among_cold_tracks_are_in_the_order_of_the_list(
    door: str, models: dict[str, TwoStage]
) -> None:
    more = DOORS[door](models["few"])
    cold = cold_of(more).astype(np.int32)
    found = more.ranks_among(Queries.of(QUERIES[:1]), Ragged.of_lists([cold]))
    order = [t for t in answers(more, QUERIES[:1])[0].tracks.tolist() if t in cold]
    assert cold[np.argsort(found)].tolist() == order


def test_placing_none_changes_nothing(models: dict[str, TwoStage]) -> None:
    model = models["few"]
    same = model.placing(COLD[:0], near(model)[:0])
    for before, after in zip(answers(model, QUERIES), answers(same, QUERIES), strict=True):
        assert before.tracks.tobytes() == after.tracks.tobytes()
        assert before.scores.tobytes() == after.scores.tobytes()
    assert same.tensors().keys() == model.tensors().keys()


def test_the_model_itself_stays_as_it_was(models: dict[str, TwoStage]) -> None:
    model = models["few"]
    before = {key: tensor.copy() for key, tensor in model.tensors().items()}
    assert len(both(model).catalog) == 121 + len(COLD)
    assert len(model.catalog) == 121
    after = model.tensors()
    assert after.keys() == before.keys()
    assert all(after[key].tobytes() == before[key].tobytes() for key in before)


def test_vectors_that_do_not_fit_are_refused(models: dict[str, TwoStage]) -> None:
    model = models["few"]
    with pytest.raises(UsageError):
        model.with_tracks(fresh(1), np.zeros((1, 7), np.float32))
    with pytest.raises(UsageError):
        model.with_tracks(model.catalog.table.slice(3, 1).drop(["plays"]), near(model)[:1])
    with pytest.raises(UsageError):
        model.placing(COLD[:1], np.full((1, 8), np.nan, np.float32))


# Histories of cold tracks


@pytest.mark.parametrize("door", DOORS)
def test_a_history_of_cold_tracks_alone_is_answered_by_wrmf(
    door: str, models: dict[str, TwoStage]
) -> None:
    more = DOORS[door](models["all"])
    query = Query(tracks=cold_of(more)[-2:].tolist(), title="metal")
    (slate,), (alone,) = answers(more, [query]), answers(more.space, [query])
    assert slate.served_by == "wrmf"
    assert slate.tracks.tobytes() == alone.tracks.tobytes()
    assert slate.scores.tobytes() == alone.scores.tobytes()
    assert (slate.tracks[:10] < 30).mean() >= 0.9
    wanted = np.array([0, 40, cold_of(more)[0]], np.int32)
    assert more.explain(query, wanted) == more.space.explain(query, wanted)


@pytest.mark.parametrize("door", DOORS)
def test_beside_others_a_cold_track_speaks_through_wrmf_alone(
    door: str, models: dict[str, TwoStage]
) -> None:
    more = DOORS[door](models["all"])
    cold = int(cold_of(more)[-1])
    mixed, rest = (Queries.of([Query(tracks=some)]) for some in ((61, cold, 62), (61, 62)))
    learned = more.cold.learned_of(mixed)
    assert learned.tracks.tolist() == [61, 62]
    assert learned.offsets.tolist() == [0, 2]
    vectors = more.space.query_vectors(mixed)
    excluded = np.array([61, 62], np.int32)
    heard = more.first.pool(learned, excluded, vectors=vectors)
    unheard = more.first.pool(rest, excluded)
    assert heard.tracks.tolist() == unheard.tracks.tolist()
    assert (heard.scores[:, 1:] == unheard.scores[:, 1:]).all()
    assert (heard.scores[:, 0] != unheard.scores[:, 0]).any()
    assert answers(more, [Query(tracks=(61, cold, 62))])[0].served_by == "two-stage"


# Reasons


@CASES
def test_reasons_add_up_to_the_score(door: str, which: str, models: dict[str, TwoStage]) -> None:
    more = DOORS[door](models[which])
    cold = cold_of(more).tolist()
    some = [*QUERIES, Query(tracks=(cold[0], 61), title="jazz"), Query(tracks=(cold[1],))]
    for query, slate in zip(some, answers(more, some), strict=True):
        reasons = more.explain(query, slate.tracks)
        for parts, score in zip(reasons, slate.scores, strict=True):
            amounts = [reason.amount for reason in parts]
            scale = max(1.0, *(abs(amount) for amount in amounts))
            assert abs(sum(amounts) - score) < 1e-4 * scale


def test_a_cold_track_has_the_reasons_of_wrmf_and_what_they_leave(
    models: dict[str, TwoStage],
) -> None:
    more = both(models["all"])
    query = Query(tracks=(0, 4, 33), title="metal", bans=(9,))
    wanted = np.array([14, 125, 9], np.int32)
    found, theirs = more.explain(query, wanted), more.space.explain(query, wanted)
    for own, parts in zip(found, theirs, strict=True):
        assert [reason for reason in own if reason.kind != "rest"] == parts
        assert len(own) == len(parts) + 1
    learned = more.explain(query, np.array([5], np.int32))[0]
    assert {reason.kind for reason in learned} == {"feature", "rest"}


# Bundles


def manifest(which: str) -> Manifest:
    return Manifest(
        recommender="two-stage",
        recipe="two-stage",
        config={"all": SETTINGS, "few": FEW}[which],
        seed=1,
        holdout=None,
        dataset="0",
        simulated=True,
        trained_at="2020-01-01T00:00:00Z",
    )


@CASES
def test_saving_loading_and_saving_again_gives_the_same_bytes_and_answers(
    door: str, which: str, models: dict[str, TwoStage], tmp_path: Path
) -> None:
    more = DOORS[door](models[which])
    Bundle(more, manifest(which), np.arange(3, dtype=np.uint64)).save(tmp_path / "a")
    loaded = Bundle.load(tmp_path / "a")
    loaded.save(tmp_path / "b")
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name
    cold = int(cold_of(more)[0])
    some = [*QUERIES, Query(tracks=(cold,)), Query(tracks=(cold, 70))]
    for before, after in zip(answers(more, some), answers(loaded.recommender, some), strict=True):
        assert before.served_by == after.served_by
        assert before.tracks.tobytes() == after.tracks.tobytes()
        assert before.scores.tobytes() == after.scores.tobytes()
    assert isinstance(loaded.recommender, TwoStage)
    again = loaded.recommender.with_tracks(
        pa.Table.from_pylist([{"uri": "later:0"}], schema=TABLES["tracks"]), near(more)[:1]
    )
    assert answers(again, [Query(tracks=(len(more.catalog),))])[0].served_by == "wrmf"


@pytest.mark.parametrize("door", DOORS)
def test_tensors_that_do_not_fit_are_refused(door: str, models: dict[str, TwoStage]) -> None:
    more = DOORS[door](models["few"])
    good = more.tensors()
    tracks, vectors = good["cold/tracks"], good["cold/vectors"]
    wrong: list[dict[str, Any]] = [
        {"cold/tracks": None},
        {"cold/vectors": None},
        {"cold/tracks": tracks[::-1].copy()},
        {"cold/tracks": tracks + np.int32(len(more.catalog))},
        {"cold/tracks": tracks - np.int32(len(more.catalog))},
        {"cold/tracks": tracks[:-1], "cold/vectors": vectors[:-1]} if door != "placed" else {},
        {"cold/tracks": tracks[:0], "cold/vectors": vectors[:0]},
        {"cold/tracks": tracks.astype(np.int64)},
        {"cold/vectors": vectors[:, :-1].copy()},
        {"cold/vectors": np.full_like(vectors, np.nan)},
        {"wrmf/vectors": good["wrmf/vectors"][:-1].copy()},
        {"wrmf/vectors": None},
    ]
    for change in filter(None, wrong):
        tensors = {key: tensor for key, tensor in (good | change).items() if tensor is not None}
        restored = TwoStage(**FEW)
        restored.catalog = more.catalog
        with pytest.raises(BundleError):
            restored.restore(tensors)
