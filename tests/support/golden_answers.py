"""How recorded answers are compared, here and on systems where arithmetic ends in other bits.

Sums end in other last bits under another BLAS, another processor (numba compiles for it, and
OpenBLAS chooses for it) or another system's functions. What no arithmetic touches is compared to
the byte on every system; scores and their order as this file says. docs/reference/platforms.md says
it to users.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Sequence

REFERENCE = 1e-6
"""How far a score may be off, relative and absolute, on Linux on x86-64, where it was recorded."""
ELSEWHERE = 1e-4
"""How far it may be off on other systems and processors."""


def on_reference(system: str = sys.platform, machine: str = "") -> bool:
    """Whether answers were recorded on such a system; this one, if nothing is said."""
    machine = machine or platform.machine()
    return system.startswith("linux") and machine.lower() in ("x86_64", "amd64")


def disagreement(
    tracks: Sequence[int],
    scores: Sequence[float],
    wanted_tracks: Sequence[int],
    wanted_scores: Sequence[float],
    *,
    reference: bool,
) -> str | None:
    """Where an answer is not the recorded one; None where it is.

    On the reference every track is in its place. Elsewhere tracks may be in each other's place
    where their recorded scores are too near to be told apart; in the last such group any others may
    stand, since what would come after the end was not recorded.
    """
    allowed = REFERENCE if reference else ELSEWHERE
    if len(tracks) != len(wanted_tracks):
        return f"{len(tracks)} tracks, not {len(wanted_tracks)}"
    for at, (score, wanted) in enumerate(zip(scores, wanted_scores, strict=True)):
        if not abs(score - wanted) <= allowed * max(1.0, abs(wanted)):
            return f"score {at} is {score}, not {wanted}"
    if len(set(tracks)) != len(tracks):
        return "a track comes twice"
    groups = [(at, at + 1) for at in range(len(tracks))]
    if not reference:
        groups = list(_groups(wanted_scores, allowed))
    for first, last in groups:
        here, wanted_here = set(tracks[first:last]), set(wanted_tracks[first:last])
        if not reference and last == len(tracks):
            continue  # one that was never recorded may come as near; scores are compared above
        if here != wanted_here:
            return f"tracks {first} to {last - 1} are {here}, not {wanted_here}"
    return None


def _groups(scores: Sequence[float], allowed: float) -> Iterator[tuple[int, int]]:
    """Runs of scores, falling, that arithmetic may order in another way."""
    first = 0
    for at in range(1, len(scores) + 1):
        if at == len(scores) or scores[at - 1] - scores[at] > 2 * allowed * max(
            1.0, abs(scores[at])
        ):
            yield first, at
            first = at
