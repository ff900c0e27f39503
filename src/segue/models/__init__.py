"""The recommenders, one file each."""

from segue.models.base import RECOMMENDERS, Config, Recommender, Run
from segue.models.popularity import Popularity

__all__ = ["RECOMMENDERS", "Config", "Popularity", "Recommender", "Run"]
