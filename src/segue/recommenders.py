"""Every recommender by name: those of one model, and those made of several."""

from segue.continuation.two_stage import TwoStage
from segue.models import RECOMMENDERS

__all__ = ["RECOMMENDERS", "TwoStage"]
