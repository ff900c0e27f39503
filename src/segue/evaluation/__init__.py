"""Evaluation: how good the answers are, and how sure that is."""

from segue.evaluation import challenge as challenge
from segue.evaluation import cold as cold
from segue.evaluation import cold_playlists as cold_playlists
from segue.evaluation import next_track as next_track
from segue.evaluation import skips as skips
from segue.evaluation.protocols import PROTOCOLS as PROTOCOLS
