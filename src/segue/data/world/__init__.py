"""A simulated listening world with a known truth; see `docs/reference/world.md`."""

from segue.data.world.listening import skip_probability
from segue.data.world.make import TRUTH_FILE, World, genre_words, make_world, truth
from segue.data.world.music import mismatch

__all__ = [
    "TRUTH_FILE",
    "World",
    "genre_words",
    "make_world",
    "mismatch",
    "skip_probability",
    "truth",
]
