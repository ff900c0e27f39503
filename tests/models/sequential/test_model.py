"""Sequence models: what they minimise, that answers are what was trained, and resuming."""

import math

import numpy as np
import pyarrow as pa
import pytest
from support import session_worlds, worlds
from support.optional import optional

from segue.data.dataset import Dataset
from segue.data.schema import Outcome
from segue.errors import UsageError
from segue.models.base.recommender import RECOMMENDERS, TrainingOptions
from segue.models.sequential.batches import Batches, Windows, next_positive
from segue.models.sequential.config import TransformerConfig
from segue.numeric.ragged import Ragged
from segue.queries import Queries, Query
from segue.retrieval.topk import best_of_scores
from segue.simulation import World, make_world

torch = optional("torch")

from segue.models.sequential.losses import skip_loss, softmax_loss  # noqa: E402
from segue.models.sequential.training import SequenceNetwork  # noqa: E402

NAMES = ("sasrec", "bert4rec", "gru4rec", "caser")
S, F = True, False


def _windows(sessions, length=6):
    """From lists of (track, skipped)."""
    tracks = np.zeros((len(sessions), length), np.int32)
    negative = np.zeros((len(sessions), length), np.bool_)
    for row, session in enumerate(sessions):
        for place, (track, skipped) in enumerate(session):
            tracks[row, place], negative[row, place] = track, skipped
    lengths = np.array([len(session) for session in sessions], np.int64)
    count = len(sessions)
    nothing = np.zeros((count, 2), np.int64)
    return Windows(
        tracks, negative, lengths, np.zeros(count, np.int64), nothing, np.zeros(0, np.int32)
    )


# Two unequal sessions: 1 2s 3 4s 5 (positives 1 3 5, negatives 2 4) and 6 7 8s (positives 6 7).
TWO = [[(1, F), (2, S), (3, F), (4, S), (5, F)], [(6, F), (7, F), (8, S)]]


def _batch(sessions=TWO, order=None, **settings):
    config = TransformerConfig.make({"negatives": 4, **settings})
    batches = Batches(_windows(sessions), 12, config, masks=False)
    which = np.arange(len(sessions)) if order is None else np.array(order)
    return batches.batch(which, np.array([0, 9, 5, 11]), np.random.default_rng(0))


def test_places_that_the_skip_term_starts_from():
    batch = _batch()
    # Session 1: place 0 (next positive 3) and place 2 (next positive 5); 1 and 3 were skipped and 4
    # has none. Session 2: place 0 (next positive 7); after place 1 nothing positive follows.
    assert np.argwhere(batch.contexts).tolist() == [[0, 0], [0, 2], [1, 0]]
    named = batch.rows[batch.positive]
    assert [named[row, place] for row, place in np.argwhere(batch.contexts)] == [3, 5, 7]
    skipped = [batch.rows[row[some]].tolist() for row, some in
               zip(batch.skipped, batch.skipped_valid, strict=True)]  # fmt: skip
    assert skipped == [[2, 4], [8]]  # of the own session, past and future, and nothing else


def test_targets_are_the_next_track_or_the_next_positive_one():
    def pairs(batch):
        flat = batch.inputs.ravel()[batch.at]
        return list(zip(batch.rows[flat].tolist(), batch.rows[batch.target].tolist(), strict=True))

    assert pairs(_batch()) == [(1, 2), (2, 3), (3, 4), (4, 5), (6, 7), (7, 8)]
    jumped = [(1, 3), (2, 3), (3, 5), (4, 5), (6, 7)]
    assert pairs(_batch(targets="next-positive")) == jumped
    assert pairs(_batch(history="positive")) == [(1, 3), (3, 5), (6, 7)]


def test_a_track_that_was_played_before_is_no_target():
    batch = _batch([[(1, F), (2, F), (1, F), (3, F)]])
    assert batch.rows[batch.target].tolist() == [2, 3]


def test_next_positive_by_hand():
    negative = np.array([[S, F, S, S, F], [F, S, F, F, F]])
    found = next_positive(negative, np.array([5, 2]))
    assert found.tolist() == [[1, 1, 4, 4, 4], [0, 5, 5, 5, 5]]


def _skip_by_hand(context, positive, skipped, temperature):
    """One place's part, as the formula stands."""

    def cos(a, b):
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    near = math.exp(cos(context, positive) / temperature)
    far = sum(math.exp(cos(context, other) / temperature) for other in skipped)
    return -math.log(near / (near + far))


def _vectors(seed=3, tracks=12, size=4):
    return np.random.default_rng(seed).normal(size=(tracks, size))


def _skip_loss(batch, vectors, y, temperature=0.3):
    e = torch.tensor(vectors[batch.rows], requires_grad=True)
    loss = skip_loss(
        y,
        e[torch.from_numpy(batch.positive)],
        e[torch.from_numpy(batch.skipped)],
        torch.from_numpy(batch.contexts),
        torch.from_numpy(batch.skipped_valid),
        temperature,
    )
    return loss, e


def test_skip_term_is_the_formula_on_two_unequal_sessions():
    batch, vectors = _batch(), _vectors()
    y = np.random.default_rng(5).normal(size=(2, 5, 4))
    loss, _ = _skip_loss(batch, vectors, torch.tensor(y))
    parts = [
        _skip_by_hand(y[0, 0], vectors[3], vectors[[2, 4]], 0.3),
        _skip_by_hand(y[0, 2], vectors[5], vectors[[2, 4]], 0.3),
        _skip_by_hand(y[1, 0], vectors[7], vectors[[8]], 0.3),
    ]
    assert loss.item() == pytest.approx(sum(parts) / 3, rel=1e-12)


def test_skip_term_has_the_gradient_of_finite_differences():
    batch, vectors = _batch(), _vectors()
    y = torch.tensor(np.random.default_rng(5).normal(size=(2, 5, 4)), requires_grad=True)

    def of(y, e):
        return skip_loss(
            y,
            e[torch.from_numpy(batch.positive)],
            e[torch.from_numpy(batch.skipped)],
            torch.from_numpy(batch.contexts),
            torch.from_numpy(batch.skipped_valid),
            0.3,
        )

    e = torch.tensor(vectors[batch.rows], requires_grad=True)
    assert torch.autograd.gradcheck(of, (y, e))


def test_nothing_but_the_own_sessions_tracks_gets_a_gradient_of_the_skip_term():
    batch, vectors = _batch(), _vectors()
    y = torch.tensor(np.random.default_rng(5).normal(size=(2, 5, 4)), requires_grad=True)
    loss, e = _skip_loss(batch, vectors, y)
    loss.backward()
    moved = batch.rows[e.grad.abs().sum(1).numpy() > 0]
    assert moved.tolist() == [2, 3, 4, 5, 7, 8]
    assert (y.grad.abs().sum(2).numpy() > 0).tolist() == batch.contexts.tolist()


def test_skip_term_without_skips_is_zero_and_has_a_gradient():
    batch = _batch([[(1, F), (2, F)], [(3, F), (4, F)]])
    y = torch.ones((2, 2, 4), dtype=torch.float64, requires_grad=True)
    loss, _ = _skip_loss(batch, _vectors(), y)
    loss.backward()
    assert loss.item() == 0
    assert not y.grad.any()


@pytest.mark.parametrize("context", ["hidden", "item"])
def test_order_of_sessions_in_a_batch_changes_no_loss(context):
    settings = {"skip_weight": 0.5, "skip_context": context, "factors": 8, "feedback_weight": 0.3}
    config = TransformerConfig.make({"dropout": 0, "twin_weight": 0.2, "length": 6, **settings})
    torch.manual_seed(0)
    model = RECOMMENDERS["sasrec"]
    network = SequenceNetwork(config, lambda: model._make_trunk(config)).double()
    more = [*TWO, [(9, S), (2, F), (3, S), (1, F)]]
    values = []
    for order in ([0, 1, 2], [2, 0, 1]):
        batch = _batch(more, order, length=6)
        e = torch.tensor(_vectors(size=8)[batch.rows])
        values.append(network.losses(batch, e, torch.zeros(len(e), dtype=torch.float64)).item())
    assert values[0] == pytest.approx(values[1], rel=1e-12)


def test_softmax_leaves_the_right_track_out_of_the_drawn_ones():
    y, e = np.array([[1.0, 2.0]]), np.array([[0.5, 0.5], [1.0, -1.0], [0.2, 0.1]])
    scores = e @ y[0]
    same = torch.tensor([[True, False, False]])  # track 0 was drawn although it is the target
    loss = softmax_loss(
        torch.tensor(y), torch.tensor(e[:1]), torch.tensor(e), same, torch.tensor(0.0)
    )
    expected = -math.log(math.exp(scores[0]) / np.exp(scores).sum())
    assert loss.item() == pytest.approx(expected, rel=1e-9)


# Answers are what was trained


@pytest.mark.parametrize("name", NAMES)
def test_answers_without_torch_are_those_of_the_network(name):
    model = RECOMMENDERS[name](factors=16, length=8, read_skips=True)
    torch.manual_seed(1)
    network = SequenceNetwork(model.config, lambda: model._make_trunk(model.config)).eval()
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    vectors = rng.normal(size=(30, 16)).astype(np.float32)
    arrays = {n: p.detach().numpy().copy() for n, p in network.state_dict().items()}
    model._take({"vectors": vectors, **arrays})
    model.known = np.ones(30, np.bool_)
    queries = [
        Query(
            rng.integers(30, size=n).tolist(),
            rng.choice([Outcome.FINISHED, Outcome.SKIPPED], n).tolist(),
        )
        for n in (1, 3, 8)
    ]
    found = model.query_vectors(Queries.of(queries))
    e = torch.from_numpy(vectors)
    for query, vector in zip(queries, found, strict=True):
        negative = torch.tensor([outcome == Outcome.SKIPPED for outcome in query.outcomes])
        x = network.head.read(4 * e[list(query.tracks)], negative)
        if model.masks:
            x = torch.cat([x, torch.zeros(1, 16)])
        hidden = torch.zeros(1, len(x), dtype=torch.bool)
        hidden[0, -1] = True
        args = (x[None], torch.ones_like(hidden), *([hidden] if model.masks else []))
        wanted = network.head(network.trunk(*args)[0, -1])
        assert vector == pytest.approx(wanted.detach().numpy(), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("name", ["sasrec", "gru4rec", "caser"])
def test_a_state_depends_on_nothing_later(name):
    model = RECOMMENDERS[name](factors=8, length=8, dropout=0)
    torch.manual_seed(0)
    trunk = model._make_trunk(model.config).eval()
    x = torch.randn(1, 6, 8)
    later = x.clone()
    later[0, 4:] += 1
    valid = torch.ones(1, 6, dtype=torch.bool)
    before, after = trunk(x, valid), trunk(later, valid)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


# Training


@pytest.fixture(scope="module")
def small_world(tmp_path_factory):
    path = tmp_path_factory.mktemp("world") / "world"
    make_world(path, World.make({"tracks": 200, "listeners": 20, "sessions": 200, "playlists": 0}))
    return Dataset.open(path)


@pytest.mark.parametrize("name", NAMES)
def test_what_always_follows_is_what_comes_next(name, tmp_path):
    # Track t is always followed by t + 1 of twelve, wherever a session begins.
    rounds = worlds.make(tmp_path / "rounds", [[(s + i) % 12 for i in range(6)] for s in range(12)])
    model = _fit(rounds, name, epochs=200, batch=4, learning_rate=0.003, dropout=0, factors=32)
    slates = model.recommend(Queries.of([Query([t, (t + 1) % 12]) for t in range(12)]), 1)
    assert slates.tracks[:, 0].tolist() == [(t + 2) % 12 for t in range(12)]


def _fit(dataset, name="sasrec", checkpoint=None, **settings):
    small = {"factors": 8, "batch": 32, "negatives": 32, "patience": 0}
    model = RECOMMENDERS[name](**{**small, **settings})
    return model.fit(dataset, TrainingOptions(seed=3, checkpoint=checkpoint))


class _Stopped(Exception):
    pass


@pytest.mark.parametrize("patience", [0, 9])
def test_a_resumed_training_gives_the_same_as_an_uninterrupted_one(
    small_world, tmp_path, monkeypatch, patience
):
    from segue.models.sequential.training import SequenceTrainer

    whole = _fit(small_world, epochs=3, patience=patience, skip_weight=0.5)
    file = tmp_path / "checkpoint"
    save, seen = SequenceTrainer._save, []

    def save_and_stop(self, path):
        save(self, path)
        seen.append(self.epoch)
        if self.epoch == 2:
            raise _Stopped

    monkeypatch.setattr(SequenceTrainer, "_save", save_and_stop)
    with pytest.raises(_Stopped):
        _fit(small_world, epochs=3, patience=patience, skip_weight=0.5, checkpoint=file)
    resumed = _fit(small_world, epochs=3, patience=patience, skip_weight=0.5, checkpoint=file)
    assert seen == [1, 2, 3]  # the third epoch alone was done after the stop
    for name, tensor in whole.tensors().items():
        assert np.array_equal(tensor, resumed.tensors()[name]), name


def test_a_checkpoint_of_another_training_is_not_gone_on_from(small_world, tmp_path):
    file = tmp_path / "checkpoint"
    _fit(small_world, epochs=1, checkpoint=file, learning_rate=0.01)
    fresh = _fit(small_world, epochs=1)
    other = _fit(small_world, epochs=1, checkpoint=file)
    assert np.array_equal(fresh.vectors, other.vectors)


def test_a_damaged_checkpoint_is_not_gone_on_from(small_world, tmp_path):
    file = tmp_path / "checkpoint"
    file.write_bytes(b"half of it")
    fresh, other = _fit(small_world, epochs=1), _fit(small_world, epochs=1, checkpoint=file)
    assert np.array_equal(fresh.vectors, other.vectors)


# Tracks that training has not seen


def test_a_track_placed_by_a_vector_is_answered_and_read(small_world):
    model = _fit(small_world, epochs=1)
    size = len(model.catalog)
    tracks = small_world.tracks.slice(0, 2).set_column(0, "uri", pa.array(["new:0", "new:1"]))
    asked = Queries.of([Query([3, 4])])
    near = model.query_vectors(asked)
    more = model.with_tracks(tracks, np.concatenate([near * 100, -near]))
    slate = more.recommend(asked, 5)[0]
    assert slate.tracks[0] == size
    assert slate.tracks[1:].tolist() == model.recommend(asked, 4)[0].tracks.tolist()
    assert not np.array_equal(
        more.query_vectors(Queries.of([Query([3, 4, size])])), more.query_vectors(asked)
    )
    assert more.recommend(Queries.of([Query([size])]), 3).served_by == ["sasrec"]
    assert len(model.catalog) == size  # the model itself is as it was


def test_tracks_that_do_not_fit_are_refused(small_world):
    model = _fit(small_world, epochs=1)
    some = small_world.tracks.slice(0, 1)
    fresh = some.set_column(0, "uri", pa.array(["new"]))
    with pytest.raises(UsageError, match="already"):
        model.with_tracks(some, np.zeros((1, 8), np.float32))
    with pytest.raises(UsageError, match="8 numbers"):
        model.with_tracks(fresh, np.zeros((1, 7), np.float32))
    with pytest.raises(UsageError, match="finite"):
        model.with_tracks(fresh, np.full((1, 8), np.nan, np.float32))


# What the listener played before


PAST = [
    Query([3, 4], past=[9, 3, 11, 9]),
    Query([5], past=[]),
    Query([], past=[20, 21]),
    Query([7, 8], [Outcome.FINISHED, Outcome.SKIPPED], past=[7, 8, 30, 7], bans=[30]),
]


@pytest.fixture(scope="module")
def habitual(small_world):
    model = _fit(small_world, epochs=1)
    model.past_weight = 2.0
    return model


def test_the_past_raises_its_tracks_and_reasons_say_so(habitual):
    slate = habitual.recommend(Queries.of(PAST), 200)[0]
    plain = habitual.vectors @ habitual.query_vectors(Queries.of(PAST[:1]))[0]
    score = dict(zip(slate.tracks.tolist(), slate.scores.tolist(), strict=True))
    # 9 was played twice, now and three listens ago, 11 once. The track before the last was 3: 11
    # and then 9 came after it.
    plays = {9: 1 + 2 ** (-3 / 100) + 30 * 0.5**2, 11: 2 ** (-1 / 100) + 30 * 0.5}
    for track in (9, 11):
        gain = score[track] - float(plain[track])
        assert gain == pytest.approx(2 * np.log1p(8 * plays[track]), rel=0.01)
    (reasons,) = habitual.explain(PAST[0], np.array([11], np.int32))
    assert sum(reason.amount for reason in reasons) == pytest.approx(score[11], rel=1e-4)


def test_with_a_past_a_batch_gives_what_its_single_queries_give(habitual):
    batch = habitual.recommend(Queries.of(PAST), 50)
    for q, query in enumerate(PAST):
        single = habitual.recommend(Queries.of([query]), 50)
        assert single.tracks[0].tobytes() == batch.tracks[q].tobytes()
        assert single.scores[0].tobytes() == batch.scores[q].tobytes()


def test_with_a_past_places_are_those_of_the_whole_list(habitual):
    queries = Queries.of(PAST)
    wanted = np.array([9, 11, 40, 41, 9, 60, 61, 20, 21, 2, 8, 7, 100, 101], np.int32)
    offsets = np.array([0, 4, 7, 10, 14])
    places = habitual.ranks(queries, Ragged(offsets, wanted))
    whole = habitual.recommend(queries, len(habitual.catalog))
    for q in range(4):
        order = {track: place for place, track in enumerate(whole[q].tracks.tolist())}
        for at in range(offsets[q], offsets[q + 1]):
            assert places[at] == order.get(int(wanted[at]), len(habitual.catalog))


def test_with_a_past_lists_and_places_are_those_of_all_scores(habitual):
    rng = np.random.default_rng(0)
    size = len(habitual.catalog)
    queries = Queries.of(
        [
            Query(
                rng.integers(0, size, rng.integers(1, 20)).tolist(),
                bans=rng.integers(0, size, 10).tolist(),
                past=rng.integers(0, size, rng.integers(0, 200)).tolist(),
            )
            for _ in range(80)
        ]
    )
    every = Ragged.repeat(np.arange(size, dtype=np.int32), 80)
    plain = habitual._products(habitual.query_vectors(queries), every).reshape(80, size)
    past = habitual._pasts(queries)
    plain[past.tracks.owners(), past.tracks.values] += past.bonus
    assert habitual.score_candidates(queries, every).tobytes() == plain.tobytes()
    tracks, scores, counts = best_of_scores(plain.copy(), queries.excluded(), 10)
    slates = habitual.recommend(queries, 10)
    assert slates.tracks.tolist() == tracks.tolist()
    assert slates.scores.tobytes() == scores.tobytes()
    assert slates.counts.tolist() == counts.tolist()
    places = habitual.ranks(queries, every).reshape(80, size)
    whole, _, counts = best_of_scores(plain, queries.excluded(), size)
    for q, count in enumerate(counts):
        assert places[q, whole[q, :count]].tolist() == list(range(count))
    assert (places == size).sum() == 80 * size - counts.sum()


def test_listeners_who_come_back_give_the_past_a_weight(tmp_path):
    sessions = session_worlds.random_sessions(600)
    returning = session_worlds.write_sessions(tmp_path / "d", sessions)
    assert _fit(returning, epochs=2, patience=2).past_weight > 0
    assert _fit(returning, epochs=2, patience=2, read_past=False).past_weight == 0
