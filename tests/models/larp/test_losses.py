"""The losses of LARP, by hand."""

import math

import numpy as np
import pytest
from support.optional import optional

torch = optional("torch")

from segue.models.larp.losses import across, half, track_playlist  # noqa: E402

TAU = torch.tensor(0.5)


def at(*degrees: float) -> torch.Tensor:
    """Unit vectors in the plane."""
    radians = torch.tensor(degrees, dtype=torch.float64) * math.pi / 180
    return torch.stack([radians.cos(), radians.sin()], 1)


def entropy(cosines: list[float], positive: int, tau: float = 0.5) -> float:
    """−log of the positive's share, written out."""
    powers = [math.exp(cosine / tau) for cosine in cosines]
    return -math.log(powers[positive] / sum(powers))


def cos(degrees: float) -> float:
    return math.cos(math.radians(degrees))


def test_half_is_the_mean_cross_entropy_of_the_positives():
    found = half(at(0, 90), at(10, 60, 200), torch.tensor([0, 1]), TAU)
    first = entropy([cos(10), cos(60), cos(200)], 0)
    second = entropy([cos(80), cos(30), cos(110)], 1)
    assert float(found.detach()) == pytest.approx((first + second) / 2, rel=1e-9)


def test_half_leaves_out_what_is_spared_but_never_the_positive():
    spared = torch.tensor([[True, True, False]])
    found = half(at(0), at(10, 60, 200), torch.tensor([0]), TAU, spared)
    assert float(found.detach()) == pytest.approx(entropy([cos(10), cos(200)], 0), rel=1e-9)


def test_half_with_soft_targets_mixes_the_slow_opinion_into_them():
    queries, candidates, slow = at(0), at(10, 60, 200), at(45)
    found = half(queries, candidates, torch.tensor([0]), TAU, None, 0.4, slow)
    opinion = [math.exp(cos(35) / 0.5), math.exp(cos(15) / 0.5), math.exp(cos(155) / 0.5)]
    target = [0.4 * x / sum(opinion) for x in opinion]
    target[0] += 0.6
    losses = [entropy([cos(10), cos(60), cos(200)], n) for n in range(3)]
    expected = sum(y * loss for y, loss in zip(target, losses, strict=True))
    assert float(found.detach()) == pytest.approx(expected, rel=1e-9)


def test_half_with_soft_targets_and_spared_candidates_stays_finite():
    queries = at(0).requires_grad_()
    spared = torch.tensor([[False, True, False]])
    found = half(queries, at(10, 60, 200), torch.tensor([0]), TAU, spared, 0.4, at(45))
    found.backward()
    opinion = [math.exp(cos(35) / 0.5), math.exp(cos(155) / 0.5)]
    target = [0.4 * opinion[0] / sum(opinion) + 0.6, 0.4 * opinion[1] / sum(opinion)]
    losses = [entropy([cos(10), cos(200)], n) for n in range(2)]
    expected = sum(y * loss for y, loss in zip(target, losses, strict=True))
    assert float(found.detach()) == pytest.approx(expected, rel=1e-9)
    assert torch.isfinite(queries.grad).all()


def test_wtc_is_half_from_sound_to_captions_and_half_back():
    sound, text = at(0, 90), at(20, 100)
    queue = at(180), at(270)
    candidates = [torch.cat([sound, queue[0]]), torch.cat([text, queue[1]])]
    found = across([sound, text], candidates, torch.tensor([0, 1]), TAU)
    there = (
        entropy([cos(20), cos(100), cos(270)], 0) + entropy([cos(70), cos(10), cos(180)], 1)
    ) / 2
    back = (entropy([cos(20), cos(70), cos(160)], 0) + entropy([cos(100), cos(10), cos(80)], 1)) / 2
    assert float(found.detach()) == pytest.approx((there + back) / 2, rel=1e-9)


def test_ttc_is_the_contrast_of_a_with_the_partners_caption_and_of_t_with_its_sound():
    sound, text = at(0, 90), at(20, 100)  # one pair: each is the other's partner
    found = across([sound, text], [sound, text], torch.tensor([1, 0]), TAU)
    a_t = (entropy([cos(20), cos(100)], 1) + entropy([cos(70), cos(10)], 0)) / 2
    t_a = (entropy([cos(20), cos(70)], 1) + entropy([cos(100), cos(10)], 0)) / 2
    # ½ [Contrast(a_i, t_j) + Contrast(t_i, a_j)] and the same with i and j exchanged
    assert float(found.detach()) == pytest.approx((a_t + t_a) / 2, rel=1e-9)


def test_tpc_is_the_contrast_of_playlists_with_tracks_of_the_other_side():
    pooled, fast = [at(0, 90), at(45, 135)], [at(10, 70), at(50, 120)]
    found = track_playlist(pooled, fast, TAU, None)

    def contrast(playlists: list[float], tracks: list[float]) -> float:
        rows = [[cos(p - t) for t in tracks] for p in playlists]
        columns = [list(column) for column in zip(*rows, strict=True)]
        to = sum(entropy(row, i) for i, row in enumerate(rows)) / 2
        back = sum(entropy(column, i) for i, column in enumerate(columns)) / 2
        return (to + back) / 2

    expected = (contrast([0, 90], [50, 120]) + contrast([45, 135], [10, 70])) / 2
    assert float(found.detach()) == pytest.approx(expected, rel=1e-9)


def test_tpc_of_one_side_and_with_tracks_that_are_in_the_playlist_spared():
    spared = torch.tensor([[True, True], [False, True]])  # the second track is in the first, too
    found = track_playlist([at(0, 90)], [at(10, 70)], TAU, spared)
    rows = [entropy([cos(10)], 0), entropy([cos(80), cos(20)], 1)]
    columns = [entropy([cos(10), cos(80)], 0), entropy([cos(20)], 0)]
    expected = (sum(rows) / 2 + sum(columns) / 2) / 2
    assert float(found.detach()) == pytest.approx(expected, rel=1e-9)


def test_gradients_are_those_of_finite_differences():
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(3, 2, 4, dtype=torch.float64, generator=rng, requires_grad=True)
    candidates = torch.randn(2, 5, 4, dtype=torch.float64, generator=rng)
    spared = torch.zeros(3, 5, dtype=torch.bool)
    spared[0, 4] = True

    def loss(x: torch.Tensor) -> torch.Tensor:
        sides = list(torch.nn.functional.normalize(x, dim=2).unbind(1))
        slow = [s.detach() for s in sides]
        to = torch.tensor([1, 0, 2])
        return across(sides, list(candidates), to, TAU, spared, 0.0, slow) + track_playlist(
            [c[:3] for c in candidates], sides, TAU, None
        )

    assert torch.autograd.gradcheck(loss, x)


def test_the_order_of_the_batch_changes_nothing():
    rng = np.random.default_rng(1)
    rows = torch.from_numpy(rng.normal(size=(2, 6, 3)))
    order = torch.from_numpy(rng.permutation(6))
    own = torch.arange(6)
    before = across(list(rows), list(rows), own, TAU)
    after = across(list(rows[:, order]), list(rows[:, order]), own, TAU)
    assert float(before) == pytest.approx(float(after), rel=1e-12)
