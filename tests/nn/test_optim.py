"""Adam on rows alone: what occurs in a step changes, all else rests."""

from __future__ import annotations

import copy

from support.optional import optional

torch = optional("torch")

from segue.nn.optim import RowAdamW  # noqa: E402


def table() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.arange(12.0).reshape(6, 2))


def sparse(at: list[int], values: list[list[float]]) -> torch.Tensor:
    return torch.sparse_coo_tensor(
        torch.tensor([at]), torch.tensor(values), (6, 2), check_invariants=True
    )


STEPS = [([1, 4], [[1.0, -2.0], [0.5, 0.0]]), ([4, 1, 4], [[1.0, 1.0], [3.0, -1.0], [0.0, 2.0]])]


def test_rows_take_the_steps_of_torchs_own_sparse_adam():
    """Whose repeats of a row add up, as here."""
    ours, theirs = table(), table()
    one = RowAdamW([ours], lr=0.1, betas=(0.8, 0.95), weight_decay=0.5)
    other = torch.optim.SparseAdam([theirs], lr=0.1, betas=(0.8, 0.95))
    for at, values in STEPS:
        ours.grad, theirs.grad = sparse(at, values), sparse(at, values)
        one.step()
        other.step()
    torch.testing.assert_close(ours, theirs)
    assert torch.equal(ours[[0, 2, 3, 5]], table()[[0, 2, 3, 5]])


def test_dense_parameters_beside_take_the_steps_of_adamw():
    ours, theirs, rows = table(), table(), table()
    one = RowAdamW([rows, ours], lr=0.1, weight_decay=0.5)
    other = torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.5)
    for at, values in STEPS:
        rows.grad = sparse(at, values)
        ours.grad = torch.full((6, 2), 2.0)
        theirs.grad = torch.full((6, 2), 2.0)
        one.step()
        other.step()
    torch.testing.assert_close(ours, theirs)


def test_the_first_step_is_as_long_as_the_rate_by_hand():
    """m = (1 − β₁) g, v = (1 − β₂) g²; both corrected: g / |g|."""
    rows = table()
    rows.grad = sparse([2], [[3.0, -0.1]])
    RowAdamW([rows], lr=0.25).step()
    torch.testing.assert_close(rows[2].detach(), torch.tensor([4 - 0.25, 5 + 0.25]))


def test_its_state_goes_on_where_it_was():
    ours, again = table(), table()
    one = RowAdamW([ours], lr=0.1)
    ours.grad = sparse(*STEPS[0])
    one.step()
    with torch.no_grad():
        again.copy_(ours)
    other = RowAdamW([again], lr=0.1)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for p, optimiser in ((ours, one), (again, other)):
        p.grad = sparse(*STEPS[1])
        optimiser.step()
    assert torch.equal(ours, again)
