"""What every recommender must do. Each test runs for every name in RECOMMENDERS."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import sound_worlds, worlds

from segue.bundle import Bundle, Manifest
from segue.data.dataset import Dataset
from segue.data.schema import Outcome
from segue.errors import BundleError, ConfigError, UsageError
from segue.models.base import audio_features
from segue.models.base.recommender import RECOMMENDERS, Recommender, TrainingOptions
from segue.models.two_stage.features.compute import features_of
from segue.numeric.ragged import Ragged
from segue.queries import Queries, Query, Slates

SEQUENCES = ("bert4rec", "caser", "gru4rec", "sasrec")
"""They learn what comes next."""

_NEXT = {
    "factors": 16,
    "epochs": 25,
    "batch": 8,
    "negatives": 64,
    "dropout": 0.1,
    "patience": 0,
    "history": "positive",
}

_WRMF = {"factors": 16, "confidence": "log"}

_LARP = {
    "sound": "musicnn",
    "text": "none",  # what a track is called says something even of one that nobody plays
    "stages": ("ttc", "tpc"),
    "dimensions": 16,
    "hidden": (16,),
    "epochs": 30,
    "batch": 16,
    "learning_rate": 0.005,
}

SMALL: dict[str, dict[str, Any]] = {
    "audio": {"wrmf": _WRMF, "sound": "none", "tower": "linear", "objective": "mse"},
    "audio-mlr": {"factors": 8, "epochs": 5},
    "audio by musicnn": {
        "wrmf": _WRMF,
        "sound": "musicnn",
        "hidden": (16,),
        "epochs": 5,
        "batch": 16,
    },
    "audio on two stages": {
        "base": "two-stage",
        "two_stage": {
            "wrmf": {"factors": 16, "artist_weight": 0.1, "title_weight": 0.1},
            "title": {"factors": 8},
            "folds": 2,
            "ranker": {"trees": 20, "depth": 3, "leaf_weight": 5.0},
        },
        "sound": "musicnn",
        "tower": "linear",
        "objective": "mse",
    },
    "audio by larp": {
        "wrmf": _WRMF,
        "sound": "larp",
        "larp": _LARP,
        "tower": "linear",
        "objective": "mse",
    },
    "audio by words": {
        "wrmf": _WRMF,
        "sound": "bag-of-words",
        "tower": "linear",
        "objective": "mse",
    },
    "bpr": {"factors": 16, "epochs": 600},
    "larp": _LARP,
    "larp with clcrec": _LARP | {"top": "clcrec"},
    "larp with dropoutnet": _LARP | {"top": "dropoutnet"},
    "larp with nearest": _LARP | {"top": "nearest"},
    "larp untrained": {"sound": "musicnn", "text": "none", "stages": ()},
    "playlist-cnn": {
        "factors": 16,
        "blocks": 2,
        "kernels": 16,
        "epochs": 15,
        "batch": 16,
        "learning_rate": 0.005,
    },
    **dict.fromkeys(SEQUENCES, _NEXT),
    "title": {"factors": 8},
    "title by name": {"factors": 8, "features": "name"},
    "two-stage": {
        "wrmf": {"factors": 16, "artist_weight": 0.1, "album_weight": 0.1, "title_weight": 0.1},
        "title": {"factors": 8},
        "folds": 2,
        "ranker": {"trees": 20, "depth": 3, "leaf_weight": 5.0},
    },
    "wrmf": {"factors": 16},
    "wrmf in company": {
        "factors": 16,
        "artist_weight": 0.1,
        "album_weight": 0.1,
        "title_weight": 0.1,
    },
}
"""Settings for tiny worlds, where the defaults would cost time or be out of proportion."""

CASES = {name: name for name in sorted(RECOMMENDERS)} | {
    "audio by larp": "audio",
    "audio by musicnn": "audio",
    "audio on two stages": "audio",
    "audio by words": "audio",
    "larp untrained": "larp",
    "larp with clcrec": "larp",
    "larp with dropoutnet": "larp",
    "larp with nearest": "larp",
    "title by name": "title",
    "wrmf in company": "wrmf",
}
"""Everything that is tested, with its recommender."""
NAMES = pytest.mark.parametrize("name", CASES)

HEARS_TRACKS = [name for name, of in CASES.items() if of not in ("personal", "popularity", "title")]

KNOWS_KINDS = [name for name in HEARS_TRACKS if name not in SEQUENCES]
"""Those that ask what goes together; what comes next is another question."""

FEATURE_NAMES = {feature.name for feature in features_of(["wrmf", "user-knn", "item-knn", "title"])}

ORDERED = {"playlist-cnn", "two-stage", "audio on two stages", *SEQUENCES}
"""Those for which the order and repeats of a history mean something."""

QUERIES = [
    Query(tracks=(0, 2, 4), title="metal"),
    Query(tracks=(33, 31, 33, 60), bans=(32, 35), title="jazz"),
    Query(title="🎻"),
    Query(),
    Query(tracks=(7,)),
    Query(tracks=(1, 2), outcomes=(Outcome.SKIPPED, Outcome.DISLIKED)),
    Query(tracks=(95, 64, 61), outcomes=(Outcome.FINISHED, Outcome.SKIPPED, Outcome.PARTIAL)),
    Query(tracks=(120,), title="qqqq", bans=(0,)),
]
"""Of the world `genres`: known and unknown, empty, mixed, with repeats, bans and skips."""


@pytest.fixture(scope="module", autouse=True)
def hear() -> Iterator[None]:
    """Sounds come from `sound_worlds`, not from files: these worlds have none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audio_features, "extracted", sound_worlds.heard)
        yield


@pytest.fixture(scope="module")
def genres(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return worlds.genres(tmp_path_factory.mktemp("genres") / "dataset")


@pytest.fixture(scope="module")
def checkerboard(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return worlds.checkerboard(tmp_path_factory.mktemp("checkerboard") / "dataset")


@pytest.fixture(scope="module")
def trained(genres: Dataset) -> Callable[[str], Recommender]:
    """The recommender of a name, trained on the world `genres` once."""
    ready: dict[str, Recommender] = {}

    def get(name: str) -> Recommender:
        if name not in ready:
            ready[name] = new(name).fit(genres, TrainingOptions(seed=1))
        return ready[name]

    return get


def new(name: str) -> Recommender:
    return RECOMMENDERS[CASES[name]](**SMALL.get(name, {}))


def same(a: Slates, b: Slates) -> bool:
    return (
        a.tracks.tobytes() == b.tracks.tobytes()
        and a.scores.tobytes() == b.scores.tobytes()
        and list(a.counts) == list(b.counts)
        and list(a.served_by) == list(b.served_by)
    )


def bundle(name: str, recommender: Recommender) -> Bundle:
    manifest = Manifest(
        recommender=recommender.name,
        recipe=recommender.name,
        config=SMALL.get(name, {}),
        seed=1,
        holdout=None,
        dataset="0",
        simulated=True,
        trained_at="2020-01-01T00:00:00Z",
    )
    return Bundle(recommender, manifest, np.arange(3, dtype=np.uint64))


# Known answers


@pytest.mark.parametrize("name", KNOWS_KINDS)
def test_checkerboard_gives_back_the_withheld_track(name: str, checkerboard: Dataset) -> None:
    recommender = new(name).fit(checkerboard, TrainingOptions(seed=1))
    size = checkerboard.playlist_count
    kinds = [[t for t in range(size) if t % 2 == p % 2 and t != p] for p in range(size)]
    slates = recommender.recommend(Queries.of([Query(tracks=kind) for kind in kinds]), 1)
    assert [int(t) for t in slates.tracks[:, 0]] == list(range(size))


@pytest.mark.parametrize("name", KNOWS_KINDS)
def test_a_track_of_one_kind_brings_tracks_of_its_kind(name: str, checkerboard: Dataset) -> None:
    recommender = new(name).fit(checkerboard, TrainingOptions(seed=1))
    size = checkerboard.playlist_count
    slates = recommender.recommend(Queries.of([Query(tracks=(t,)) for t in range(size)]), 3)
    assert all((slate.tracks % 2 == t % 2).all() for t, slate in enumerate(slates))


@pytest.mark.parametrize("name", KNOWS_KINDS)
def test_skipped_and_disliked_tracks_do_not_speak_for_their_kind(
    name: str, checkerboard: Dataset
) -> None:
    recommender = new(name).fit(checkerboard, TrainingOptions(seed=1))
    bad = (Outcome.SKIPPED, Outcome.DISLIKED, Outcome.FINISHED)
    slate = recommender.recommend(Queries.of([Query(tracks=(1, 3, 2), outcomes=bad)]), 3)[0]
    assert (slate.tracks % 2 == 0).all()


def test_a_title_brings_the_tracks_of_playlists_called_like_it(
    trained: Callable[[str], Recommender],
) -> None:
    titles = ["metal", "Jazz!", "ТЕХНО", "🎻🎻"]
    slates = trained("title").recommend(Queries.of([Query(title=title) for title in titles]), 20)
    assert [set(slate.tracks // 30) for slate in slates] == [{0}, {1}, {2}, {3}]


@pytest.mark.parametrize("name", HEARS_TRACKS)
def test_unseen_histories_are_continued_far_better_than_by_popularity(
    name: str, trained: Callable[[str], Recommender], tmp_path: Path
) -> None:
    unseen = worlds.genres(tmp_path / "unseen", playlists=80, seed=99)
    lists = np.split(unseen.entries, unseen.offsets[1:-1])
    queries = Queries.of([Query(tracks=[int(t) for t in some[:5]]) for some in lists])

    def recall(recommender: Recommender) -> float:
        slates = recommender.recommend(queries, 20)
        found = [np.isin(some[5:], s.tracks).mean() for some, s in zip(lists, slates, strict=True)]
        return float(np.mean(found))

    assert recall(trained(name)) > 1.8 * recall(trained("popularity"))


# The contract of answers


@NAMES
def test_a_batch_gives_what_its_single_queries_give_bit_for_bit(
    name: str, trained: Callable[[str], Recommender]
) -> None:
    recommender = trained(name)
    batch = recommender.recommend(Queries.of(QUERIES), 30)
    for q, query in enumerate(QUERIES):
        alone = recommender.recommend(Queries.of([query]), 30)
        assert alone.tracks[0].tobytes() == batch.tracks[q].tobytes()
        assert alone.scores[0].tobytes() == batch.scores[q].tobytes()
        assert alone.served_by[0] == batch.served_by[q]


@NAMES
def test_the_order_and_size_of_the_batch_do_not_matter(
    name: str, trained: Callable[[str], Recommender]
) -> None:
    recommender = trained(name)
    many = [QUERIES[q % len(QUERIES)] for q in np.random.default_rng(2).permutation(600)]
    batch = recommender.recommend(Queries.of(many), 30)
    turned = recommender.recommend(Queries.of(many[::-1]), 30)
    assert batch.tracks.tobytes() == turned.tracks[::-1].tobytes()
    assert batch.scores.tobytes() == turned.scores[::-1].tobytes()


@NAMES
def test_an_empty_batch_has_an_empty_answer(
    name: str, trained: Callable[[str], Recommender]
) -> None:
    assert len(trained(name).recommend(Queries.of([]), 5)) == 0


@NAMES
def test_the_order_and_repeats_of_a_history_do_not_change_what_is_known(
    name: str, trained: Callable[[str], Recommender]
) -> None:
    queries = Queries.of([Query(tracks=(3, 8, 14)), Query(tracks=(14, 3, 8))])
    slates = trained(name).recommend(queries, 20)
    assert set(slates.tracks[0]).isdisjoint({3, 8, 14})
    if name in HEARS_TRACKS and name not in ORDERED:
        assert slates.tracks[0].tobytes() == slates.tracks[1].tobytes()


few = st.lists(st.integers(0, 120), max_size=40)


@NAMES
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=few, bans=few, n=st.integers(1, 300), title=st.sampled_from([None, "metal", "?"]))
def test_exactly_n_or_all_available_in_total_order_without_seeds_and_bans(
    name: str,
    trained: Callable[[str], Recommender],
    history: list[int],
    bans: list[int],
    n: int,
    title: str | None,
) -> None:
    queries = Queries.of([Query(tracks=history, bans=bans, title=title)])
    slate = trained(name).recommend(queries, n)[0]
    tracks, scores = slate.tracks.tolist(), slate.scores.tolist()
    out = {*history, *bans}
    assert len(tracks) == min(n, 121 - len(out))
    assert len(set(tracks)) == len(tracks)
    assert out.isdisjoint(tracks)
    assert all(0 <= t < 121 for t in tracks)
    assert np.isfinite(scores).all()
    order = [(-score, track) for score, track in zip(scores, tracks, strict=True)]
    assert order == sorted(order)


@NAMES
def test_a_longer_slate_begins_with_the_shorter_one(
    name: str, trained: Callable[[str], Recommender]
) -> None:
    short = trained(name).recommend(Queries.of(QUERIES), 5)
    long = trained(name).recommend(Queries.of(QUERIES), 121)
    assert short.tracks.tobytes() == np.ascontiguousarray(long.tracks[:, :5]).tobytes()


@NAMES
def test_when_everything_is_banned_the_slate_is_empty(
    name: str, trained: Callable[[str], Recommender]
) -> None:
    slates = trained(name).recommend(Queries.of([Query(tracks=(5,), bans=range(121))]), 10)
    assert len(slates[0].tracks) == 0


@NAMES
def test_a_query_that_says_nothing_is_answered_by_popularity_and_says_so(
    name: str, trained: Callable[[str], Recommender]
) -> None:
    nothing = [
        Query(),
        Query(title=""),
        Query(title="?!"),
        Query(tracks=(120,), title="qqqq"),
        Query(tracks=(4,), outcomes=(Outcome.SKIPPED,)),
    ]
    slates = trained(name).recommend(Queries.of(nothing), 10)
    assert set(slates.served_by) == {"popularity"}
    popular = trained("popularity").recommend(Queries.of(nothing), 10)
    assert slates.tracks.tobytes() == popular.tracks.tobytes()
    assert slates.scores.tobytes() == popular.scores.tobytes()


@NAMES
@pytest.mark.parametrize(
    ("query", "n"),
    [
        (Query(), 0),
        (Query(tracks=(121,)), 5),
        (Query(tracks=(-1,)), 5),
        (Query(bans=(121,)), 5),
        (Query(tracks=(2**40,)), 5),
    ],
)
def test_what_cannot_be_asked_is_refused(
    name: str, query: Query, n: int, trained: Callable[[str], Recommender]
) -> None:
    with pytest.raises(UsageError):
        trained(name).recommend(Queries.of([query]), n)


@NAMES
@pytest.mark.parametrize("wanted", [[5, 31, 70, 120], list(range(121))], ids=["few", "all"])
def test_places_are_those_in_the_complete_ranking(
    name: str, wanted: list[int], trained: Callable[[str], Recommender]
) -> None:
    queries = Queries.of(QUERIES)
    places = trained(name).ranks(queries, Ragged.repeat(np.array(wanted, np.int32), len(QUERIES)))
    for slate, found in zip(
        trained(name).recommend(queries, 121), places.reshape(len(QUERIES), -1), strict=True
    ):
        place = np.full(121, 121)
        place[slate.tracks] = np.arange(len(slate.tracks))
        assert found.tolist() == place[wanted].tolist()


@NAMES
def test_places_among_some_tracks_are_in_the_order_of_the_complete_ranking(
    name: str, trained: Callable[[str], Recommender]
) -> None:
    wanted = np.array([5, 31, 70, 2, 120, 99], np.int32)
    queries = Queries.of(QUERIES)
    found = trained(name).ranks_among(queries, Ragged.repeat(wanted, len(QUERIES)))
    for q, slate in enumerate(trained(name).recommend(queries, 121)):
        order = [t for t in slate.tracks.tolist() if t in wanted]
        places = [order.index(t) if t in order else 6 * len(QUERIES) for t in wanted.tolist()]
        assert found[6 * q : 6 * q + 6].tolist() == places


# Reasons


@NAMES
def test_reasons_add_up_to_the_score(name: str, trained: Callable[[str], Recommender]) -> None:
    recommender = trained(name)
    slates = recommender.recommend(Queries.of(QUERIES), 121)
    for query, slate in zip(QUERIES, slates, strict=True):
        reasons = recommender.explain(query, slate.tracks)
        assert len(reasons) == len(slate.tracks)
        for some, score in zip(reasons, slate.scores, strict=True):
            amounts = [reason.amount for reason in some]
            assert amounts == sorted(amounts, reverse=True)
            scale = max(1.0, *(abs(amount) for amount in amounts))
            assert abs(sum(amounts) - score) < 1e-4 * scale


@NAMES
def test_reasons_name_only_what_the_query_holds(
    name: str, trained: Callable[[str], Recommender]
) -> None:
    for query in QUERIES:
        liked = set(Queries.of([query]).liked().values.tolist())
        for some in trained(name).explain(query, np.array([10, 70], np.int32)):
            for reason in some:
                assert reason.kind in ("track", "title", "popularity", "feature", "rest")
                if reason.kind == "track":
                    assert reason.what in liked
                elif reason.kind == "title":
                    assert str(reason.what) in (query.title or "").casefold()
                elif reason.kind == "feature":
                    assert reason.what in FEATURE_NAMES
                else:
                    assert reason.what is None


# What is learned, kept and configured


@NAMES
def test_the_same_seed_gives_the_same_tensors(
    name: str, genres: Dataset, trained: Callable[[str], Recommender]
) -> None:
    again = new(name).fit(genres, TrainingOptions(seed=1)).tensors()
    first = trained(name).tensors()
    assert again.keys() == first.keys()
    assert all(again[key].tobytes() == first[key].tobytes() for key in first)


@NAMES
def test_training_does_not_change_the_dataset(name: str, genres: Dataset) -> None:
    entries, offsets = genres.entries.copy(), genres.offsets.copy()
    new(name).fit(genres, TrainingOptions(seed=1))
    assert (genres.entries == entries).all()
    assert (genres.offsets == offsets).all()


@NAMES
def test_repeats_in_playlists_and_empty_playlists_are_learned_from(
    name: str, tmp_path: Path
) -> None:
    lists = [[0, 1, 1, 2, 0], [], [2, 1, 0], [3, 4, 3], [4, 3], [0, 2]]
    data = worlds.make(tmp_path / "d", lists, ["a b", "", "a", "c", "c d", None], tracks=8)
    recommender = new(name).fit(data, TrainingOptions(seed=1))
    slates = recommender.recommend(Queries.of([Query(tracks=(0,)), Query(title="a")]), 8)
    assert slates.counts.tolist() == [7, 8]
    assert np.isfinite(slates.scores[1]).all()


@NAMES
def test_saving_loading_and_saving_again_gives_the_same_bytes_and_answers(
    name: str, trained: Callable[[str], Recommender], tmp_path: Path
) -> None:
    bundle(name, trained(name)).save(tmp_path / "a")
    loaded = Bundle.load(tmp_path / "a")
    loaded.save(tmp_path / "b")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "b").iterdir())
    for file in names:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
    queries = Queries.of(QUERIES)
    assert same(trained(name).recommend(queries, 40), loaded.recommender.recommend(queries, 40))
    reasons = trained(name).explain(QUERIES[0], np.array([5, 50], np.int32))
    assert reasons == loaded.recommender.explain(QUERIES[0], np.array([5, 50], np.int32))


@NAMES
def test_tensors_that_do_not_fit_are_refused(
    name: str, trained: Callable[[str], Recommender]
) -> None:
    good = trained(name).tensors()
    for key, tensor in good.items():
        bad = {
            "missing": None,
            "of another type": tensor.astype(np.complex64),
            "of another shape": tensor[None],
        }
        if tensor.dtype.kind == "f" and tensor.size:
            bad["not a number"] = np.full_like(tensor, np.nan)
        if "offsets" in key and tensor[0] < tensor[-1]:
            bad["falling"] = tensor[::-1].copy()
        if tensor.dtype == np.int32 and tensor.size:
            bad["outside the catalog"] = np.full_like(tensor, 10_000)
            bad["negative"] = np.full_like(tensor, -1)
        for what, value in bad.items():
            fresh = new(name)
            fresh.catalog = trained(name).catalog
            tensors = {**good, key: value} if value is not None else {**good}
            if value is None:
                del tensors[key]
            taken = True
            try:
                fresh.restore(tensors)
            except BundleError:
                taken = False
            assert not taken, f"{key} {what} was taken"


@NAMES
def test_an_unknown_setting_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match="settings are"):
        RECOMMENDERS[CASES[name]](colour="blue")


@NAMES
def test_every_setting_is_described_and_refuses_another_type(name: str) -> None:
    kind = RECOMMENDERS[CASES[name]]
    for field in kind.Config.__struct_fields__:
        annotation = typing.get_type_hints(kind.Config, include_extras=True)[field]
        assert "description" in str(annotation), f"{field} has no description"
        with pytest.raises(ConfigError):
            kind(**{field: {"a": "mapping"}})


@NAMES
def test_numbers_that_are_not_finite_or_too_large_are_refused(name: str) -> None:
    kind = RECOMMENDERS[CASES[name]]
    for field in msgspec.structs.fields(kind.Config):
        if isinstance(field.default, float):
            for value in (float("nan"), float("inf"), 1e300):
                with pytest.raises(ConfigError):
                    kind(**{field.name: value})


@NAMES
@pytest.mark.parametrize("setting", ["self", "cls", "settings"])
def test_a_setting_may_not_be_called_like_an_argument(name: str, setting: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown setting {setting}"):
        RECOMMENDERS[CASES[name]](**{setting: 1})
