"""Artists, albums and words of titles as further columns of `wrmf`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from segue.catalog.catalog import Catalog
from segue.data.dataset import Dataset
from segue.data.writer import writing_dataset
from segue.models.base.recommender import TrainingOptions
from segue.models.wrmf.model import WRMF
from segue.models.wrmf.side_columns import SideInformation
from segue.queries import Queries, Query
from segue.text.ngrams import hashed

ARTISTS = ["A", "B", "A", None]
ALBUMS = ["x", "y", "y", None]  # by A and by B: two albums called y
TITLES = ["Road trip", "road", "ROAD trip!", None, "trip"]
WEIGHTS = (0.5, 0.25, 2.0)


def write(
    path: Path,
    lists: list[list[int]],
    titles: list[str | None],
    artists: list[str | None],
    albums: list[str | None],
) -> Dataset:
    with writing_dataset(path) as writer:
        writer.track_ids(
            [f"track:{t}" for t in range(len(artists))],
            lambda t: (f"track {t}", artists[t], None, albums[t], None, None, None),
        )
        writer.add_playlists(
            {"uri": [f"playlist:{p}" for p in range(len(lists))], "title": titles},
            [len(some) for some in lists],
            [t for some in lists for t in some],
        )
        writer.finish([], simulated=True)
    return Dataset.open(path)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    tracks = write(tmp_path / "d", [[0]], [None], ARTISTS, ALBUMS).tracks
    return Catalog.of(tracks, np.array([3, 0, 1, 5], np.int32))


@pytest.fixture
def company(catalog: Catalog) -> SideInformation:
    return SideInformation.learn(catalog, TITLES, WEIGHTS)


PLAYS = sp.csr_matrix(
    np.array([[2, 0, 1, 0], [0, 1, 0, 1], [0, 0, 0, 0]], np.float32), dtype=np.float32
)


def test_columns_by_hand(company: SideInformation) -> None:
    # Artists A B, albums x y(B) y(A); a word needs three titles.
    assert company.hashes.tolist() == sorted([hashed("road"), hashed("trip")])
    columns = company.with_side_columns(PLAYS, ["trip", None]).toarray()
    assert company.size == columns.shape[1] - 4 == 7
    of_albums = {0: 0.25 * 2, 1: 0.25}  # plays of track 0, of track 2
    assert columns[0, :6].tolist() == [2, 0, 1, 0, 0.5 * 3, 0]
    assert sorted(columns[0, 6:9], reverse=True) == [of_albums[0], of_albums[1], 0]
    said = [2.0 if h == hashed("trip") else 0.0 for h in company.hashes]
    assert columns[0, 9:].tolist() == said
    assert columns[1, :6].tolist() == [0, 1, 0, 1, 0, 0.5]
    assert sorted(columns[1, 6:9], reverse=True) == [0.25, 0, 0]
    assert not columns[1, 9:].any()
    assert not columns[2].any()


def test_words_may_count_in_part(company: SideInformation) -> None:
    whole = company.with_side_columns(PLAYS, ["trip", "trip"]).toarray()
    part = company.with_side_columns(
        PLAYS, ["trip", "trip"], np.array([0.5, 1], np.float32)
    ).toarray()
    assert part[0, 9:].sum() == whole[0, 9:].sum() / 2 == 1
    assert (part[1:] == whole[1:]).all()
    assert (part[:, :9] == whole[:, :9]).all()


def test_skips_bring_no_columns(company: SideInformation) -> None:
    skipping, not_hearing = (
        company.with_side_columns(sp.csr_matrix([[1, 0, r, 0]]), [None]).toarray()[0]
        for r in (-2.0, 0.0)
    )
    assert skipping[:4].tolist() == [1, 0, -2, 0]
    assert skipping[4:].tolist() == not_hearing[4:].tolist()
    shares, _ = company.sources(sp.csr_matrix([[1, 0, -2.0, 0]]), None)
    assert shares.toarray().tolist() == [[1, 0], [0, 1], [1, 0], [1, 0]]


def test_plays_of_artist_and_album_count_for_a_track(company: SideInformation) -> None:
    # Track 0: A has 3 + 1, x has 3. Track 1: nobody played B. Track 2: A 4, y by A 1.
    assert company.plays(np.array([3, 0, 1, 5], np.int32)).tolist() == [7, 0, 5, 0]


def test_parts_of_a_column_go_to_the_tracks_that_bring_it(company: SideInformation) -> None:
    shares, said = company.sources(sp.csr_matrix([[1, 0, 2.0, 0]][:1]), "trip to nowhere")
    assert said == ["trip"]
    shares = shares.toarray()
    assert (shares.sum(axis=1) == 1).all()  # nothing is lost, nothing counts twice
    # Tracks 0 and 2, artist A of both, an album of each, the word.
    assert shares[:3].tolist() == [[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0]]
    assert shares[3:5].sum(axis=0).tolist() == [1, 1, 0]
    assert shares[5].tolist() == [0, 0, 1]


def test_without_a_weight_there_is_no_column(catalog: Catalog) -> None:
    assert SideInformation.learn(catalog, TITLES, (0.5, 0, 0)).size == 2
    assert SideInformation.learn(catalog, TITLES, (0, 0.5, 0)).size == 3
    assert SideInformation.learn(catalog, TITLES, (0, 0, 0.5)).size == 2


# In wrmf


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Artists of ten tracks, of which the last two are in no playlist; titles name the artist."""
    rng = np.random.default_rng(2)
    lists = [(p % 6 * 10 + rng.choice(8, 5, replace=False)).tolist() for p in range(90)]
    artists: list[str | None] = [f"artist {t // 10}" for t in range(60)]
    titles: list[str | None] = [f"list {'abcdef'[p % 6]}{'abcdef'[p % 6]}" for p in range(90)]
    path = tmp_path_factory.mktemp("artists") / "d"
    return write(path, lists, titles, artists, [None] * 60)


def test_tracks_nobody_played_bring_their_artists_tracks(dataset: Dataset) -> None:
    alone = WRMF(factors=8).fit(dataset, TrainingOptions(seed=1))
    model = WRMF(factors=8, artist_weight=0.3).fit(dataset, TrainingOptions(seed=1))
    for artist in range(6):
        query = Queries.of([Query(tracks=(artist * 10 + 8,))])
        slate = model.recommend(query, 8)[0]
        assert slate.served_by == "wrmf"
        assert set(slate.tracks // 10) == {artist}
        assert alone.recommend(query, 8)[0].served_by == "popularity"


def test_a_word_of_a_title_brings_tracks_without_any_history(dataset: Dataset) -> None:
    model = WRMF(factors=8, title_weight=1.0).fit(dataset, TrainingOptions(seed=1))
    slate = model.recommend(Queries.of([Query(title="my CC list")]), 8)[0]
    assert slate.served_by == "wrmf"
    assert set(slate.tracks // 10) == {2}
    assert model.recommend(Queries.of([Query(title="zz")]), 8)[0].served_by == "popularity"


def test_beside_n_tracks_a_word_counts_n_of_n_plus_one(dataset: Dataset) -> None:
    model = WRMF(factors=8, alpha=2, title_weight=3).fit(dataset, TrainingOptions(seed=1))
    counted = []
    for tracks in ((), (0,), (0, 0), (0, 1, 2)):
        rows, _ = model._histories(Queries.of([Query(tracks=tracks, title="CC")]))
        counted.append(float(rows.extra[rows.levels][-1]))  # words are the last columns
    assert counted == pytest.approx([6, 3, 3, 4.5])


def test_a_track_takes_a_share_of_its_artist(dataset: Dataset) -> None:
    """So one that nobody played stands where its artist does."""
    none = WRMF(factors=8, artist_weight=0.3, company_share=0).fit(dataset, TrainingOptions(seed=1))
    some = WRMF(factors=8, artist_weight=0.3, company_share=0.5).fit(
        dataset, TrainingOptions(seed=1)
    )
    artist = some.side_vectors[np.arange(60) // 10]
    np.testing.assert_allclose(some.vectors, none.vectors + 0.5 * artist, rtol=1e-5, atol=1e-6)
    query = Queries.of([Query(tracks=(31, 32, 33, 34))])
    assert set(some.recommend(query, 6)[0].tracks) == {30, 35, 36, 37, 38, 39}


def test_weights_of_zero_are_the_published_model_to_the_byte(dataset: Dataset) -> None:
    published = WRMF(factors=8).fit(dataset, TrainingOptions(seed=1)).tensors()
    off = {"artist_weight": 0.0, "album_weight": 0.0, "title_weight": 0.0, "company_share": 0.7}
    tensors = WRMF(factors=8, **off).fit(dataset, TrainingOptions(seed=1)).tensors()
    assert tensors.keys() == published.keys() == {"vectors", "gram"}
    assert all(tensors[name].tobytes() == published[name].tobytes() for name in tensors)
