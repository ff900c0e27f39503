"""What the stages of LARP change: networks, slow copies, queues, playlists; checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import sound_worlds, worlds
from support.optional import optional

torch = optional("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from segue.data.dataset import Dataset  # noqa: E402
from segue.models.base import audio_features  # noqa: E402
from segue.models.base.recommender import TrainingOptions  # noqa: E402
from segue.models.larp import stages as larp_stages  # noqa: E402
from segue.models.larp.config import LARPConfig  # noqa: E402
from segue.models.larp.encoders import words as larp_words  # noqa: E402
from segue.models.larp.encoders.contract import TowerEncoder  # noqa: E402
from segue.models.larp.encoders.words_inference import WordsForm  # noqa: E402
from segue.models.larp.examples import PlaylistSets, TrainingExamples  # noqa: E402
from segue.models.larp.model import LARP  # noqa: E402
from segue.models.larp.network import LarpNetwork, TowerNetwork  # noqa: E402
from segue.models.larp.stages import TrainingStages  # noqa: E402
from segue.models.larp.training import HeldOutPlaylists, StageTraining  # noqa: E402

TINY_WORDS = WordsForm(buckets=256, d=8, layers=1, heads=2, width=16)


def config(**settings: Any) -> LARPConfig:
    made: LARPConfig = LARPConfig.make({"dimensions": 4, "dropout": 0.0, **settings})
    return made


def network(sides: int = 2, tracks: int = 6, **settings: Any) -> LarpNetwork:
    """Whose sides are plain layers from 3 numbers to 4."""
    torch.manual_seed(0)
    return LarpNetwork([nn.Linear(3, 4) for _ in range(sides)], tracks, config(**settings))


def units(*shape: int, seed: int = 0) -> torch.Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return functional.normalize(drawn, dim=-1)


# Slow networks.


def test_slow_networks_begin_as_copies_and_follow_by_their_momentum():
    net = network(momentum=0.9)
    start = [p.clone() for p in net.slow.parameters()]
    assert all(map(torch.equal, start, net.fast.parameters()))
    with torch.no_grad():
        for p in net.fast.parameters():
            p.add_(1.0)
    net.follow()
    net.follow()
    # 1 − 0.9² of the way
    for slow, before in zip(net.slow.parameters(), start, strict=True):
        torch.testing.assert_close(slow, before + 0.19)


def test_without_momentum_slow_networks_are_the_fast_ones_and_no_gradient_reaches_them():
    net = network(momentum=0)
    assert not len(net.slow)
    batches = [(torch.randn(5, 3),), (torch.randn(5, 3),)]
    slow = net.slow_features(batches)
    net.follow()
    for told, ours in zip(slow, net.features(batches), strict=True):
        assert torch.equal(told, ours)
        assert not told.requires_grad


def test_slow_networks_take_over_running_levels():
    torch.manual_seed(0)
    side = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    net = LarpNetwork([side], 2, config(momentum=0.9))
    side.train()(torch.randn(8, 3) + 5)
    levels = [net.fast[0][1].running_mean, net.slow[0][1].running_mean]
    assert not torch.equal(*levels)
    net.follow()
    assert torch.equal(*levels)


# Queues.


def queued(net: LarpNetwork, *tracks: int) -> None:
    """Feature of track t by side s: all 100 s + t."""
    slow = [torch.full((len(tracks), 4), 100.0 * s) for s in range(len(net.fast))]
    for features in slow:
        features += torch.tensor(tracks)[:, None]
    net.enqueue(slow, torch.tensor(tracks))


def told(net: LarpNetwork) -> list[int]:
    """Tracks of the queue, after a look at the features beside them."""
    for s, queue in enumerate(net.queues):
        assert queue.tolist() == [[100.0 * s + t] * 4 for t in net.queued.tolist()]
    return net.queued.tolist()


def test_a_queue_begins_with_features_of_nobody():
    net = network(queue=5)
    assert net.queued.tolist() == [-1] * 5
    torch.testing.assert_close(net.queues.norm(dim=2), torch.ones(2, 5))


def test_the_newest_take_the_places_of_the_oldest():
    net = network(queue=5)
    queued(net, 0, 1)
    queued(net, 2, 3)
    assert net.queued.tolist() == [0, 1, 2, 3, -1]
    queued(net, 4, 5)
    assert told(net) == [5, 1, 2, 3, 4]
    queued(net, 6)
    assert told(net) == [5, 6, 2, 3, 4]


def test_of_more_than_a_queue_holds_the_last_are_kept():
    net = network(queue=5)
    queued(net, 0)
    queued(net, *range(10, 17))
    assert told(net) == [16, 12, 13, 14, 15]
    queued(net, 20)
    assert told(net) == [16, 20, 13, 14, 15]


def test_a_queue_of_none_takes_nothing():
    net = network(queue=0)
    queued(net, 0, 1)
    assert net.queues.shape == (2, 0, 4)
    assert net.queued.tolist() == []


# Tables and playlists.


def pooling(aggregator: str, seeds: int = 3) -> LarpNetwork:
    net = network(aggregator=aggregator, seeds=seeds)
    net.aggregate()
    net.remember([units(6, 4, seed=1), units(6, 4, seed=2)], torch.arange(6))
    return net


def test_tables_hold_the_latest_features():
    net = network()
    first, second = units(2, 2, 4, seed=1), units(2, 2, 4, seed=2)
    net.remember(list(first), torch.tensor([4, 1]))
    net.remember(list(second), torch.tensor([1, 0]))
    for side in range(2):
        rows = [second[side, 1], second[side, 0], *torch.zeros(2, 4), first[side, 0]]
        assert torch.equal(net.tables[side], torch.stack([*rows, torch.zeros(4)]))


def test_the_mean_of_seeds_by_hand():
    net = pooling("mean")
    there = torch.tensor([[True, True, False]])
    found = net.pooled(torch.tensor([[2, 5, 1]]), there)
    for table, pooled in zip(net.tables, found, strict=True):
        mean = (table[2] + table[5]) / 2
        torch.testing.assert_close(pooled[0], mean / mean.norm())


def test_fusion_by_hand():
    """softmax( A W_Qᵀ (A W_Kᵀ)ᵀ / √d ) A W_Vᵀ, and the mean of its rows."""
    net = pooling("fusion")
    found = net.pooled(torch.tensor([[2, 5, 1]]), torch.tensor([[True, True, False]]))
    for table, kind, pooled in zip(net.tables, net.aggregators, found, strict=True):
        a = table[[2, 5]].numpy()
        q, k, v = (w.weight.detach().numpy() for w in (kind.query, kind.key, kind.value))
        logits = (a @ q.T) @ (a @ k.T).T / np.sqrt(4)
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        mean = (shares @ a @ v.T).mean(axis=0)
        wanted = mean / np.linalg.norm(mean)
        assert pooled[0].detach().numpy() == pytest.approx(wanted, abs=1e-6)


AGGREGATORS = pytest.mark.parametrize("aggregator", ["mean", "fusion", "transformer", "ordered"])


@AGGREGATORS
def test_seeds_that_are_not_there_have_no_influence(aggregator):
    net = pooling(aggregator)
    there = torch.tensor([[True, True, False], [True, False, False]])
    some = net.pooled(torch.tensor([[2, 5, 1], [3, 0, 0]]), there)
    others = net.pooled(torch.tensor([[2, 5, 4], [3, 2, 1]]), there)
    changed = net.pooled(torch.tensor([[2, 4, 1], [1, 0, 0]]), there)
    for a, b, c in zip(some, others, changed, strict=True):
        torch.testing.assert_close(a, b)
        assert (a - c).abs().max() > 1e-2
        torch.testing.assert_close(a.norm(dim=1), torch.ones(2))


@AGGREGATORS
def test_only_ordered_playlists_depend_on_their_order(aggregator):
    net = pooling(aggregator)
    if aggregator == "ordered":
        with torch.no_grad():  # small at the start
            for kind in net.aggregators:
                kind.positions.mul_(50)
    there = torch.ones(1, 3, dtype=torch.bool)
    ways = [net.pooled(torch.tensor([way]), there)[0] for way in ([2, 5, 1], [1, 2, 5])]
    assert bool((ways[0] - ways[1]).abs().max() > 1e-3) == (aggregator == "ordered")


def test_places_in_a_playlist_are_counted_back_from_its_last_track():
    kind = pooling("ordered").aggregators[0]
    seeds, there = units(1, 3, 4), torch.tensor([[True, True, False]])
    found = kind(seeds, there)
    told = seeds[:, :2] + kind.positions[[1, 0]]
    torch.testing.assert_close(found, kind.layer(told).mean(dim=1))


# Steps.


def material(count: int = 24, sides: int = 2, seed: int = 0) -> TrainingExamples:
    """Vectors of tracks of three kinds, and playlists of each kind."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(count) % 3
    items = tuple(
        rng.normal(np.eye(3)[(kinds + side) % 3], 0.3).astype(np.float32) for side in range(sides)
    )
    lists = [rng.permutation(np.flatnonzero(kinds == p % 3))[:5] for p in range(9)]
    owners = np.repeat(np.arange(9), [len(some) for some in lists])
    playlists = PlaylistSets.of(owners, np.concatenate(lists), count)
    return TrainingExamples(np.arange(count, dtype=np.int32), items, playlists)


NOBODY = HeldOutPlaylists(
    material(2).only(np.zeros(0, np.int64), *np.zeros((2, 0), np.int64)), [], []
)


def training(stages: tuple[str, ...], sides: int = 2, **settings: Any) -> StageTraining:
    made = config(**{"hidden": (8,), "batch": 8, "queue": 16, "epochs": 3, **settings})
    all_stages = TrainingStages(
        [TowerEncoder((8,))] * sides, material(sides=sides), NOBODY, made, TrainingOptions(seed=1)
    )
    return StageTraining(all_stages.network, all_stages.examples, NOBODY, made, stages, 1, "some")


def steps(of: StageTraining) -> list[float]:
    """An epoch."""
    of.network.train()
    return [float(loss.detach()) for loss, _ in of.steps(np.random.default_rng(0))]


@pytest.mark.parametrize(
    ("stages", "sides"),
    [
        (("wtc",), 2),
        (("wtc", "ttc"), 2),
        (("wtc", "ttc", "tpc"), 2),
        (("ttc",), 1),
        (("ttc", "tpc"), 1),
    ],
)
def test_gradients_reach_fast_networks_and_nothing_slow(stages, sides):
    trained = training(stages, sides, learned_temperature=True)
    net = trained.network
    before = {name: value.clone() for name, value in net.state_dict().items()}
    steps(trained)
    for slow in net.slow.parameters():
        assert not slow.requires_grad
        assert slow.grad is None
    for buffer in (net.queues, net.tables, net.queued, net.at):
        assert not buffer.requires_grad
        assert buffer.grad_fn is None
    for part in (net.fast, net.aggregators):
        for name, p in part.named_parameters():
            assert p.grad is not None, name
    assert net.tau.grad is not None
    moved = {n for n, value in net.state_dict().items() if not torch.equal(value, before[n])}
    for name in before:
        fixed = name.endswith(("shift", "scale"))
        assert (name in moved) != fixed or name == "at", name
    assert bool(len(net.aggregators)) == (stages[-1] == "tpc")


@pytest.mark.parametrize("start", [0.5, 0.001])
def test_a_learned_temperature_stays_within_bounds_and_can_return(start):
    trained = training(("wtc",), learned_temperature=True, temperature=start)
    net = trained.network
    out, found = (1 if start == 0.5 else -1), []
    for way in (out, -out):
        for _ in range(40):
            trained.optimiser.param_groups[0]["lr"] = 0.02
            trained.descend(-way * net.tau)
            found.append(float(net.tau.detach()))
    assert 0.001 - 1e-9 <= min(found) <= max(found) <= 0.5
    assert found[39] == pytest.approx(start)
    assert abs(found[-1] - start) > 0.1


def test_a_temperature_that_is_not_learned_stays():
    trained = training(("wtc", "ttc", "tpc"), temperature=0.07)
    steps(trained)
    assert float(trained.network.tau) == pytest.approx(0.07)


@pytest.mark.parametrize(
    ("stages", "counted"),
    [
        (("wtc",), {"_within"}),
        (("ttc",), {"_tracks"}),
        (("tpc",), {"_playlists"}),
        (("wtc", "tpc"), {"_within", "_playlists"}),
        (("wtc", "ttc", "tpc"), {"_within", "_tracks", "_playlists"}),
    ],
)
def test_a_stage_has_its_loss_and_those_of_the_stages_before(stages, counted, monkeypatch):
    seen = set()
    for name in ("_within", "_tracks", "_playlists"):
        real = getattr(StageTraining, name)

        def spy(self: Any, *args: Any, real: Any = real, name: str = name) -> Any:
            seen.add(name)
            return real(self, *args)

        monkeypatch.setattr(StageTraining, name, spy)
    steps(training(stages))
    assert seen == counted


@pytest.mark.parametrize("stages", [("ttc",), ("tpc",), ("wtc", "ttc")])
def test_few_of_many_tracks_share_a_playlist(stages):
    """The others have no partner: without "wtc" they are not learned from."""
    made = config(hidden=(8,), batch=2, epochs=1)
    whole = material(24)
    lonely = TrainingExamples(
        whole.tracks, whole.items, PlaylistSets.of(np.zeros(2, int), np.array([3, 7]), 24)
    )
    net = TrainingStages([TowerEncoder((8,))] * 2, lonely, NOBODY, made, TrainingOptions()).network
    trained = StageTraining(net, lonely, NOBODY, made, stages, 1, "some")
    examples = set()
    net.remember = lambda features, tracks: examples.update(tracks.tolist())
    assert np.isfinite(steps(trained)).all()
    assert examples == (set(range(24)) if "wtc" in stages else {3, 7})


# Checkpoints.

SMALL = {
    "sound": "musicnn",
    "text": "words",
    "dimensions": 8,
    "hidden": (8,),
    "epochs": 4,
    "batch": 32,
    "queue": 16,
    "soft": 0.2,
    "learned_temperature": True,
    "dropout": 0.1,
    "patience": 0,
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors for sounds, and a reader of few numbers."""
    monkeypatch.setattr(audio_features, "extracted", sound_worlds.heard)
    monkeypatch.setattr(larp_words, "WordsForm", lambda: TINY_WORDS)


@pytest.fixture(scope="module")
def genres(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return worlds.genres(tmp_path_factory.mktemp("genres") / "dataset", playlists=60)


@pytest.fixture
def epochs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Stage and number of each epoch that is gone through."""
    seen: list[tuple[str, int]] = []
    real = StageTraining._epoch

    def spy(self: StageTraining, advance: Callable[[float], None]) -> float:
        seen.append((self.stages[-1], self.epoch))
        return real(self, advance)

    monkeypatch.setattr(StageTraining, "_epoch", spy)
    return seen


def examples(dataset: Dataset, checkpoint: Path | None, seed: int = 1, **settings: Any) -> Any:
    model = LARP(**{**SMALL, **settings}).fit(
        dataset, TrainingOptions(seed=seed, checkpoint=checkpoint)
    )
    return {name: tensor.tobytes() for name, tensor in model.tensors().items()}


ALL = [(stage, epoch) for stage in ("wtc", "ttc", "tpc") for epoch in range(4)]


def test_training_goes_on_in_the_stage_where_it_ended_to_the_same_bits(
    genres, small, epochs, tmp_path, monkeypatch
):
    straight = examples(genres, None)
    assert epochs == ALL

    @contextmanager
    def ends(what: str, *args: Any, **kwargs: Any) -> Iterator[Callable[[float], None]]:
        done = 0.0

        def advance(share: float) -> None:
            nonlocal done
            done += share
            if what.endswith("ttc") and done > 2.3:
                raise KeyboardInterrupt

        yield advance

    with monkeypatch.context() as patch:
        patch.setattr(larp_stages, "task", ends)
        with pytest.raises(KeyboardInterrupt):
            examples(genres, tmp_path / "c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.ttc", "c.wtc"]
    epochs.clear()
    torch.manual_seed(99)  # another process is in another state
    assert examples(genres, tmp_path / "c") == straight
    assert epochs == ALL[6:]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.tpc", "c.ttc", "c.wtc"]
    epochs.clear()
    assert examples(genres, tmp_path / "c") == straight
    assert epochs == []


def test_stages_of_other_settings_seeds_and_playlists_are_not_taken(
    genres, small, epochs, tmp_path
):
    file = tmp_path / "c"
    examples(genres, file)
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def taken(dataset: Dataset = genres, **other: Any) -> list[str]:
        """Stages that are gone through again."""
        for path, content in kept.items():
            path.write_bytes(content)
        epochs.clear()
        examples(dataset, file, **other)
        return list(dict.fromkeys(stage for stage, _ in epochs))

    assert taken(seed=2) == ["wtc", "ttc", "tpc"]
    assert taken(learning_rate=0.002) == ["wtc", "ttc", "tpc"]
    assert taken(aggregator="mean") == ["tpc"]
    assert taken(stages=("wtc", "ttc")) == []
    assert taken(top="clcrec", clcrec={"epochs": 1}) == []
    assert taken(nearest={"temperature": 0.2}) == []
    assert taken(top="nearest") == ["wtc", "ttc", "tpc"]  # which is what stages end by
    lists = np.split(genres.entries, genres.offsets[1:-1])
    joined = [np.concatenate(two).tolist() for two in zip(lists[::2], lists[1::2], strict=True)]
    by = genres.tracks["artist"].to_pylist()
    assert taken(worlds.make(tmp_path / "other", joined, None, by, tracks=121)) == [
        "wtc", "ttc", "tpc",
    ]  # fmt: skip


def test_stages_of_other_captions_are_not_taken(genres, small, epochs, tmp_path):
    """The same tracks in the same playlists are called something else."""
    examples(genres, tmp_path / "c", stages=("wtc",))
    epochs.clear()
    lists = [some.tolist() for some in np.split(genres.entries, genres.offsets[1:-1])]
    by = [f"{artist} & Sons" for artist in genres.tracks["artist"].to_pylist()]
    renamed = worlds.make(tmp_path / "other", lists, genres.titles, by, genres.track_count)
    examples(renamed, tmp_path / "c", stages=("wtc",))
    assert epochs == ALL[:4]


def test_a_damaged_checkpoint_is_passed_over(genres, small, epochs, tmp_path):
    (tmp_path / "c.wtc").write_bytes(b"nothing")
    examples(genres, tmp_path / "c", stages=("wtc",))
    assert epochs == ALL[:4]


def test_the_same_playlists_in_other_pieces_are_others():
    """What is at the same places of `tracks` belongs to other playlists."""
    tracks = np.arange(12)
    identities = set()
    for sizes in ([6, 6], [4, 4, 4]):
        owners = np.repeat(np.arange(len(sizes)), sizes)
        whole = material(12)
        pieces = TrainingExamples(whole.tracks, whole.items, PlaylistSets.of(owners, tracks, 12))
        stages = TrainingStages(
            [TowerEncoder((8,))] * 2, pieces, NOBODY, config(), TrainingOptions()
        )
        identities.add(stages._identity(2))
    assert len(identities) == 2


# What is held.


def test_no_step_sees_a_track_that_is_held(genres, small, monkeypatch):
    seen = set()
    real = TowerNetwork.collate

    def spy(self: TowerNetwork, items: Any, rng: Any) -> Any:
        if rng is not None:
            seen.update(np.asarray(item).tobytes() for item in items)
        return real(self, items, rng)

    monkeypatch.setattr(TowerNetwork, "collate", spy)
    model = LARP(**SMALL).fit(genres, TrainingOptions(seed=1))
    sounds = sound_worlds.heard(genres, "musicnn", None).arrays
    assert len(model.held) == 12
    assert seen == {sounds[t].tobytes() for t in np.setdiff1d(np.arange(120), model.held)}
