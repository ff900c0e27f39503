"""The two-stage recommender: no leak, candidates, blend, what is learned from, what it falls to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import worlds

from segue.bundle import Bundle, Manifest
from segue.catalog.catalog import Catalog, catalog_of
from segue.cli import run
from segue.config import Config
from segue.data.dataset import Dataset
from segue.errors import BundleError, ConfigError, UsageError
from segue.models.base.recommender import TrainingOptions
from segue.models.base.scoring import ScoringModel
from segue.models.two_stage import training
from segue.models.two_stage.candidates import FirstStage, Pool, find_weights
from segue.models.two_stage.config import TwoStageConfig
from segue.models.two_stage.examples import cut_fold, labels_of, sample, without
from segue.models.two_stage.model import TwoStage
from segue.models.two_stage.ranker import RankerConfig, fit_ranker
from segue.models.two_stage.training import TwoStageTraining
from segue.protocols.playlist_cuts import Cuts, PlaylistRows
from segue.queries import Queries, Query

SMALL: dict[str, Any] = {
    "wrmf": {"factors": 16, "sweeps": 4},
    "title": {"factors": 8},
    "folds": 2,
    "ranker": {"trees": 30, "depth": 4, "leaf_weight": 1.0, "learning_rate": 0.2},
}


@pytest.fixture(scope="module")
def genres(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return worlds.genres(tmp_path_factory.mktemp("genres") / "dataset")


@pytest.fixture(scope="module")
def model(genres: Dataset) -> TwoStage:
    return TwoStage(**SMALL).fit(genres, TrainingOptions(seed=1))


@pytest.fixture(scope="module")
def bundle(model: TwoStage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    manifest = Manifest(
        recommender="two-stage",
        recipe="two-stage",
        config=SMALL,
        seed=1,
        holdout=None,
        dataset="0",
        simulated=True,
        trained_at="2020-01-01T00:00:00Z",
    )
    path = tmp_path_factory.mktemp("bundle") / "two-stage"
    Bundle(model, manifest, np.arange(3, dtype=np.uint64)).save(path)
    return path


def ask(recommender: TwoStage, query: Query, n: int = 12) -> tuple[np.ndarray, str]:
    slate = recommender.recommend(Queries.of([query]), n)[0]
    return slate.tracks, slate.served_by


# No leak


def families(path: Path, count: int, seed: int) -> Dataset:
    """160 artists of 6 tracks; a playlist is all of two artists, its first track of both in turn.

    A track is in few playlists, so playlists tell little and the artist's name tells all: only
    the features look at that. Nothing has a title.
    """
    rng = np.random.default_rng(seed)
    lists = []
    for _ in range(count):
        both = [artist * 6 + rng.permutation(6) for artist in rng.choice(160, 2, replace=False)]
        lists.append(np.stack(both, axis=1).ravel().tolist())
    return worlds.make(path, lists, artists=[f"artist {t // 6}" for t in range(960)], tracks=960)


def ndcg(recommender: TwoStage, unseen: Dataset) -> float:
    lists = np.split(unseen.entries, unseen.offsets[1:-1])
    slates = recommender.recommend(
        Queries.of([Query(tracks=some[:5].tolist()) for some in lists]), 50
    )
    gains = 1 / np.log2(np.arange(2, 52))
    return float(
        np.mean(
            [
                gains[np.isin(slate.tracks, some[5:])].sum() / gains[: len(some) - 5].sum()
                for slate, some in zip(slates, lists, strict=True)
            ]
        )
    )


def test_true_labels_beat_the_blend_and_permuted_ones_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned, unseen = families(tmp_path / "a", 120, 0), families(tmp_path / "b", 80, 1)
    alone = {"artist_weight": 0, "album_weight": 0, "title_weight": 0}
    settings = SMALL | {"wrmf": SMALL["wrmf"] | alone, "negatives": 60}
    with_labels = ndcg(TwoStage(**settings).fit(learned, TrainingOptions(seed=1)), unseen)
    blend = TwoStage(**settings | {"ranker": {"trees": 0}}).fit(learned, TrainingOptions(seed=1))
    assert blend.trees.size == 0

    def permuted(rows: Any, *rest: Any, **more: Any) -> Any:
        order = np.random.default_rng(0).permutation(len(rows.labels))
        return fit_ranker(rows._replace(labels=rows.labels[order]), *rest, **more)

    monkeypatch.setattr(training, "fit_ranker", permuted)
    misled = TwoStage(**settings).fit(learned, TrainingOptions(seed=1))
    assert misled.trees.size == 30
    assert with_labels > ndcg(blend, unseen) + 0.1
    assert ndcg(misled, unseen) <= ndcg(blend, unseen) + 0.01


def cut_in_training(dataset: Dataset, kept: float) -> tuple[Cuts, Dataset]:
    """Queries of one fold, and what the first stage learns from meanwhile."""
    fold = np.arange(0, dataset.playlist_count, 2)
    rows = PlaylistRows.of(dataset)
    cuts = cut_fold(rows, fold, np.random.default_rng(4))
    assert cuts is not None
    return cuts, without(dataset, rows, fold, cuts, kept, np.random.default_rng(5))


def seen_by_the_trees(dataset: Dataset, learned: Dataset, cuts: Cuts) -> list[bytes]:
    """Candidates, scores and features of each query, by what was learned from `learned`."""
    model = TwoStage(**SMALL)
    model.catalog = Catalog.of(dataset.tracks, np.zeros(dataset.track_count, np.int32))
    plays = learned.plays()
    catalog = catalog_of(learned, plays)
    fitting = TwoStageTraining(model.config, TrainingOptions(seed=1))
    model.first, model.tables = fitting.fit_stages(learned, plays, catalog, None)
    found = []
    for q in range(len(cuts.queries)):
        query = cuts.queries[q : q + 1]
        pool = model.first.pool(query, query.excluded().values)
        parts = [*pool, model.tables.compute(query, pool)]
        found.append(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))
    return found


@pytest.mark.parametrize("kept", [0.0, 0.5, 1.0])
def test_no_feature_changes_with_the_tracks_that_are_held_out(
    kept: float, genres: Dataset, tmp_path: Path
) -> None:
    cuts, reduced = cut_in_training(genres, kept)
    lists = [some.tolist() for some in np.split(genres.entries, genres.offsets[1:-1])]
    for q, playlist in enumerate(cuts.playlists):
        # The hidden tracks become the same places of the next genre: 30 tracks on.
        hidden = set(cuts.truth.row(q).tolist())
        lists[playlist] = [(t + 30) % 120 if t in hidden else t for t in lists[playlist]]
    changed = rebuilt(tmp_path, genres, lists, genres.titles)
    other_cuts, other = cut_in_training(changed, kept)
    assert other_cuts.truth.values.tolist() != cuts.truth.values.tolist()
    assert (other_cuts.queries.tracks == cuts.queries.tracks).all()
    before = seen_by_the_trees(genres, reduced, cuts)
    assert seen_by_the_trees(changed, other, other_cuts) == before
    if kept:  # where nothing is held out it shows, so this would be seen
        assert seen_by_the_trees(changed, changed, other_cuts) != before


def rebuilt(
    path: Path, like: Dataset, lists: list[list[int]], titles: Sequence[str | None]
) -> Dataset:
    """The same tracks in other playlists."""
    return worlds.make(
        path / "changed", lists, titles, like.tracks["artist"].to_pylist(), tracks=like.track_count
    )


@pytest.mark.parametrize("kept", [0.0, 1.0])
def test_names_are_gone_where_the_type_says_so(
    kept: float, genres: Dataset, tmp_path: Path
) -> None:
    cuts, reduced = cut_in_training(genres, kept)
    nameless = [p for p, kind in zip(cuts.playlists, cuts.kinds, strict=True) if not kind.title]
    assert nameless
    for q, kind in enumerate(cuts.kinds):
        title = genres.titles[cuts.playlists[q]] if kind.title else None
        assert cuts.queries.titles[q] == title
    titles = list(genres.titles)
    for p in nameless:
        assert titles[p]
        titles[p] = "metal jazz no. 0"
    lists = [some.tolist() for some in np.split(genres.entries, genres.offsets[1:-1])]
    changed = rebuilt(tmp_path, genres, lists, titles)
    other_cuts, other = cut_in_training(changed, kept)
    before = seen_by_the_trees(genres, reduced, cuts)
    assert seen_by_the_trees(changed, other, other_cuts) == before
    if kept:
        visible = other.keeping(entries=other.kept_entries)
        shown = replace(visible, nameless=None)
        assert seen_by_the_trees(changed, shown, other_cuts) != before


# Candidates and blend


class Fixed(ScoringModel):
    """Scores that are given, for every query."""

    Config = Config

    def __init__(self, scores: Sequence[float], known: bool = True) -> None:
        self.given, self.known = np.array(scores, np.float32), known
        self.catalog = range(len(scores))  # type: ignore[assignment]

    def answerable(self, queries: Queries) -> Any:
        return np.full(len(queries), self.known)

    def scores(self, queries: Queries) -> Any:
        return np.repeat(self.given[None], len(queries), axis=0)

    def query_vectors(self, queries: Queries) -> Any:
        """For one that stands in the place of `wrmf`."""
        return np.zeros((len(queries), 0), np.float32)

    def score_vectors(self, vectors: Any, out: Any) -> None:
        out[:] = self.given

    def _fit(self, *_: Any) -> None:
        raise NotImplementedError

    def _explain(self, *_: Any) -> Any:
        raise NotImplementedError

    def tensors(self) -> Any:
        raise NotImplementedError

    def restore(self, tensors: Any) -> None:
        raise NotImplementedError


WRMF = [6, 5, 4, 3, 2, 1, 0, 0]
NEIGHBOURS = [-0.5, -0.2, -0.5, -0.3, -0.1, 2, 1, 3]


def stage(generator: str = "union", known: bool = True, **more: Any) -> FirstStage:
    models = {"wrmf": Fixed(WRMF), "user-knn": Fixed(NEIGHBOURS, known)}
    settings: dict[str, Any] = {"retrieved": 2, "reranked": 100} | more
    config = TwoStageConfig(
        models=("wrmf", "user-knn", "title"),
        candidates=generator,  # type: ignore[arg-type]
        **settings,
    )
    return FirstStage(config, models, np.array([0.5, 0.25, 1], np.float32))


ANY = Queries.of([Query()])
NOTHING = np.zeros(0, np.int32)


def test_candidates_are_the_best_of_each_model() -> None:
    assert stage().pool(ANY, NOTHING).tracks.tolist() == [0, 1, 5, 7]
    assert stage(known=False).pool(ANY, NOTHING).tracks.tolist() == [0, 1]


def test_candidates_are_the_best_of_wrmf() -> None:
    assert stage("wrmf", retrieved=3).pool(ANY, NOTHING).tracks.tolist() == [0, 1, 2]


def test_candidates_of_user_knn_are_filled_up_from_wrmf() -> None:
    tracks = stage("user-knn", retrieved=2).pool(ANY, NOTHING).tracks
    assert tracks.tolist() == [5, 7]
    tracks = stage("user-knn", retrieved=5).pool(ANY, NOTHING).tracks
    assert tracks.tolist() == [0, 1, 5, 6, 7]  # three have votes
    tracks = stage("user-knn", known=False, retrieved=3).pool(ANY, NOTHING).tracks
    assert tracks.tolist() == [0, 1, 2]


@pytest.mark.parametrize("generator", ["union", "wrmf", "user-knn"])
def test_what_is_excluded_is_no_candidate(generator: str) -> None:
    tracks = stage(generator, retrieved=8).pool(ANY, np.array([0, 5], np.int32)).tracks
    assert tracks.tolist() == [1, 2, 3, 4, 6, 7]
    assert 1 in stage(generator, retrieved=6).pool(ANY, np.array([0], np.int32)).tracks


def test_the_blend_is_the_weighted_sum_of_scores_standardised_within_candidates() -> None:
    pool = stage().pool(ANY, NOTHING)  # wrmf 6 5 1 0, user-knn -.5 -.2 2 3, no title
    first = np.array([3, 2, -2, -3]) / np.sqrt(6.5)
    second = np.array([-1.575, -1.275, 0.925, 1.925]) / np.sqrt(2.166875)
    np.testing.assert_allclose(pool.scores, np.stack([first, second, 0 * first], axis=1), rtol=1e-5)
    np.testing.assert_allclose(pool.blend, first / 2 + second / 4, rtol=1e-5)
    one = stage("wrmf", retrieved=1).pool(ANY, NOTHING)
    assert one.scores.tolist() == [[0, 0, 0]]  # all are equal


def test_the_best_of_the_blend_are_kept() -> None:
    whole = stage(retrieved=8).pool(ANY, NOTHING)
    kept = stage(retrieved=8, reranked=3).pool(ANY, NOTHING)
    best = np.sort(np.argsort(-whole.blend)[:3])
    assert kept.tracks.tolist() == whole.tracks[best].tolist()
    assert kept.blend.tolist() == whole.blend[best].tolist()
    every = stage(retrieved=8, reranked=3).pool(ANY, NOTHING, everything=True)
    assert len(every.tracks) == 8


def test_weights_are_found_greedily_and_a_model_of_noise_gets_none() -> None:
    rng = np.random.default_rng(0)
    pools, labels = [], []
    for _ in range(12):
        good = rng.random(40) < 0.2
        good[0] = True
        # Each of the first two models knows half of what belongs.
        half = rng.random(40) < 0.5
        scores = np.stack([good & half, good & ~half, rng.random(40)], axis=1).astype(np.float32)
        pools.append(Pool(np.arange(40, dtype=np.int32), scores, scores[:, 0], scores[0]))
        labels.append(good)
    weights = find_weights(pools, labels)
    assert weights[0] > 0
    assert weights[1] > 0
    assert weights[2] == 0


def test_models_that_candidates_need_must_be_there() -> None:
    with pytest.raises(ConfigError, match="models lack wrmf"):
        TwoStage(models=("title",))
    with pytest.raises(ConfigError, match="models lack user-knn"):
        TwoStage(models=("wrmf",), candidates="user-knn")


def test_rows_of_sessions_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"wrmf.rows: is not for two-stage"):
        TwoStage(wrmf={"rows": "sessions"})


# What the trees learn from


def test_sampled_rows_stand_for_all_candidates() -> None:
    rng = np.random.default_rng(0)
    blend = rng.standard_normal(5000).astype(np.float32)
    labels = np.zeros(5000, np.bool_)
    labels[rng.choice(5000, 40, replace=False)] = True
    config = TwoStageConfig(negatives=200)
    taken = [sample(blend, labels, config, np.random.default_rng(seed)) for seed in range(40)]
    for some in taken:
        assert len(np.unique(some.at)) == len(some.at)
        assert set(np.flatnonzero(labels)) <= set(some.at)
        assert (some.weights[labels[some.at]] == 1).all()
        assert (some.weights >= 1).all()
    assert np.mean([some.weights.sum() for some in taken]) == pytest.approx(5000, rel=0.03)
    assert np.mean([len(some.at) for some in taken]) == pytest.approx(240, rel=0.05)
    rank = np.argsort(np.argsort(-blend))
    heads = np.mean([(rank[some.at][~labels[some.at]] < 500).mean() for some in taken])
    assert heads > 0.4  # of ten times as many


def test_few_candidates_are_all_taken_and_positives_are_limited() -> None:
    blend, labels = np.arange(50, dtype=np.float32), np.arange(50) < 10
    some = sample(blend, labels, TwoStageConfig(negatives=200), np.random.default_rng(0))
    assert sorted(some.at) == list(range(50))
    assert (some.weights == 1).all()
    some = sample(blend, labels, TwoStageConfig(positives=4), np.random.default_rng(0))
    assert labels[some.at].sum() == 4


@pytest.mark.parametrize("objective", ["pairwise", "listwise", "ungrouped"])
def test_for_the_papers_objectives_rows_are_drawn_from_the_best_thousand(objective: str) -> None:
    blend = -np.arange(5000, dtype=np.float32)
    labels = np.arange(5000) % 50 == 0
    config = TwoStageConfig(
        positives=10,
        negatives=20,
        ranker=RankerConfig(objective=objective),  # type: ignore[arg-type]
    )
    taken = [sample(blend, labels, config, np.random.default_rng(seed)) for seed in range(100)]
    at = np.stack([some.at for some in taken])
    assert at.shape == (100, 30)
    assert at.max() < 1000
    assert (labels[at].sum(axis=1) == 10).all()
    assert all((some.weights == 1).all() for some in taken)
    places = at[~labels[at]]
    assert abs(places.mean() - 500) < 30
    assert abs((places < 250).mean() - 0.25) < 0.04


def test_labels_are_what_was_hidden(genres: Dataset) -> None:
    cuts, _ = cut_in_training(genres, 0.0)
    every = np.arange(121, dtype=np.int32)
    for q, playlist in enumerate(cuts.playlists):
        whole = genres.entries[genres.offsets[playlist] : genres.offsets[playlist + 1]]
        seeds = cuts.queries[q : q + 1].tracks
        hidden = np.flatnonzero(labels_of(cuts, q, every))
        assert sorted([*seeds, *hidden]) == sorted(whole)
        assert len(seeds) == cuts.kinds[q].seeds


# What it falls to


@pytest.mark.parametrize(
    ("query", "served_by"),
    [
        (Query(tracks=(0,)), "two-stage"),
        (Query(tracks=(0,), title="jazz"), "two-stage"),
        (Query(title="jazz"), "title"),
        (Query(title="Jäzz jazzy"), "title"),
        (Query(title="ТЕХНО!"), "title"),
        (Query(title="🎻🎻🎻"), "title"),
        (Query(title="qqqq"), "popularity"),
        (Query(title="東京"), "popularity"),
        (Query(title="🥑🦔"), "popularity"),
        (Query(title=""), "popularity"),
        (Query(title=" ?! "), "popularity"),
        (Query(), "popularity"),
        (Query(tracks=(120,), title="jazz"), "title"),
        (Query(tracks=(120,)), "popularity"),
        (Query(tracks=(120,), title="qqqq"), "popularity"),
    ],
)
def test_every_query_gets_a_full_answer_that_says_whose_it_is(
    model: TwoStage, query: Query, served_by: str
) -> None:
    tracks, served = ask(model, query, 121)
    assert served == served_by
    assert sorted([*tracks, *query.tracks]) == list(range(121))


def test_a_title_of_ten_thousand_characters_is_a_clear_error(model: TwoStage) -> None:
    with pytest.raises(UsageError, match="title of 10000 characters, the limit is 200"):
        ask(model, Query(title="x" * 10_000))


def test_a_title_alone_is_answered_as_title_does(model: TwoStage) -> None:
    query = Query(title="jazz", bans=(31, 33))
    alone = model.first.models["title"].recommend(Queries.of([query]), 20)[0]
    assert ask(model, query, 20)[0].tolist() == alone.tracks.tolist()
    reasons = model.explain(query, alone.tracks[:1])[0]
    assert (reasons[0].kind, reasons[0].what) == ("title", "jazz")


def test_without_titles_it_trains_and_answers(genres: Dataset, tmp_path: Path) -> None:
    lists = [some.tolist() for some in np.split(genres.entries, genres.offsets[1:-1])]
    nameless = rebuilt(tmp_path, genres, lists, [None] * len(lists))
    model = TwoStage(**SMALL).fit(nameless, TrainingOptions(seed=1))
    assert model.trees.size
    tracks, served = ask(model, Query(tracks=(61, 63), title="jazz"))
    assert served == "two-stage"
    assert set(tracks // 30) == {2}
    assert ask(model, Query(title="jazz"))[1] == "popularity"


def test_too_few_playlists_for_trees_are_answered_by_the_blend(tmp_path: Path) -> None:
    few = worlds.genres(tmp_path / "few", playlists=24)
    model = TwoStage(**SMALL).fit(few, TrainingOptions(seed=1))
    assert model.trees.size == 0
    assert model.first.weights.any()
    query = Query(tracks=(31, 33, 35), title="jazz")
    pool = model.first.pool(Queries.of([query]), np.array(query.tracks, np.int32))
    slate = model.recommend(Queries.of([query]), 10)[0]
    assert slate.served_by == "two-stage"
    assert set(slate.tracks // 30) == {1}
    np.testing.assert_array_equal(slate.scores, np.sort(pool.blend)[::-1][:10])
    parts = {reason.what for reason in model.explain(query, slate.tracks[:1])[0]}
    assert parts <= {"wrmf-score", "user-knn-score", "item-knn-score", "title-score", None}


def loose(path: Path) -> Dataset:
    """Four genres of 30 tracks; two tracks of three and every other title say it."""
    rng = np.random.default_rng(8)
    lists, titles = [], []
    for p in range(240):
        own = rng.random(18) < 2 / 3
        tracks = np.where(own, p % 4 * 30 + rng.integers(0, 30, 18), rng.integers(0, 120, 18))
        lists.append(list(dict.fromkeys(tracks.tolist())))
        said = p % 4 if rng.random() < 0.5 else rng.integers(4)
        titles.append(("metal", "jazz", "techno", "folk")[said])
    return worlds.make(path, lists, titles, tracks=120)


def test_the_more_tracks_the_less_the_title_decides(tmp_path: Path) -> None:
    model = TwoStage(**SMALL).fit(loose(tmp_path / "loose"), TrainingOptions(seed=1))
    rng = np.random.default_rng(0)
    of_title, of_tracks = [], []
    for seeds in (0, 1, 10):
        heard = [tuple((30 + rng.permutation(30)[:seeds]).tolist()) for _ in range(10)]
        slates = [ask(model, Query(tracks=some, title="metal"), 15)[0] // 30 for some in heard]
        of_title.append(np.mean([(genre == 0).mean() for genre in slates]))
        of_tracks.append(np.mean([(genre == 1).mean() for genre in slates]))
    assert of_title[0] > of_title[1] > of_title[2]
    assert of_tracks[0] < of_tracks[1] < of_tracks[2]
    assert of_title[0] > 0.5
    assert of_tracks[2] > 0.5
    # With one track both are heard.
    untitled = np.mean(
        [(ask(model, Query(tracks=(t,)), 15)[0] // 30 == 0).mean() for t in range(30, 40)]
    )
    assert untitled < of_title[1]


# Keeping


@pytest.mark.parametrize(
    "name", ["blend", "trees.value", "trees.threshold", "wrmf/vectors", "wrmf/gram", "tables/own"]
)
@pytest.mark.parametrize("value", [3e38, -3e38, np.nan, 1.01e8])
def test_a_bundle_with_values_that_no_training_gives_is_refused(
    model: TwoStage, name: str, value: float
) -> None:
    tensors = dict(model.tensors())
    tensors[name] = tensors[name].copy()
    tensors[name].flat[-1] = value
    forged = TwoStage(**SMALL)
    forged.catalog = model.catalog
    with pytest.raises(BundleError, match=r"tensor .*: holds values that are not finite or beyond"):
        forged.restore(tensors)


@pytest.mark.parametrize("name", ["blend", "trees.value"])
def test_the_largest_values_that_are_taken_give_finite_scores(model: TwoStage, name: str) -> None:
    tensors = model.tensors() | {name: np.full_like(model.tensors()[name], 1e8)}
    extreme = TwoStage(**SMALL)
    extreme.catalog = model.catalog
    extreme.restore(tensors)
    slate = extreme.recommend(Queries.of([Query(tracks=(0, 1, 31), title="jazz")]), 100)[0]
    assert np.isfinite(slate.scores).all()


# Reasons


def test_reasons_on_the_command_line_are_features_and_add_up(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["continue", str(bundle), "--track", "track:31", "--title", "jazz", "-n", "3"]
    assert run([*arguments, "--json"]) == 0
    answered = json.loads(capsys.readouterr().out)
    assert answered["model"] == "two-stage"
    names = {feature.name for feature in Bundle.load(bundle).recommender.features}  # type: ignore[attr-defined]
    for track in answered["tracks"]:
        kinds = {reason["kind"] for reason in track["reasons"]}
        assert kinds == {"feature", "rest"}
        assert len(track["reasons"]) <= 9
        assert {r["what"] for r in track["reasons"] if r["kind"] == "feature"} <= names
        total = sum(reason["amount"] for reason in track["reasons"])
        assert total == pytest.approx(track["score"], abs=1e-4)
    whole = Bundle.load(bundle).recommender.explain(
        Query(tracks=(31,), title="jazz"), np.array([answered["tracks"][0]["index"]], np.int32)
    )[0]
    assert len(whole) > 12
    largest = sorted((r.amount for r in whole if r.kind == "feature"), key=abs)[-8:]
    shown = [r["amount"] for r in answered["tracks"][0]["reasons"]]
    assert shown[:-1] == sorted(largest, reverse=True)
    best = [r for r in answered["tracks"][0]["reasons"] if r["kind"] == "feature"][:2]
    assert run(arguments) == 0
    heading, first, *_ = capsys.readouterr().out.splitlines()
    because = first[heading.index("because") :]
    assert because == ", ".join(f"{r['what']} {r['amount']:+.2g}" for r in best)


def test_a_title_alone_is_shown_with_words_and_shares(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["continue", str(bundle), "--title", "jazz", "-n", "1"]) == 0
    ran = capsys.readouterr()
    assert "jazz " in ran.out
    assert "%" in ran.out
    assert "ranked by title" in ran.err
