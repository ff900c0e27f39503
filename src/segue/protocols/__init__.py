"""Protocols: splits of a dataset into training rows and a test."""

from segue.protocols import challenge as challenge
from segue.protocols import cold_playlists as cold_playlists
from segue.protocols import cold_tracks as cold_tracks
from segue.protocols import next_track as next_track
from segue.protocols import skips as skips
from segue.protocols.base import PROTOCOLS as PROTOCOLS
