"""Settings of recommenders."""

from segue.settings import Config

__all__ = ["Config"]
