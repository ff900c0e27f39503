"""Features of a query with its candidate tracks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.worlds import genres

from segue.catalog.catalog import Catalog
from segue.data.dataset import Dataset
from segue.data.schema import Outcome
from segue.data.writer import writing_dataset
from segue.errors import BundleError
from segue.models.two_stage.candidates import Pool
from segue.models.two_stage.config import TwoStageConfig
from segue.models.two_stage.features.compute import (
    FAMILIES,
    FEATURES,
    FeatureTables,
    features_of,
)
from segue.models.wrmf.solver import Weighted, confidence, factorise
from segue.queries import Queries, Query
from segue.text.ngrams import hashed

DOCS = Path(__file__).resolve().parents[4] / "docs" / "reference" / "features.md"

# title, artist, artist uri, album, album uri, length
TRACKS = [
    ("Love Song", "Rock Band", "a", "Love Rock", "x", 100_000),
    ("Rock On", "Rock Band", "a", "Love Rock", "x", 200_000),
    ("Blue", "Blues", None, "Y", None, 300_000),
    (None, None, None, None, None, None),
    ("Night", "Rock Band", "a", "Nights", "z", 400_000),
    ("Day", "Other", None, "Y", None, None),
]
PLAYLISTS = {
    "Love rock": [0, 1, 1],
    "love ROCK!": [0, 2],
    None: [1, 2, 3],
    "Rock": [0],
    "rock?": [],
}
VECTORS = np.array([[1, 0], [0, 2], [3, 4], [0, 0], [1, 1], [0, 0]], np.float32)
ROWS = np.array([[1, 0], [0, 1], [1, 1], [2, 0], [9, 9]], np.float32)
# Seeds are 2 and 1: repeats and what was skipped are no seeds.
QUERY = Query(
    [2, 1, 2, 4],
    [Outcome.FINISHED, Outcome.UNKNOWN, Outcome.FINISHED, Outcome.SKIPPED],
    "LOVE  rock",
)
CANDIDATES = np.array([0, 3, 4], np.int32)
SCORES = np.array([[0.5], [1.5], [-1.0]], np.float32)
BLEND = np.array([0.2, 0.1, 0.3], np.float32)

LOVE_SONG = {
    "model-score": 0.5,
    "model-place": np.log(2),
    "blend-score": 0.2,
    "blend-place": np.log(2),
    "track-duration": 100,
    "track-playlist-length": (2 + 2 + 1) / 3,
    "track-homogeneity": 1,  # mean U (1, 1/3) . V (1, 0)
    "track-title-homogeneity": 5 / 9,  # two titles with shares 2/3 and 1/3 of its playlists
    "track-popularity": 3 / 4,
    "artist-popularity": 1,
    "album-popularity": 1,
    "place-in-artist": 0,
    "seeds": 2,
    "seeds-popularity": 2 / 4,
    "seeds-artist-popularity": (2 / 4 + 1) / 2,
    "seeds-album-popularity": (2 / 4 + 1) / 2,
    "seeds-duration": 250,
    "seeds-playlist-length": 2.5,
    "seeds-homogeneity": 7.5,  # (1, 2) . (1.5, 3)
    "seeds-title-homogeneity": 1
    / 3,  # each seed is in one of three titled playlists, of this title
    "seeds-artists": 1,
    "seeds-albums": 1,
    "has-title": 1,
    "title-known": 1,
    "title-popularity": 2 / 3,
    "seeds-on-album-1": 1,
    "same-artist": 1 / 2,
    "same-artist-seeds": 1,
    "same-artist-as-last": 1,
    "artist-heard": 1 / 3,
    "same-album": 1 / 2,
    "same-album-as-last": 1,
    "album-heard": 1 / 2,
    "duration-difference": -150,
    "duration-distance": 150,
    "similarity": 1.5,
    "similarity-most": 3 / 5,
    "similarity-to-last": 0,
    "title-similarity": 2 / 9,
    "title-track": 2 / 3,
    "artist-similarity": 1 / 2,  # all ranks are kept: 1 for the same artist, 0 for others
    "album-similarity": 1 / 2,
    "query-track": 1,
    "title-in-track": 1 / 2,
    "title-in-artist": 1 / 2,
    "title-in-album": 1,
    "same-title": 2 / 3,
    "length-difference": 5 / 3 - 2.5,
    "query-playlists": 1 + 2 / 3,  # (1, 1/3) . (1, 2)
    "title-playlists": 2 / 3,
}
NAMELESS = {  # what differs from LOVE_SONG for a track without any description
    "model-score": 1.5,
    "model-place": 0,
    "blend-score": 0.1,
    "blend-place": np.log(3),
    "track-duration": 250,
    "track-playlist-length": 3,
    "track-popularity": 1 / 4,
    "duration-difference": 0,
    "duration-distance": 50,
    "length-difference": 0.5,
    "query-playlists": 3,
} | dict.fromkeys(
    [
        "track-homogeneity", "track-title-homogeneity", "artist-popularity", "album-popularity",
        "same-artist", "same-artist-seeds", "same-artist-as-last", "artist-heard", "same-album",
        "same-album-as-last", "album-heard", "similarity", "similarity-most", "title-similarity",
        "title-track", "artist-similarity", "album-similarity", "query-track", "title-in-track",
        "title-in-artist", "title-in-album", "same-title", "title-playlists",
    ],
    0,
)  # fmt: skip
UNPLAYED = {  # of track 4, another album by the artist, in no playlist
    "model-score": -1,
    "model-place": np.log(3),
    "blend-place": 0,
    "track-popularity": 0,
    "track-playlist-length": 0,
    "album-popularity": 0,
    "place-in-artist": 2,
    "same-artist": 1 / 2,
    "artist-heard": 1 / 3,
    "same-album": 0,
    "same-album-as-last": 0,
    "album-heard": 0,
    "similarity-most": 7 / np.sqrt(50),
    "similarity-to-last": np.sqrt(0.5),
    "query-track": 3,
    "title-in-album": 0,
    "same-title": 0,
}


def write(
    path: Path, tracks: Sequence[tuple[Any, ...]], playlists: Sequence[tuple[Any, list[int]]]
) -> Dataset:
    with writing_dataset(path) as writer:
        writer.track_ids([f"t:{t}" for t in range(len(tracks))], lambda t: (*tracks[t], None))
        writer.add_playlists(
            {
                "uri": [f"p:{p}" for p in range(len(playlists))],
                "title": [title for title, _ in playlists],
            },
            [len(some) for _, some in playlists],
            [t for _, some in playlists for t in some],
        )
        writer.finish([], simulated=True)
    return Dataset.open(path)


def catalog_of(dataset: Dataset) -> Catalog:
    return Catalog.of(dataset.tracks, np.zeros(dataset.track_count, np.int32))


SIZES: dict[str, Any] = {"name_factors": 8, "side_factors": 8, "albums": 1}


def learn(dataset: Dataset, vectors: Any, rows: Any, **more: Any) -> FeatureTables:
    like = more.pop("like", None)
    config = TwoStageConfig(**{**SIZES, **more})
    rng = np.random.default_rng(7)
    return FeatureTables.learn(
        dataset, dataset.plays(), catalog_of(dataset), vectors, rows, config, rng, like
    )


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write(tmp_path_factory.mktemp("small") / "data", TRACKS, list(PLAYLISTS.items()))


@pytest.fixture(scope="module")
def tables(small: Dataset) -> FeatureTables:
    return learn(small, VECTORS, ROWS)


def compute(tables: FeatureTables, query: Query = QUERY, tracks: Any = CANDIDATES) -> Any:
    n = len(tracks)
    vector = np.array([1, 2], np.float32)
    return tables.compute(Queries.of([query]), Pool(tracks, SCORES[:n], BLEND[:n], vector))


NAMES = [feature.name for feature in FEATURES]


@pytest.mark.parametrize("name", NAMES)
def test_each_feature_by_hand(tables, name):
    column = compute(tables)[:, NAMES.index(name)]
    assert column[0] == pytest.approx(LOVE_SONG[name], abs=1e-6)
    if name in NAMELESS:
        assert column[1] == pytest.approx(NAMELESS[name], abs=1e-6)
    if name in UNPLAYED:
        assert column[2] == pytest.approx(UNPLAYED[name], abs=1e-6)


def test_features_of_the_playlist_are_equal_for_all_candidates(tables):
    columns = [f.family == "playlist" for f in FEATURES]
    rows = compute(tables)[:, columns]
    assert (rows == rows[0]).all()


def test_a_query_that_says_nothing_has_neutral_features(tables):
    for title in (None, "", "?!"):
        row = dict(zip(NAMES, compute(tables, Query([], title=title))[0], strict=True))
        of_track = [f.name for f in FEATURES if f.family in FAMILIES[:2]]
        of_vectors = ["query-track", "query-playlists"]
        others = {n: row[n] for n in NAMES if n not in of_track + of_vectors}
        assert set(others.values()) == {0}
        assert row["track-popularity"] == 3 / 4


def test_an_unknown_title_is_a_title_and_its_words_count(tables):
    row = dict(zip(NAMES, compute(tables, Query([], title="song of love and 夜"))[0], strict=True))
    assert (row["has-title"], row["title-known"], row["title-popularity"]) == (1, 0, 0)
    assert row["title-in-track"] == pytest.approx(2 / 5)
    assert row["same-title"] == row["title-track"] == row["title-playlists"] == 0


def test_albums_of_two_artists_with_one_name_are_two_and_artists_of_no_name_are_none(tables):
    other = np.array([5, 3], np.int32)
    row = dict(zip(NAMES, compute(tables, QUERY, other)[0], strict=True))
    assert row["same-album"] == 0
    unknown = dict(zip(NAMES, compute(tables, Query([3]), other)[1], strict=True))
    for name in ("same-artist", "same-artist-as-last", "same-album", "same-album-as-last"):
        assert unknown[name] == 0
    assert unknown["same-artist-seeds"] == unknown["seeds-artists"] == 0


def test_titles_count_as_often_as_playlists_have_the_track(tables):
    row = dict(zip(NAMES, compute(tables, QUERY, np.array([1], np.int32))[0], strict=True))
    assert row["title-track"] == pytest.approx(1 / 3)  # in one of three titled playlists
    assert row["title-playlists"] == pytest.approx(1)  # and that one is called so
    assert row["title-similarity"] == pytest.approx(1 / 9)


def test_titles_have_the_singular_vectors_of_tracks_stacked_on_playlists(tmp_path):
    rng = np.random.default_rng(4)
    lists = [rng.choice(80, 6, replace=False).tolist() for _ in range(30)]
    which = rng.choice(5, 30, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    dataset = write(
        tmp_path / "d",
        [TRACKS[3]] * 80,
        [("abcde"[n], some) for n, some in zip(which, lists, strict=True)],
    )
    names = learn(
        dataset, np.zeros((80, 2), np.float32), np.zeros((30, 2), np.float32), name_factors=2
    ).names
    playlists = np.eye(5)[which]
    tracks = dataset.plays().toarray().T @ playlists
    assert ((tracks > 0).sum(axis=1) == 1).any()  # rows that are merged
    right = np.linalg.svd(np.concatenate([tracks, playlists]))[2][:2].T
    order = np.argsort([hashed(name) for name in "abcde"])
    np.testing.assert_allclose(
        names.vectors @ names.vectors.T, (right @ right.T)[np.ix_(order, order)], atol=1e-4
    )


def test_equal_scores_share_a_place(tables):
    blend = np.array([1, 2, 1], np.float32)
    vector = np.ones(2, np.float32)
    out = tables.compute(Queries.of([QUERY]), Pool(CANDIDATES, SCORES, blend, vector))
    place = out[:, NAMES.index("blend-place")]
    np.testing.assert_allclose(place, np.log([2, 1, 2]), rtol=1e-6)


def test_nothing_at_all_is_known(tmp_path):
    dataset = write(tmp_path / "d", [(None,) * 6] * 4, [(None, [0, 1]), (None, [1, 2])])
    tables = learn(dataset, np.zeros((4, 2), np.float32), np.zeros((2, 2), np.float32), albums=3)
    nothing = np.zeros((3, 2), np.float32)
    for query, tracks in ((Query([0, 3], title="x"), [1, 2, 3]), (Query(), [1]), (Query(), [])):
        n = len(tracks)
        pool = Pool(np.array(tracks, np.int32), nothing[:n], nothing[:n, 0], nothing[0])
        out = tables.compute(Queries.of([query]), pool)
        assert out.shape == (n, len(features_of(["a", "b"], 3)))
        assert np.isfinite(out).all()


def test_an_empty_dataset(tmp_path):
    dataset = write(tmp_path / "d", TRACKS, [("x", [])])
    tables = learn(dataset, np.zeros((6, 2), np.float32), np.zeros((1, 2), np.float32))
    assert np.isfinite(compute(tables)).all()


# A world of some size: order, families, tensors


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return genres(tmp_path_factory.mktemp("genres") / "data")


def vectors_of(dataset: Dataset, factors: int = 12) -> tuple[Any, Any]:
    """(rows, tracks)"""
    weighted = Weighted.of(dataset.plays(), lambda counts: confidence(counts, "linear", 20.0, 1.0))
    return factorise(weighted, factors, 0.01, 1.0, 3, 3, np.random.default_rng(5))


@pytest.fixture(scope="module")
def learned(world: Dataset) -> FeatureTables:
    rows, vectors = vectors_of(world)
    return learn(world, vectors, rows, albums=4)


def asked(count: int = 9, most: int = 40) -> Iterator[tuple[Any, ...]]:
    """Arguments of `compute`: histories of 0, 1, ... tracks, candidates of different number."""
    rng = np.random.default_rng(1)
    for q in range(count):
        title = [None, "jazz no. 5", "x"][q % 3]
        query = Query(rng.choice(121, q, replace=False).tolist(), title=title)
        tracks = rng.choice(121, most - 3 * q, replace=False).astype(np.int32)
        scores = rng.standard_normal((len(tracks), 3)).astype(np.float32).round(1)
        vector = rng.standard_normal(12).astype(np.float32)
        yield Queries.of([query]), Pool(tracks, scores, scores.mean(axis=1), vector)


def computed(tables: FeatureTables) -> list[bytes]:
    return [tables.compute(*arguments).tobytes() for arguments in asked()]


def test_the_order_of_candidates_does_not_matter(learned):
    for query, pool in asked():
        order = np.random.default_rng(2).permutation(len(pool.tracks))
        one = learned.compute(query, pool)
        columns = (pool.tracks[order], pool.scores[order], pool.blend[order])
        other = learned.compute(query, Pool(*columns, pool.vector))
        assert one[order].tobytes() == other.tobytes()


@pytest.mark.parametrize("families", [FAMILIES[:1], FAMILIES[1:], ("pair", "track"), ()])
def test_families_that_are_not_wanted_are_left_out(world, learned, families):
    models = ["a", "b", "c"]
    wanted = [feature.family in families for feature in features_of(models, 4)]
    some = FeatureTables.restore(learned.tensors(), catalog_of(world), 4, families)
    for arguments in asked():
        every = learned.compute(*arguments)
        assert some.compute(*arguments).tobytes() == every[:, wanted].tobytes()
    assert sum(wanted) == len(features_of(models, 4, families))


def test_learning_again_keeps_the_albums_that_columns_stand_for(small):
    first = learn(small, VECTORS, ROWS, albums=2)
    mask = np.ones(len(small.entries), np.bool_)
    mask[[0, 1, 2, 3, 5, 8]] = False  # without album x
    less = small.keeping(entries=mask)
    assert learn(less, VECTORS, ROWS, albums=2).frequent[0] != first.frequent[0]
    again = learn(less, VECTORS, ROWS, albums=2, like=first)
    np.testing.assert_array_equal(again.frequent, first.frequent)


def test_what_is_held_out_changes_nothing(tmp_path):
    whole = genres(tmp_path / "one")
    lists = np.split(whole.entries.copy(), whole.offsets[1:-1])
    kept = np.concatenate([np.arange(len(some)) < 8 for some in lists])
    changed = [[*some[:8], *(120 - some[8:])] for some in lists]
    names = [(t["title"], t["artist"], *[None] * 4) for t in whole.tracks.to_pylist()]
    other = write(tmp_path / "two", names, list(zip(whole.titles, changed, strict=True)))
    rows, vectors = vectors_of(whole.keeping(entries=kept))
    results = []
    for dataset in (whole, other):
        reduced = dataset.keeping(entries=kept)
        tables = learn(reduced, vectors, rows)
        results.append(computed(tables))
    assert not np.array_equal(whole.entries, other.entries)
    assert results[0] == results[1]
    assert computed(learn(whole, vectors, rows)) != results[0]  # so the test would notice


def test_the_catalogs_plays_are_not_looked_at(small, tables):
    catalog = Catalog.of(small.tracks, np.arange(6, dtype=np.int32) * 100)
    again = FeatureTables.learn(
        small,
        small.plays(),
        catalog,
        VECTORS,
        ROWS,
        TwoStageConfig(**SIZES),
        np.random.default_rng(7),
    )
    assert compute(again).tobytes() == compute(tables).tobytes()


def test_tensors_give_the_same_features(world, learned):
    restored = FeatureTables.restore(learned.tensors(), catalog_of(world), 4)
    assert computed(restored) == computed(learned)


@pytest.mark.parametrize("name", learned_names := [
    "frequent", "own", "vectors", "playlists", "artists", "albums", "names.hashes",
    "names.vectors", "names.popularity", "names.tracks", "names.titled", "names.rows.offsets",
    "names.rows.columns", "names.shares", "words.hashes", "words.titles.offsets",
    "words.titles.columns", "words.artists.offsets", "words.artists.columns",
    "words.albums.offsets", "words.albums.columns",
])  # fmt: skip
def test_tensors_that_do_not_fit_are_refused(small, tables, name):
    tensors = tables.tensors()
    assert set(tensors) == set(learned_names)
    with pytest.raises(BundleError, match="is missing"):
        FeatureTables.restore(_without(tensors, name), catalog_of(small), 1)
    with pytest.raises(BundleError):
        FeatureTables.restore({**tensors, name: tensors[name][:-1]}, catalog_of(small), 1)


def _without(tensors: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in tensors.items() if key != name}


@pytest.mark.parametrize("name", ["names.rows", "words.titles", "words.artists", "words.albums"])
def test_rows_that_point_outside_are_refused(small, tables, name):
    tensors = tables.tensors()
    columns = tensors[f"{name}.columns"].copy()
    columns[0] = 1000
    with pytest.raises(BundleError, match="outside"):
        FeatureTables.restore({**tensors, f"{name}.columns": columns}, catalog_of(small), 1)


# Names


def test_names_are_unique_and_of_the_families():
    many = features_of(["wrmf", "user-knn"], 3)
    assert len({feature.name for feature in many}) == len(many)
    assert list(dict.fromkeys(feature.family for feature in many)) == list(FAMILIES)
    for feature in many:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", feature.name), feature.name
        assert "\n" not in feature.description


def test_the_page_lists_every_feature_with_family_meaning_and_source():
    rows = re.findall(
        r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \| (paper|ours) \|$", DOCS.read_text(), re.M
    )
    assert [(name, family) for name, family, _, _ in rows] == [(f.name, f.family) for f in FEATURES]
    for (name, _, _, source), feature in zip(rows, FEATURES, strict=True):
        assert (source == "ours") == feature.description.startswith("ours: "), name
