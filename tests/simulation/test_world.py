"""The simulated world: what it promises, checked against its own truth."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from types import ModuleType

import msgspec
import numpy as np
import pyarrow.compute as pc
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from segue.cli import run
from segue.data.dataset import Dataset
from segue.data.schema import Outcome
from segue.errors import ConfigError, DataError
from segue.simulation import (
    TRUTH_FILE,
    World,
    genre_words,
    make_world,
    mismatch,
    skip_probability,
    truth,
)
from segue.simulation.catalog import FACTORS, generator, make_music
from segue.simulation.names import artist_names, make_lexicon
from segue.simulation.playlists import (
    PLAYLIST,
    draw_lists,
    draw_playlists,
    longest,
    plant_outliers,
)

SMALL = World(tracks=200, listeners=20, sessions=60, playlists=30)
SIZES = World(tracks=2_000, listeners=300, sessions=4_000, playlists=1_500)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("world") / "dataset"
    make_world(folder, SIZES, seed=5)
    return Dataset.open(folder)


@pytest.fixture(scope="module")
def known(world: Dataset) -> dict[str, np.ndarray]:
    return truth(world.path)


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    file = Path(__file__).resolve().parents[2] / "benchmarks" / "common" / "data.py"
    spec = importlib.util.spec_from_file_location("benchmark_data", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def column(world: Dataset, name: str) -> np.ndarray:
    return world.listens[name].to_numpy()


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


# Sizes and seeds


def test_same_sizes_and_seed_give_the_same_bytes_in_every_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_world(tmp_path / name, SMALL, seed=3)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert TRUTH_FILE in files(tmp_path / "a")


def test_another_seed_gives_another_world(tmp_path: Path) -> None:
    infos = [make_world(tmp_path / str(seed), SMALL, seed=seed) for seed in (3, 4)]
    assert infos[0].fingerprint != infos[1].fingerprint
    assert not np.array_equal(
        truth(tmp_path / "3")["track_latents"], truth(tmp_path / "4")["track_latents"]
    )


def test_listening_leaves_the_playlists_as_they_are(tmp_path: Path) -> None:
    make_world(tmp_path / "a", SMALL, seed=3)
    make_world(tmp_path / "b", msgspec.structs.replace(SMALL, listeners=7, sessions=9), seed=3)
    a, b = files(tmp_path / "a"), files(tmp_path / "b")
    same = {name for name in a if a[name] == b[name]}
    assert same == {"tracks.parquet", "playlists.parquet", "playlist_tracks.parquet"}


def test_chunks_differ_and_stand_by_themselves() -> None:
    music = make_music(400, 0)
    second = draw_playlists(music, 0, 1, 64)
    first = draw_playlists(music, 0, 0, 64)
    assert not np.array_equal(first.points, second.points)
    assert np.array_equal(draw_playlists(music, 0, 1, 64).tracks, second.tracks)


def test_smallest_world_opens(tmp_path: Path) -> None:
    make_world(tmp_path / "w", World(tracks=200, listeners=1, sessions=1, playlists=1), seed=1)
    counts = Dataset.open(tmp_path / "w").describe()
    assert (counts["tracks"], counts["playlists"], counts["sessions"]) == (200, 1, 1)
    assert 10 <= counts["listens"] <= 20


def test_world_of_tracks_alone_opens(tmp_path: Path) -> None:
    make_world(tmp_path / "w", World(tracks=200, listeners=0, sessions=0, playlists=0))
    counts = Dataset.open(tmp_path / "w").describe()
    assert (counts["tracks"], counts["playlists"], counts["listens"]) == (200, 0, 0)


def test_describe_counts_what_was_asked_for(world: Dataset) -> None:
    counts = world.describe()
    assert counts["tracks"] == SIZES.tracks
    assert counts["playlists"] == SIZES.playlists
    assert counts["listeners"] == SIZES.listeners
    assert counts["sessions"] == SIZES.sessions
    assert counts["listens"] == sum(counts["outcomes"].values())


def test_receipt_adds_up_and_the_dataset_says_that_it_is_simulated(world: Dataset) -> None:
    (receipt,) = world.info.sources
    assert world.info.simulated
    assert receipt.format == "world"
    assert receipt.adds_up()
    assert receipt.kept == sum(world.info.rows.values())
    assert receipt.notes == {"seed": 5}


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({"tracks": 199}, "world: tracks: "),
        ({"tracks": 2_000_001}, "world: tracks: "),
        ({"playlists": -1}, "world: playlists: "),
        ({"sessions": 1_000_001}, "world: sessions: "),
        ({"listeners": 2.5}, "world: listeners: "),
        ({"outliers": -0.1}, "world: outliers: "),
        ({"outliers": 1.1}, "world: outliers: "),
        ({"albums": 3}, "albums"),
        ({"listeners": 0, "sessions": 5}, "no listeners"),
    ],
)
def test_sizes_out_of_bounds_are_one_line(sizes: dict[str, float], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        World.make(sizes)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bounds_hold_for_a_world_that_was_built_directly(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="world: tracks: "):
        make_world(tmp_path / "w", World(tracks=5))
    with pytest.raises(ConfigError, match="seed is -1"):
        make_world(tmp_path / "w", SMALL, seed=-1)
    assert not (tmp_path / "w").exists()


# Tracks


def test_uris_are_numbered_by_row(world: Dataset) -> None:
    row = world.tracks.slice(123, 1).to_pylist()[0]
    assert row["uri"] == "world:track:000123"
    assert row["artist_uri"].startswith("world:artist:")
    assert row["album_uri"].startswith("world:album:")
    assert pc.count_distinct(world.tracks["uri"]).as_py() == world.track_count


def test_names_are_whole(world: Dataset) -> None:
    tracks = world.tracks
    for name in ("title", "artist", "album", "duration_ms"):
        assert tracks[name].null_count == 0
    pairs = tracks.group_by(["artist_uri"]).aggregate([("artist", "count_distinct")])
    assert pc.max(pairs["artist_count_distinct"]).as_py() == 1
    albums = tracks.group_by(["album_uri"]).aggregate([("artist_uri", "count_distinct")])
    assert pc.max(albums["artist_uri_count_distinct"]).as_py() == 1


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 3_000))
def test_artist_names_are_all_different(seed: int, count: int) -> None:
    assert len(set(artist_names(np.random.default_rng(seed), count))) == count


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 400))
def test_genres_share_no_words(seed: int, genres: int) -> None:
    words = make_lexicon(np.random.default_rng(seed), genres).words
    assert len({word for some in words for word in some}) == 4 * genres


def test_track_numbers_carry_no_popularity(known: dict[str, np.ndarray]) -> None:
    popularity = known["track_popularity"]
    assert popularity.sum() == pytest.approx(1)
    assert abs(spearmanr(np.arange(len(popularity)), popularity).statistic) < 0.1


def test_popularity_has_a_heavy_head() -> None:
    music = make_music(20_000, 0)
    share = np.sort(music.track_popularity)[::-1]
    assert 0.4 < share[:200].sum() < 0.75
    tracks = np.concatenate([draw_playlists(music, 0, c, 500).tracks for c in range(2)])
    counts = np.bincount(tracks, minlength=20_000)
    assert 0.18 < np.sort(counts)[::-1][:200].sum() / counts.sum() < 0.4
    assert spearmanr(music.track_popularity, counts).statistic > 0.5


def test_draws_from_a_stretch_of_the_shelf_stay_in_the_genre_or_artist() -> None:
    music = make_music(1_000, 2)
    rng = np.random.default_rng(0)
    for genre in range(len(music.genre_latents)):
        low, high = (music.genre_reach[[g] * 50] for g in (genre, genre + 1))
        assert (music.track_genres[music.draw(rng, low, high)] == genre).all()
    for artist, place in enumerate(music.artist_places):
        low, high = (music.artist_reach[[p] * 20] for p in (place, place + 1))
        assert (music.track_artists[music.draw(rng, low, high)] == artist).all()


def test_nearer_tracks_win_when_a_point_is_followed() -> None:
    music = make_music(1_000, 2)
    n = 2_000
    low, high = np.zeros(n), np.full(n, music.reach[-1])
    points = np.broadcast_to(music.track_latents[7], (n, FACTORS))
    means = [
        mismatch(
            points,
            music.track_latents[
                music.draw_near(np.random.default_rng(1), low, high, points, tries)
            ],
        ).mean()
        for tries in (1, 2, 8)
    ]
    assert means[0] > means[1] + 0.1 > means[2] + 0.2


def test_tracks_of_one_artist_are_nearer_than_of_one_genre_than_any(
    known: dict[str, np.ndarray],
) -> None:
    latents, rng = known["track_latents"], np.random.default_rng(0)
    a, b = rng.integers(0, len(latents), (2, 200_000))
    away = mismatch(latents[a], latents[b])
    artist = (known["track_artists"][a] == known["track_artists"][b]) & (a != b)
    genre = (known["track_genres"][a] == known["track_genres"][b]) & ~artist
    assert away[artist].mean() == pytest.approx(0.15, abs=0.02)
    assert away[genre & (a != b)].mean() == pytest.approx(0.4, abs=0.05)
    assert away[~genre & ~artist].mean() > 0.75


# Playlists


def test_playlists_have_the_lengths_of_real_ones(world: Dataset) -> None:
    lengths = np.diff(world.offsets)
    assert lengths.min() >= 5
    assert lengths.max() <= 250
    assert 53 <= np.median(lengths) <= 61
    assert 62 <= lengths.mean() <= 71


def test_few_tracks_make_shorter_playlists() -> None:
    assert [longest(tracks) for tracks in (200, 800, 2_000, 100_000)] == [25, 100, 250, 250]
    assert draw_playlists(make_music(200, 0), 0, 0, 300).lengths.max() <= 25


@settings(max_examples=25)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=8), st.integers(0, 1_000))
def test_lists_have_their_length_and_no_repeats(lengths: list[int], seed: int) -> None:
    music = make_music(200, 1)
    points = np.zeros((len(lengths), FACTORS), np.float32)
    genres = np.zeros((len(lengths), 2), np.int32)
    asked = np.array(lengths, np.int64)
    tracks = draw_lists(music, generator(seed, "test"), PLAYLIST, asked, points, genres)
    assert len(tracks) == asked.sum()
    for some in np.split(tracks, np.cumsum(asked)[:-1]):
        assert len(set(some.tolist())) == len(some)


def test_playlists_hold_their_genres_far_above_chance(
    world: Dataset, known: dict[str, np.ndarray]
) -> None:
    held = known["track_genres"][world.entries]
    wanted = known["playlist_genres"][world.entry_playlists]
    inside = (held[:, None] == wanted).any(axis=1)
    shuffled = np.random.default_rng(0).permutation(held)
    chance = (shuffled[:, None] == wanted).any(axis=1)
    assert inside.mean() > 0.6
    assert inside.mean() > 3 * chance.mean()


def test_artists_come_in_runs(world: Dataset, known: dict[str, np.ndarray]) -> None:
    artists, owner = known["track_artists"][world.entries], world.entry_playlists
    same = (artists[1:] == artists[:-1])[owner[1:] == owner[:-1]]
    assert 0.15 < same.mean() < 0.4


def test_playlists_lie_near_their_point(world: Dataset, known: dict[str, np.ndarray]) -> None:
    points = known["playlist_latents"][world.entry_playlists]
    tracks = known["track_latents"][world.entries]
    strangers = np.random.default_rng(0).permutation(points)
    assert mismatch(points, tracks).mean() < 0.7 * mismatch(strangers, tracks).mean()


def test_titles_carry_words_of_their_genre(world: Dataset, known: dict[str, np.ndarray]) -> None:
    words = genre_words(world.path)
    assert len(words) == len(known["genre_latents"])
    titles = [(title or "").casefold() for title in world.titles]

    def share(genres: np.ndarray) -> float:
        return float(
            np.mean(
                [
                    any(word in title for genre in pair for word in words[genre])
                    for title, pair in zip(titles, genres, strict=True)
                ]
            )
        )

    genres = known["playlist_genres"]
    assert share(genres) > 0.55
    assert share(np.random.default_rng(0).permutation(genres)) < 0.25


def test_titles_are_as_untidy_as_real_ones(world: Dataset) -> None:
    titles = world.titles
    named = [title for title in titles if title is not None]
    assert 0.01 < 1 - len(named) / len(titles) < 0.05
    assert sum(title == title.upper() and title.isascii() for title in named) > 30
    assert sum(not title.isascii() for title in named) > 30
    assert named.count("my playlist") + named.count("My Playlist") > 0
    assert len(set(named)) < len(named)


def test_followers_and_changes_are_filled(world: Dataset) -> None:
    playlists = world.playlists
    assert playlists["followers"].null_count == playlists["modified_at"].null_count == 0
    followers = playlists["followers"].to_numpy()
    assert followers.min() == 0
    assert followers.max() > 20


# Outliers


def test_outliers_leave_everything_else_as_it_is(tmp_path: Path) -> None:
    make_world(tmp_path / "a", SMALL, seed=3)
    make_world(tmp_path / "b", msgspec.structs.replace(SMALL, outliers=0.3), seed=3)
    a, b = files(tmp_path / "a"), files(tmp_path / "b")
    changed = {name for name in a if a[name] != b[name]}
    assert changed == {"playlist_tracks.parquet", "dataset.json", TRUTH_FILE}
    known, planted = truth(tmp_path / "a"), truth(tmp_path / "b")
    assert set(planted) - set(known) == {"playlist_outliers"}
    assert all(np.array_equal(known[name], planted[name]) for name in known)
    one, other = Dataset.open(tmp_path / "a"), Dataset.open(tmp_path / "b")
    assert np.array_equal(one.offsets, other.offsets)
    assert np.array_equal(one.entries != other.entries, planted["playlist_outliers"])


def test_no_outliers_are_the_world_as_it_was(tmp_path: Path) -> None:
    make_world(tmp_path / "a", SMALL, seed=3)
    make_world(tmp_path / "b", World.make(msgspec.structs.asdict(SMALL) | {"outliers": 0}), seed=3)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    # Whole numbers alone, which do not hang on the last bit of a processor's logarithm.
    world = Dataset.open(tmp_path / "a")
    rows = [world.offsets, world.entries, *(column(world, c) for c in ("track", "outcome"))]
    digest = hashlib.sha256(b"".join(some.astype("<i8").tobytes() for some in rows))
    assert digest.hexdigest()[:16] == "8f0550a440c8e25a"


@settings(max_examples=25)
@given(
    st.lists(st.integers(0, 60), max_size=8),
    st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]),
    st.integers(0, 1_000),
)
def test_each_list_has_its_share_of_outliers_and_no_repeats(
    lengths: list[int], share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    lists = [rng.choice(200, length, replace=False) for length in lengths]
    before = np.concatenate([np.zeros(0), *lists]).astype(np.int32)
    tracks = before.copy()
    planted = plant_outliers(rng, tracks, np.array(lengths, np.int64), share, 200)
    assert np.array_equal(tracks[~planted], before[~planted])
    ends = np.cumsum(lengths)[:-1].astype(int)
    for some, new, old in zip(
        *(np.split(part, ends) for part in (tracks, planted, before)), strict=True
    ):
        assert new.sum() == round(share * len(new))
        assert len(set(some.tolist())) == len(some)
        assert not set(some[new].tolist()) & set(old.tolist())


def test_outliers_come_from_anywhere_to_any_place(tmp_path: Path) -> None:
    music = make_music(400, 0)
    plain = draw_playlists(music, 0, 0, 2_000)
    drawn = draw_playlists(music, 0, 0, 2_000, 0.3)
    assert not plain.outliers.any()
    owner = np.repeat(np.arange(2_000), drawn.lengths)
    often = np.bincount(drawn.tracks[drawn.outliers], minlength=400)
    chance = np.bincount(owner, drawn.outliers) / (400 - drawn.lengths)  # of a track not there
    expected = chance.sum() - np.bincount(plain.tracks, chance[owner], minlength=400)
    assert (np.abs(often - expected) < 5 * np.sqrt(expected)).all()
    points = drawn.points[owner]
    away = mismatch(points, music.track_latents[drawn.tracks])
    assert away[drawn.outliers].mean() > 1.5 * away[~drawn.outliers].mean()
    place = np.arange(len(owner)) - np.searchsorted(owner, owner)
    share = [drawn.outliers[place == p].mean() for p in range(5)]
    assert max(share) - min(share) < 0.1
    other = draw_playlists(music, 1, 0, 2_000, 0.3)
    assert not np.array_equal(other.outliers[:100], drawn.outliers[:100])


def test_outliers_are_asked_for_on_the_command_line(tmp_path: Path) -> None:
    sizes = ["--tracks=200", "--listeners=0", "--sessions=0", "--playlists=9"]
    assert run(["world", "--dataset", str(tmp_path / "w"), "--outliers=0.5", *sizes]) == 0
    planted = truth(tmp_path / "w")["playlist_outliers"]
    world = Dataset.open(tmp_path / "w")
    assert planted.dtype == np.bool_
    counts = np.bincount(world.entry_playlists, planted)
    assert counts.tolist() == [round(0.5 * length) for length in np.diff(world.offsets).tolist()]
    assert run(["world", "--dataset", str(tmp_path / "w"), "--outliers=2", *sizes]) == 2


# Listens


def test_sessions_are_runs_of_one_listener(world: Dataset) -> None:
    listener, session, position = (column(world, c) for c in ("listener", "session", "position"))
    assert (np.diff(session) >= 0).all()
    starts = np.flatnonzero(np.diff(session, prepend=-1))
    lengths = np.diff(np.append(starts, len(session)))
    assert set(lengths.tolist()) == set(range(10, 21))
    assert np.array_equal(position, np.arange(len(session)) - np.repeat(starts, lengths))
    assert np.array_equal(listener, np.repeat(listener[starts], lengths))


def test_listens_of_a_listener_never_overlap(world: Dataset) -> None:
    listener, played = column(world, "listener"), column(world, "ms_played")
    time = column(world, "time").astype("datetime64[ms]").astype(np.int64)
    same = listener[1:] == listener[:-1]
    assert ((time[:-1] + played[:-1])[same] <= time[1:][same]).all()
    assert world.listens.schema.field("time").type.tz == "UTC"


def test_sessions_are_told_apart_by_their_gaps(world: Dataset) -> None:
    listener, session = column(world, "listener"), column(world, "session")
    time = column(world, "time").astype("datetime64[ms]").astype(np.int64)
    end = time + column(world, "ms_played")
    same = listener[1:] == listener[:-1]
    gaps, new = (time[1:] - end[:-1])[same], (np.diff(session) > 0)[same]
    assert gaps[~new].max() <= 2_000
    assert gaps[new].min() > 30 * 60_000


def test_ms_played_fits_the_outcome(world: Dataset) -> None:
    played, outcome = column(world, "ms_played"), column(world, "outcome")
    duration = world.tracks["duration_ms"].to_numpy()[column(world, "track")]
    assert played.min() > 0
    assert (played <= duration).all()
    assert (played == duration)[outcome == Outcome.FINISHED].all()
    share = played / duration
    assert share[outcome == Outcome.PARTIAL].min() > 0.49
    assert share[outcome == Outcome.PARTIAL].max() < 0.96
    assert share[outcome >= Outcome.SKIPPED].max() <= 0.5


def test_a_quarter_is_skipped_and_dislikes_are_rare(world: Dataset) -> None:
    share = np.bincount(column(world, "outcome"), minlength=5) / len(world.listens)
    assert share[Outcome.UNKNOWN] == 0
    assert 0.2 < share[Outcome.SKIPPED] + share[Outcome.DISLIKED] < 0.3
    assert 0 < share[Outcome.DISLIKED] < 0.02
    assert share[Outcome.PARTIAL] > 0.03


def test_skip_probability_by_hand() -> None:
    zero, one = np.zeros((1, FACTORS), np.float32), np.ones((1, FACTORS), np.float32)
    assert mismatch(zero, one) == pytest.approx(0.5)
    assert skip_probability(zero, zero, zero) == pytest.approx(1 / (1 + np.exp(4.3)))
    assert skip_probability(one, zero, zero) == pytest.approx(1 / (1 + np.exp(4.3 - 6 * 0.25)))
    assert skip_probability(zero, one, zero) == pytest.approx(1 / (1 + np.exp(4.3 - 6 * 0.25)))


def test_skips_follow_the_truth(world: Dataset, known: dict[str, np.ndarray]) -> None:
    people = known["listener_latents"][column(world, "listener")]
    contexts = known["session_latents"][column(world, "session")]
    tracks = known["track_latents"][column(world, "track")]
    skipped = column(world, "outcome") >= Outcome.SKIPPED
    chance = skip_probability(people, contexts, tracks)
    assert skipped.mean() == pytest.approx(chance.mean(), abs=0.01)
    deciles = np.array_split(np.argsort(chance), 10)
    for rows in deciles:
        assert skipped[rows].mean() == pytest.approx(chance[rows].mean(), abs=0.04)
    rates = [skipped[rows].mean() for rows in deciles]
    assert spearmanr(np.arange(10), rates).statistic > 0.95
    for points in (people, contexts):  # both parts count, each by itself
        assert spearmanr(mismatch(points, tracks), skipped).statistic > 0.15


def test_contexts_are_mostly_but_not_always_of_the_listeners_taste(
    world: Dataset, known: dict[str, np.ndarray]
) -> None:
    owners, sessions = np.unique(column(world, "session"), return_index=True)
    own = known["listener_genres"][column(world, "listener")[sessions]]
    inside = (own == known["session_genres"][owners][:, None]).any(axis=1).mean()
    assert 0.55 < inside < 0.9
    tracks = known["track_genres"][column(world, "track")]
    inside = tracks == known["session_genres"][column(world, "session")]
    assert 0.4 < inside.mean() < 0.8


def test_some_listeners_listen_far_more_than_others(world: Dataset) -> None:
    counts = np.sort(np.bincount(column(world, "listener"), minlength=SIZES.listeners))[::-1]
    assert 0.3 < counts[: SIZES.listeners // 10].sum() / counts.sum() < 0.7


# What can be learned


def ndcg(scores: np.ndarray, train: sp.csr_matrix, test: sp.csr_matrix, k: int = 100) -> float:
    """Mean NDCG@k over the rows of `test` that hold something; `scores` has a row for each."""
    rows = np.flatnonzero(np.diff(test.indptr))
    discount = 1 / np.log2(np.arange(2, k + 2))
    values = []
    for row, score in zip(rows, scores, strict=True):
        score = score.copy()
        score[train.indices[train.indptr[row] : train.indptr[row + 1]]] = -np.inf
        truth = test.indices[test.indptr[row] : test.indptr[row + 1]]
        hits = np.isin(np.argsort(-score)[:k], truth)
        values.append((hits * discount).sum() / discount[: min(k, len(truth))].sum())
    return float(np.mean(values))


def test_neighbours_clearly_beat_popularity(bench: ModuleType) -> None:
    music = make_music(4_000, 0)
    drawn = draw_playlists(music, 0, 0, 2_000)
    offsets = np.concatenate([[0], np.cumsum(drawn.lengths)])
    plays = sp.csr_matrix((np.ones(len(drawn.tracks)), drawn.tracks, offsets), shape=(2_000, 4_000))
    train, test = bench.holdout(plays, queries=200)
    rows = np.flatnonzero(np.diff(test.indptr))
    popularity = np.asarray(train.sum(axis=0)).ravel()
    length = np.sqrt(np.maximum(popularity, 1))
    unit = train @ sp.diags_array(1 / length)
    cosine = ((train[rows] @ sp.diags_array(1 / length)) @ unit.T @ unit).toarray()
    popular = ndcg(np.tile(popularity, (len(rows), 1)), train, test)
    assert 0.05 < popular < 0.3
    assert ndcg(cosine, train, test) > 1.5 * popular


def test_titles_alone_beat_popularity(world: Dataset) -> None:
    plays = world.plays()[: world.playlist_count]
    queries = np.arange(0, world.playlist_count, 10)
    others = np.setdiff1d(np.arange(world.playlist_count), queries)
    names = [(title or "").casefold() for title in world.titles]
    named: dict[str, list[int]] = {}
    for p in others:
        named.setdefault(names[p], []).append(p)
    popularity = np.asarray(plays[others].sum(axis=0)).ravel()
    by_title = np.stack(
        [
            np.asarray(plays[named.get(names[q], [])].sum(axis=0)).ravel() + 1e-3 * popularity
            for q in queries
        ]
    )
    empty = sp.csr_matrix((len(queries), world.track_count))
    popular = ndcg(np.tile(popularity, (len(queries), 1)), empty, plays[queries])
    assert ndcg(by_title, empty, plays[queries]) > 1.2 * popular


# Truth


def test_truth_has_a_row_for_every_row_of_the_tables(
    world: Dataset, known: dict[str, np.ndarray]
) -> None:
    genres, artists = len(known["genre_latents"]), len(known["artist_latents"])
    assert {name: tensor.shape for name, tensor in known.items()} == {
        "genre_latents": (genres, FACTORS),
        "artist_latents": (artists, FACTORS),
        "artist_genres": (artists,),
        "track_latents": (SIZES.tracks, FACTORS),
        "track_artists": (SIZES.tracks,),
        "track_genres": (SIZES.tracks,),
        "track_popularity": (SIZES.tracks,),
        "listener_latents": (SIZES.listeners, FACTORS),
        "listener_genres": (SIZES.listeners, 3),
        "playlist_latents": (SIZES.playlists, FACTORS),
        "playlist_genres": (SIZES.playlists, 2),
        "session_latents": (SIZES.sessions, FACTORS),
        "session_genres": (SIZES.sessions,),
    }
    artist = [int(uri.rpartition(":")[2]) for uri in world.tracks["artist_uri"].to_pylist()]
    assert artist == known["track_artists"].tolist()


def test_truth_of_something_else_is_an_error(tmp_path: Path, world: Dataset) -> None:
    with pytest.raises(DataError, match="not a simulated world"):
        truth(tmp_path)
    (tmp_path / TRUTH_FILE).write_bytes((world.path / TRUTH_FILE).read_bytes()[:1000])
    for read in (truth, genre_words):
        with pytest.raises(DataError, match="damaged"):
            read(tmp_path)


# Data for benchmarks


def test_benchmark_shape_is_cached_and_the_same(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGUE_BENCH_CACHE", str(tmp_path))
    made = bench.mpd_shape(playlists=300, tracks=2_000)
    assert len(list(tmp_path.iterdir())) == 1
    read = bench.mpd_shape(playlists=300, tracks=2_000)
    assert (made != read).nnz == 0
    assert made.shape == (300, 2_000)
    assert (made.data == 1).all()
    assert (bench.mpd_shape(playlists=300, tracks=2_000, seed=1) != made).nnz > 0


def test_holdout_parts_the_entries_of_some_rows(bench: ModuleType) -> None:
    plays = sp.random(50, 40, density=0.3, format="csr", dtype=np.float32, random_state=1)
    train, test = bench.holdout(plays, queries=20, share=0.25, seed=2)
    assert (train + test != plays).nnz == 0
    assert train.multiply(test).nnz == 0
    before, hidden = np.diff(plays.indptr), np.diff(test.indptr)
    asked = hidden > 0
    assert asked.sum() == 20
    expected = np.clip(np.rint(0.25 * before), 1, before - 1)
    assert np.array_equal(hidden[asked], expected[asked])


def test_exported_slices_have_the_official_format(
    bench: ModuleType, world: Dataset, tmp_path: Path
) -> None:
    written = bench.export_mpd(world.path, tmp_path)
    assert [file.name for file in written] == [
        "mpd.slice.0-999.json",
        "mpd.slice.1000-1499.json",
    ]
    second = msgspec.json.decode(written[1].read_bytes())
    assert second["info"]["slice"] == "1000-1499"
    playlist = second["playlists"][7]
    assert playlist["pid"] == 1007
    start, stop = world.offsets[1007:1009]
    uris = [f"world:track:{track:06d}" for track in world.entries[start:stop]]
    assert [track["track_uri"] for track in playlist["tracks"]] == uris
    assert [track["pos"] for track in playlist["tracks"]] == list(range(stop - start))
    assert playlist["num_tracks"] == stop - start
    assert playlist["duration_ms"] == sum(track["duration_ms"] for track in playlist["tracks"])
    assert playlist["name"] == (world.titles[1007] or "")
