"""The recommenders, one file each."""

from segue.models.base import RECOMMENDERS, Recommender, Run
from segue.models.bpr import Bpr
from segue.models.knn import ItemKnn, UserKnn
from segue.models.personal import Personal
from segue.models.playlist_cnn import PlaylistCnn
from segue.models.popularity import Popularity
from segue.models.sequence import Bert4Rec, Caser, Gru4Rec, SasRec
from segue.models.title import Title
from segue.models.wrmf import WRMF
from segue.settings import Config

__all__ = [
    "RECOMMENDERS",
    "WRMF",
    "Bert4Rec",
    "Bpr",
    "Caser",
    "Config",
    "Gru4Rec",
    "ItemKnn",
    "Personal",
    "PlaylistCnn",
    "Popularity",
    "Recommender",
    "Run",
    "SasRec",
    "Title",
    "UserKnn",
]
