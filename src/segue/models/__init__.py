"""The recommenders, one file each."""

from segue.models.base import RECOMMENDERS, Recommender, Run
from segue.models.bpr import Bpr
from segue.models.config import Config
from segue.models.knn import ItemKnn, UserKnn
from segue.models.playlist_cnn import PlaylistCnn
from segue.models.popularity import Popularity
from segue.models.title import Title
from segue.models.wrmf import WRMF

__all__ = [
    "RECOMMENDERS",
    "WRMF",
    "Bpr",
    "Config",
    "ItemKnn",
    "PlaylistCnn",
    "Popularity",
    "Recommender",
    "Run",
    "Title",
    "UserKnn",
]
