"""A simulated listening world with a known truth; see `docs/reference/world.md`."""

from segue.simulation.catalog import mismatch
from segue.simulation.sessions import skip_probability
from segue.simulation.world import TRUTH_FILE, World, genre_words, make_world, truth

__all__ = [
    "TRUTH_FILE",
    "World",
    "genre_words",
    "make_world",
    "mismatch",
    "skip_probability",
    "truth",
]
