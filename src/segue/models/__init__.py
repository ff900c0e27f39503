"""The recommenders, one file each."""

from segue.models.base import RECOMMENDERS, Config, Recommender, Run
from segue.models.knn import ItemKnn, UserKnn
from segue.models.popularity import Popularity

__all__ = ["RECOMMENDERS", "Config", "ItemKnn", "Popularity", "Recommender", "Run", "UserKnn"]
