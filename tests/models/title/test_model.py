"""title: words as features, and both models against dense arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numba import get_num_threads, set_num_threads
from support import worlds

from segue.data.dataset import Dataset
from segue.errors import DataError
from segue.models.base.recommender import TrainingOptions
from segue.models.title.model import Title
from segue.numeric.kernels import add_products
from segue.numeric.svd import right_vectors
from segue.queries import Queries, Query
from segue.text.ngrams import Vocabulary, features, words

TITLES = [
    "Chill Vibes",
    "chill",
    "ROCK!!",
    "rock & roll",
    "🔥🔥",
    "Españøl",
    "中文歌",
    None,
    "...",
    "chill",
]
LISTS = [[0, 1], [0, 2], [3, 4], [3, 5], [6, 7], [8], [9], [0, 3], [1], [0, 1]]
ARTISTS = ["Ann", "Ann", "Ann", "Bob", "Bob", "Bob", "Cleo", "Cleo", None, None]


@pytest.fixture
def ten(tmp_path: Path) -> Dataset:
    return worlds.make(tmp_path / "ten", LISTS, TITLES, ARTISTS)


def top(title: Title, text: str, n: int) -> set[int]:
    slate = title.recommend(Queries.of([Query(title=text)]), n)[0]
    assert slate.served_by == "title"
    return set(slate.tracks.tolist())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Chill  VIBES", ["chill", "vibes"]),
        ("r&b / hip-hop", ["r", "b", "hip", "hop"]),
        ("go go go", ["go"]),
        ("🔥lit🔥🔥", ["🔥", "lit"]),
        ("❤️", ["❤"]),
        ("Ｆｕｌｌ", ["full"]),
        ("STRASSE straße", ["strasse"]),
        ("हिन्दी", ["हिन्दी"]),
        ("中文歌", ["中文歌"]),
        ("---", []),
        ("", []),
    ],
)
def test_words_of_a_title(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_features_are_the_word_and_its_n_grams_with_marked_edges() -> None:
    # " ab ": the word; " a", "ab", "b "; " ab", "ab "; " ab "
    assert len(features("ab")) == 7
    assert sorted(features("ab").values())[-2:] == [1.0, 3.0]
    assert len(features("abc").keys() & features("abd").keys()) == 3  # " a", "ab", " ab"


def test_a_vector_has_length_one_and_unknown_features_are_left_out() -> None:
    vocabulary = Vocabulary.learn([["chill"], ["rock", "roll"]], np.array([2, 1]))
    vectors = vocabulary.vectors([["chill"], ["rock", "xyz"], ["xyz"], []]).toarray()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 1, 0, 0])
    np.testing.assert_allclose(vectors[1], vocabulary.vectors([["rock"]]).toarray()[0])


def test_idf_counts_playlists() -> None:
    vocabulary = Vocabulary.learn([["a"], ["b"], ["c"]], np.array([7, 1, 0]))
    wanted = [1 + np.log(9 / (1 + n)) for n in (7, 1, 0)]
    found = {round(float(each), 5) for each in vocabulary.idf}
    assert found == {round(each, 5) for each in wanted}


def test_parts_of_a_title_add_up_to_its_vector() -> None:
    vocabulary = Vocabulary.learn([["rock", "roll"], ["rolling"]], np.array([3, 1]))
    text = ["rock", "rolling", "stones"]
    parts = vocabulary.parts(text)
    whole = np.asarray(parts.sum(axis=0)).ravel()
    np.testing.assert_allclose(whole, vocabulary.vectors([text]).toarray()[0])


def test_a_known_word_brings_its_playlists_tracks(ten: Dataset) -> None:
    title = Title(smoothing=0).fit(ten, TrainingOptions(seed=1))
    assert top(title, "chill", 3) == {0, 1, 2}
    assert top(title, "🔥", 2) == {6, 7}


def test_names_never_seen_find_names_that_look_like_them(ten: Dataset) -> None:
    title = Title(smoothing=0, artists=0, popularity=0).fit(ten, TrainingOptions(seed=1))
    assert top(title, "chillin' 2024", 3) == {0, 1, 2}
    assert top(title, "rocks", 3) == {3, 4, 5}
    assert top(title, "🔥 mix", 2) == {6, 7}
    assert top(title, "españøles", 1) == {8}
    assert top(title, "中文", 1) == {9}


def test_the_name_of_an_artist_brings_the_artists_tracks(ten: Dataset) -> None:
    title = Title(smoothing=0).fit(ten, TrainingOptions(seed=1))
    assert top(title, "best of Cleo", 2) == {6, 7}
    assert top(title, "BOB", 3) == {3, 4, 5}


def test_words_score_is_votes_and_smoothing_and_popularity(ten: Dataset) -> None:
    title = Title(factors=2, artists=0, smoothing=0.7, popularity=0.3, sharpness=2)
    title.fit(ten, TrainingOptions(seed=1))
    names = ["chill", "chill vibes", "españøl", "rock", "rock roll", "中文歌", "🔥"]
    counts = np.array([2, 1, 1, 1, 1, 1, 1, 0, 0, 0])
    texts = [name.split() for name in names] + [["ann"], ["bob"], ["cleo"]]
    vocabulary = Vocabulary.learn(texts, counts)
    similar = (vocabulary.vectors(texts) @ vocabulary.vectors([["chill"]]).T).toarray()[:7, 0]
    similar[similar < 0.1] = 0
    tracks = {name: np.zeros(10) for name in names}
    for text, some in zip(TITLES, LISTS, strict=True):
        if words(text or ""):
            tracks[" ".join(words(text or ""))][some] += 1
    votes = sum(s**2 * tracks[name] for s, name in zip(similar, names, strict=True))
    plays = ten.plays().toarray()
    n = plays.sum(axis=0)
    scaled = plays / plays.sum(axis=1, keepdims=True) ** 0.5 / n**0.25
    v = np.linalg.svd(scaled)[2][:2].T
    wanted = votes + 0.7 * np.sqrt(n) * (v @ (v.T @ (votes / np.sqrt(n)))) + 0.3 * n / n.max()
    got = title.scores(Queries.of([Query(title="chill")]))[0]
    np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("features", ["words", "name"])
def test_scores_of_a_batch_are_those_of_its_queries_whatever_the_threads(
    features: str, ten: Dataset
) -> None:
    title = Title(features=features, factors=3).fit(ten, TrainingOptions(seed=1))
    asked = [Query(title=text) for text in ("chill", None, "rock & roll", "salsa", "🔥", "chill")]
    batch = title.scores(Queries.of(asked * 12))
    before = get_num_threads()
    set_num_threads(1)
    single = np.concatenate([title.scores(Queries.of([query])) for query in asked] * 12)
    set_num_threads(before)
    assert batch.tobytes() == single.tobytes()
    assert len(np.unique(batch, axis=0)) > 3


def test_products_are_added_for_all_tracks_beyond_a_tile_too() -> None:
    rng = np.random.default_rng(0)
    vectors, z = rng.normal(size=(1030, 5)), rng.normal(size=(3, 5))
    scale, out = rng.random(1030), rng.normal(size=(3, 1030))
    wanted = out + scale * (z @ vectors.T)
    got = out.astype(np.float32)
    add_products(*(some.astype(np.float32) for some in (vectors, scale, z)), got)
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_reasons_name_the_words_that_found_something(ten: Dataset) -> None:
    title = Title(factors=2).fit(ten, TrainingOptions(seed=1))
    (some,) = title.explain(Query(title="chill rock"), np.array([4], np.int32))
    amounts = {reason.what: reason.amount for reason in some}
    assert amounts["rock"] > 5 * abs(amounts["chill"])


def test_the_whole_name_is_the_truncated_svd_of_the_stacked_matrix(ten: Dataset) -> None:
    title = Title(features="name", factors=3).fit(ten, TrainingOptions(seed=1))
    names = ["chill", "chill vibes", "rock", "rock roll", "🔥", "españøl", "中文歌"]
    titled = [" ".join(words(text or "")) for text in TITLES]
    one_hot = np.array([[name == own for name in names] for own in titled], float)
    counts = ten.plays().toarray().T @ one_hot
    p, s, _ = np.linalg.svd(np.vstack([counts, one_hot]), full_matrices=False)
    reduced = p[:, :3] * s[:3]
    wanted = reduced[:10] @ reduced[10]  # of the first playlist, "chill vibes"
    got = title.scores(Queries.of([Query(title="Chill, vibes")]))[0]
    np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_the_whole_name_does_not_answer_names_never_seen(ten: Dataset) -> None:
    title = Title(features="name", factors=3).fit(ten, TrainingOptions(seed=1))
    asked = [Query(title=text) for text in ("chill", "CHILL!", "chillin", "", None)]
    assert title.answerable(Queries.of(asked)).tolist() == [True, True, False, False, False]


def test_words_do_not_answer_what_has_nothing_known(ten: Dataset) -> None:
    title = Title(smoothing=0).fit(ten, TrainingOptions(seed=1))
    asked = [Query(title=text) for text in ("chillin", "xyz 123", "???", None, "🎷")]
    assert title.answerable(Queries.of(asked)).tolist() == [True, False, False, False, False]


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("qzxv wkjh", False),
        ("ckxz rojq llvb", False),  # each begins or goes on as a known word does
        ("qzxv rock wkjh", True),
        ("rocky qzxv", True),
        ("rokc", False),
        ("chil", True),
        ("españøla", True),
        ("中文", True),
        ("文", False),
        ("🔥🎷", True),
        ("Ann", True),
    ],
)
def test_a_title_is_known_only_if_a_word_of_it_is_or_looks_like_one(
    text: str, known: bool, ten: Dataset
) -> None:
    title = Title(smoothing=0).fit(ten, TrainingOptions(seed=1))
    query = Query(title=text)
    assert title.answerable(Queries.of([query])).tolist() == [known]
    slate = title.recommend(Queries.of([query]), 10)[0]
    assert slate.served_by == ("title" if known else "popularity")
    assert len(slate.tracks) == 10
    if not known:
        assert slate.tracks.tolist()[:3] == [0, 1, 3]
        assert [r.kind for r in title.explain(query, slate.tracks[:1])[0]] == ["popularity"]


def test_a_third_of_the_longer_n_grams_is_evidence() -> None:
    vocabulary = Vocabulary.learn([["odd"]], np.array([1]))
    assert vocabulary.knows(["oddly"])  # " od", "odd", " odd" of nine
    assert not vocabulary.knows(["oddball"])  # the same of thirteen
    assert not vocabulary.knows(["xdd"])  # "dd " of five, "dd" does not count
    assert not vocabulary.knows([])


def test_a_dataset_without_titles_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no playlist with a title and tracks"):
        Title().fit(worlds.make(tmp_path / "d", [[0, 1], [1], []], [None, "!", "chill"]))


@pytest.mark.parametrize("settings", [{"smoothing": 0}, {"features": "name"}])
def test_the_title_of_a_playlist_whose_tracks_are_held_out_is_not_known(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    data = worlds.make(tmp_path / "d", [[0, 1], [], [1, 2]], ["rock", "salsa", "rock"])
    title = Title(factors=1, **settings).fit(data, TrainingOptions(seed=1))
    asked = [Query(title=text) for text in ("rock", "salsa")]
    assert title.answerable(Queries.of(asked)).tolist() == [True, False]


@pytest.mark.parametrize("shape", [(60, 40), (40, 60), (6, 30)])
def test_right_vectors_are_those_of_the_dense_svd(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    dense = rng.normal(size=shape) * (rng.random(shape) < 0.5) @ np.diag(0.9 ** np.arange(shape[1]))
    rank = min(5, *shape)
    got = right_vectors(sp.csr_matrix(dense.astype(np.float32)), rank, np.random.default_rng(1))
    want = np.linalg.svd(dense, full_matrices=False)[2][:rank].T
    assert got.shape == want.shape
    np.testing.assert_allclose(np.abs((got * want).sum(axis=0)), 1, atol=1e-3)
