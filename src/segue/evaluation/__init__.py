"""Evaluation: how good the answers are, and how sure that is."""

from segue.evaluation import challenge as challenge
from segue.evaluation.protocols import PROTOCOLS as PROTOCOLS
