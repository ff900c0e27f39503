"""playlist-cnn: its forward pass against torch, its loss by hand, and what it learns from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from support.optional import reason

pytest.importorskip("torch", reason=reason("torch"))

import torch
from hypothesis import given
from hypothesis import strategies as st
from support import worlds

from segue.bundle import BUNDLE_VERSION
from segue.data.dataset import Dataset
from segue.data.schema import TABLES, Outcome
from segue.data.sequences import sequences
from segue.data.writer import writing_dataset
from segue.errors import ConfigError, DataError
from segue.models.base.recommender import TrainingOptions
from segue.models.playlist_cnn.batches import PlaylistBatch, PlaylistSampler
from segue.models.playlist_cnn.config import PlaylistCNNConfig
from segue.models.playlist_cnn.inference import PlaylistCNNLayers, encode
from segue.models.playlist_cnn.model import PlaylistCNN
from segue.models.playlist_cnn.network import PlaylistCNNNetwork, loss
from segue.queries import Queries, Query
from segue.system.extras import install

GOLDEN = Path(__file__).parents[2] / "golden" / f"bundle-v{BUNDLE_VERSION}-playlist-cnn"
SMALL = {"factors": 8, "kernels": 8, "batch": 16, "learning_rate": 0.01}


def config(**settings: object) -> PlaylistCNNConfig:
    return PlaylistCNNConfig.make({"factors": 6, "kernels": 5, **settings})


def network(of: PlaylistCNNConfig) -> PlaylistCNNNetwork:
    """A network of random parameters and statistics, ready to answer."""
    torch.manual_seed(3)
    made = PlaylistCNNNetwork(of)
    with torch.no_grad():
        for block in made.blocks:
            norm = block.norm
            for numbers in (norm.weight, norm.bias, norm.running_mean):
                numbers.copy_(torch.randn(len(numbers)))
            norm.running_var.copy_(torch.rand(len(norm.running_var)) + 0.5)
    return made.eval()


def embeddings(*shape: int) -> np.ndarray:
    return np.random.default_rng(4).standard_normal(shape, np.float32)


def by_torch(net: PlaylistCNNNetwork, x: np.ndarray, cuts: list[list[int]]) -> np.ndarray:
    with torch.no_grad():
        there = torch.ones(x.shape[:2], dtype=torch.bool)
        return net(torch.from_numpy(x), there, torch.tensor(cuts)).numpy()


# The forward pass


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"blocks": 1},
        {"blocks": 4, "kernels": 6, "width": 2},
        {"width": 7, "pooled": 1},
        {"width": 1, "pooled": 9},
        {"mean": False},
    ],
)
def test_answering_computes_what_torch_computes(settings: dict[str, object]) -> None:
    of = config(**settings)
    net = network(of)
    inputs = embeddings(20, of.factors)
    tracks = np.random.default_rng(5).integers(20, size=30).astype(np.int32)
    lengths = [1, 2, 4, 23]
    out = np.empty((4, of.factors), np.float32)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    encode(offsets, tracks, inputs, net.layers(), out)
    for q, n in enumerate(lengths):
        x = inputs[tracks[offsets[q] : offsets[q + 1]]][None]
        assert out[q] == pytest.approx(by_torch(net, x, [[n]])[0, 0], rel=1e-4, abs=1e-4)


def tiny(pooled: list[float], mean: float) -> PlaylistCNNLayers:
    """One factor, one kernel that sees the last two tracks: max(0, (x_t − x_{t−1}) / 2)."""
    return PlaylistCNNLayers(
        first=np.array([[[-1, 0]], [[1, 0]]], np.float32),
        rest=np.zeros((0, 2, 1, 2), np.float32),
        bias=np.zeros((1, 2), np.float32),
        shift=np.zeros((1, 1), np.float32),
        pooled=np.array(pooled, np.float32).reshape(1, -1, 1),
        offset=np.array([1000], np.float32),
        mean=np.array([[mean]], np.float32),
    )


@pytest.mark.parametrize(
    ("history", "vector"),
    [
        # A block of as many kernels as inputs adds its input: h_t = max(0, (x_t − x_{t−1})/2 + x_t)
        ([2], 1000 + 3 * 100),  # h = 3
        ([2, 4], 1000 + 5 * 100 + 3 * 10),  # h = 3, 5
        ([2, 4, 1], 1000 + 5 * 100 + 3 * 10),  # h = 3, 5, max(0, −0.5)
        ([1, 5, 3, 6], 1000 + 7.5 * 100 + 7 * 10 + 2 * 1),  # h = 1.5, 7, 2, 7.5
    ],
)
def test_the_largest_outputs_are_kept_by_hand(history: list[float], vector: float) -> None:
    out = np.empty((1, 1), np.float32)
    inputs = np.array(history, np.float32)[:, None]
    tracks = np.arange(len(history), dtype=np.int32)
    encode(np.array([0, len(history)]), tracks, inputs, tiny([100, 10, 1], 0), out)
    assert out[0, 0] == pytest.approx(vector)


def test_the_embeddings_are_summed_over_the_root_of_their_number() -> None:
    out = np.empty((1, 1), np.float32)
    inputs = np.array([[1], [5], [3], [7]], np.float32)
    encode(np.array([0, 4]), np.arange(4, dtype=np.int32), inputs, tiny([0], 2), out)
    assert out[0, 0] == pytest.approx(1000 + 2 * (1 + 5 + 3 + 7) / 2)


def test_a_prediction_point_sees_nothing_of_what_comes_later() -> None:
    net = network(config())
    x = embeddings(1, 9, 6)
    points = by_torch(net, x, [[1, 4, 9]])[0]
    for point, cut in zip(points, (1, 4, 9), strict=True):
        assert by_torch(net, x[:, :cut], [[cut]])[0, 0] == pytest.approx(point, abs=1e-5)


def test_places_after_a_playlists_end_do_not_touch_means_and_variances() -> None:
    x = torch.from_numpy(embeddings(2, 4, 6))
    there = torch.tensor([[True] * 4, [True, True, False, False]])
    statistics = []
    for longer in (0, 30):
        net = network(config(dropout=0)).train()
        pad = torch.nn.functional.pad
        padded = pad(x * there[..., None], (0, 0, 0, longer))
        net(padded, pad(there, (0, longer)), torch.tensor([[2], [1]]))
        statistics.append(torch.cat([block.norm.running_mean for block in net.blocks]))
    assert torch.allclose(*statistics, atol=1e-6)


# The loss


def hand_batch() -> PlaylistBatch:
    """One playlist, two points; columns 0 and 1 are positives, 2 and 3 drawn, 3 is its own."""
    return PlaylistBatch(
        tracks=np.zeros((1, 1), np.int64),
        there=np.ones((1, 1), np.bool_),
        cuts=np.ones((1, 2), np.int64),
        wanted=np.arange(4),
        points=np.array([0, 0, 1]),
        columns=np.array([0, 1, 1]),
        negative=np.array([[False, False, True, False]]),
    )


U, V = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.5], [-1.0], [0.25], [9.0]])
LIKELY = torch.tensor([0.5, 0.5, 0.1, 1.0])


def test_the_softmax_loss_by_hand() -> None:
    def part(positive: float, negative: float) -> float:
        return -np.log(np.exp(positive) / (np.exp(positive) + np.exp(negative) / 0.1))

    first = (part(0.5, 0.25) + part(-1, 0.25)) / 2
    second = part(-2, 0.5)
    got = float(loss(U, V, hand_batch(), "softmax", LIKELY))
    assert got == pytest.approx((first + second) / 2, rel=1e-5)


def test_the_logistic_loss_by_hand() -> None:
    def sigma(x: float) -> float:
        return 1 / (1 + np.exp(-x))

    first = -(np.log(sigma(0.5)) + np.log(sigma(-1))) / 2 - np.log(1 - sigma(0.25))
    second = -np.log(sigma(-2)) - np.log(1 - sigma(0.5))
    got = float(loss(U, V, hand_batch(), "logistic", LIKELY))
    assert got == pytest.approx((first + second) / 2, rel=1e-5)


# What is learned from


def test_playlists_and_listens_become_sequences_without_repeats_and_skips(tmp_path: Path) -> None:
    with writing_dataset(tmp_path / "d") as writer:
        writer.track_ids([f"t{t}" for t in range(9)], lambda t: [None] * 7)
        lists = [[3, 1, 3, 2], [5], []]
        columns = {"uri": ["a", "b", "c"]}
        writer.add_playlists(columns, [len(some) for some in lists], [3, 1, 3, 2, 5])
        writer.add("listeners", {"uri": ["x", "y"]})
        writer.add(
            "listens",
            {
                "listener": [0, 0, 0, 0, 1],
                "track": [8, 4, 7, 8, 1],
                "outcome": [
                    Outcome.FINISHED,
                    Outcome.SKIPPED,
                    Outcome.UNKNOWN,
                    Outcome.FINISHED,
                    Outcome.FINISHED,
                ],
                "plays": [1] * 5,
            },
        )
        writer.finish([], simulated=True)
    offsets, tracks = sequences(Dataset.open(tmp_path / "d"))
    assert offsets.tolist() == [0, 3, 5]
    assert tracks.tolist() == [3, 1, 2, 8, 7]


@given(st.integers(0, 10_000), st.integers(1, 9))
def test_later_tracks_are_positives_and_own_tracks_never_negatives(seed: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    lists = [rng.permutation(30)[: rng.integers(2, 20)] for _ in range(5)]
    offsets = np.concatenate([[0], np.cumsum([len(some) for some in lists])])
    tracks = np.concatenate(lists).astype(np.int32)
    plays = np.bincount(tracks, minlength=40).astype(np.int32)
    of = config(length=length, cuts=3, negatives=20, batch=2)
    drawing = PlaylistSampler(offsets, tracks, plays, of, rng)
    steps = drawing.epoch()
    assert set(steps.ravel()) == set(range(5))
    for which in steps:
        batch = drawing.batch(which)
        assert batch.there.shape[1] <= length
        drawn = batch.wanted[batch.negative.any(axis=0)]
        assert np.flatnonzero(plays == 0)[0] in drawn
        assert plays[drawn].any()
        for row, p in enumerate(which):
            heard = batch.tracks[row, batch.there[row]]
            start = lists[p].tolist().index(heard[0])
            assert heard.tolist() == lists[p][start : start + len(heard)].tolist()
            assert set(batch.wanted[batch.negative[row]]).isdisjoint(lists[p])
            for k, cut in enumerate(batch.cuts[row]):
                later = batch.wanted[batch.columns[batch.points == 3 * row + k]]
                assert 1 <= cut <= len(heard)
                assert sorted(later) == sorted(lists[p][start + cut :])


def test_the_chance_of_being_drawn_is_that_of_the_draws() -> None:
    plays = np.array([1, 16, 81], np.int32)  # to the power of ¾: 1, 8, 27
    of = config(negatives=3)
    drawing = PlaylistSampler(np.array([0, 2]), np.array([0, 1], np.int32), plays, of, None)
    assert drawing.likely == pytest.approx([1 - (1 - share / 36) ** 3 for share in (1, 8, 27)])


def test_a_dataset_without_sequences_is_refused(tmp_path: Path) -> None:
    data = worlds.make(tmp_path / "d", [[0], [1, 1], []])
    with pytest.raises(DataError, match="two tracks"):
        PlaylistCNN(**SMALL).fit(data)


# The whole


def test_the_order_of_a_history_decides_where_it_decides_in_the_playlists(tmp_path: Path) -> None:
    lists = [[0, 1, 2, 3], [1, 0, 4, 5]] * 40
    data = worlds.make(tmp_path / "d", lists)
    model = PlaylistCNN(**SMALL, epochs=40, dropout=0.1).fit(data, TrainingOptions(seed=1))
    slates = model.recommend(Queries.of([Query(tracks=(0, 1)), Query(tracks=(1, 0))]), 2)
    assert [set(slate.tracks) for slate in slates] == [{2, 3}, {4, 5}]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> PlaylistCNN:
    data = worlds.genres(tmp_path_factory.mktemp("genres") / "d")
    return PlaylistCNN(**SMALL, epochs=10, length=5).fit(data, TrainingOptions(seed=1))


def test_the_last_tracks_of_a_long_history_are_read(trained: PlaylistCNN) -> None:
    last = (31, 35, 40, 33, 36)
    # Track 120 is in no playlist: it is not read, and takes nobody's place.
    queries = [Query(tracks=last), Query(tracks=(1, 2, 3, *last[:3], 120, *last[3:]))]
    long = Queries.of(queries)
    alone, with_more = trained.query_vectors(long)
    assert alone.tobytes() == with_more.tobytes()


def test_a_track_that_nobody_played_is_not_recommended_before_those_that_fit(
    trained: PlaylistCNN,
) -> None:
    slates = trained.recommend(Queries.of([Query(tracks=(g * 30,)) for g in range(4)]), 25)
    assert not any(120 in slate.tracks for slate in slates)


def test_a_placed_track_is_answered_and_histories_are_read_past_it(trained: PlaylistCNN) -> None:
    size = len(trained.catalog)
    rows = [{"uri": "new:0"}, {"uri": "new:1"}]
    tracks = pa.Table.from_pylist(rows, schema=TABLES["tracks"])
    asked = Queries.of([Query(tracks=(0, 2, 4))])
    near = trained.query_vectors(asked)
    more = trained.with_tracks(tracks, np.concatenate([near * 100, -near]))
    slate = more.recommend(asked, 5)[0]
    assert slate.tracks[0] == size
    assert slate.tracks[1:].tolist() == trained.recommend(asked, 4)[0].tracks.tolist()
    after = Queries.of([Query(tracks=(0, size, 2, 4))])
    assert np.array_equal(more.query_vectors(after), near)
    restored = PlaylistCNN(**msgspec.to_builtins(trained.config))
    restored.catalog = more.catalog
    restored.restore(more.tensors())
    assert restored.recommend(asked, 5).scores.tobytes() == slate.scores.tobytes()
    assert len(trained.inputs) == len(trained.catalog) == size  # the model itself is as it was


def test_training_leaves_torch_as_it_was(tmp_path: Path) -> None:
    data = worlds.checkerboard(tmp_path / "d")
    before = torch.random.get_rng_state()
    PlaylistCNN(**SMALL, epochs=1).fit(data, TrainingOptions(seed=7))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not torch.are_deterministic_algorithms_enabled()


def test_training_that_diverges_says_so(tmp_path: Path) -> None:
    data = worlds.checkerboard(tmp_path / "d")
    settings = {**SMALL, "learning_rate": 1e30}
    with pytest.raises(ConfigError, match="lower learning_rate"):
        PlaylistCNN(**settings, epochs=5).fit(data)


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_answering_does_not_load_torch() -> None:
    ran = run(
        "import sys; from pathlib import Path; from segue.bundle import Bundle;"
        "from segue.queries import Queries, Query;"
        f"model = Bundle.load(Path({str(GOLDEN)!r})).recommender;"
        "slates = model.recommend(Queries.of([Query(tracks=(0, 2))]), 3);"
        "print(slates.counts, 'torch' in sys.modules)"
    )
    assert ran.stdout.strip() == "[3] False", ran.stderr


def test_training_without_torch_says_what_to_install() -> None:
    ran = run(
        "import sys; sys.modules['torch'] = None\n"
        "from segue.models.playlist_cnn.model import PlaylistCNN\n"
        "from segue.errors import ConfigError\n"
        "try: PlaylistCNN()._fit(None, None, None)\n"
        "except ConfigError as error: print(error)"
    )
    assert ran.stdout == f"playlist-cnn: training needs torch; {install('deep')}\n"
