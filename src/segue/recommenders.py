"""Every recommender by name: those of one model, and those made of several."""

from segue.continuation.two_stage import TwoStage
from segue.models import RECOMMENDERS
from segue.models.audio import AudioRecommender
from segue.models.audio_mlr import AudioMlr

__all__ = ["RECOMMENDERS", "AudioMlr", "AudioRecommender", "TwoStage"]
