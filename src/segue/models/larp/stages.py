"""The stages of larp's training, in order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from segue.models.base.recommender import TrainingOptions
from segue.models.larp.config import LARPConfig, Stage
from segue.models.larp.encoders.contract import Encoder
from segue.models.larp.examples import TrainingExamples
from segue.models.larp.network import LarpNetwork, pooling_of
from segue.models.larp.pooling import Pooling
from segue.models.larp.training import HeldOutPlaylists as HeldOutPlaylists
from segue.models.larp.training import StageTraining, embedded
from segue.nn.devices import reproducible
from segue.nn.items import Arrays
from segue.numeric.arrays import Float32
from segue.system.progress import task


class TrainingStages:
    """All stages, one after the other, on the same network.

    Args:
        encoders: encoders of audio and text.
        examples: training examples.
        held: held-out playlists for early stopping.
        config: settings.
        run: options of the run.
        fingerprint: fingerprint of the dataset.
    """

    def __init__(
        self,
        encoders: Sequence[Encoder],
        examples: TrainingExamples,
        held: HeldOutPlaylists,
        config: LARPConfig,
        run: TrainingOptions,
        fingerprint: str = "",
    ) -> None:
        self.examples, self.held, self.config, self.run = examples, held, config, run
        self.fingerprint = fingerprint
        with torch.random.fork_rng():
            torch.manual_seed(run.seed)
            networks = [
                side.network(items, config.dimensions, config.dropout)
                for side, items in zip(encoders, examples.items, strict=True)
            ]
            self.network = LarpNetwork(networks, len(examples), config)

    def train(self) -> None:
        """Train the network; it ends with the best epoch of the last stage.

        Raises:
            ConfigError: it diverged.
        """
        for number, stage in enumerate(self.config.stages, 1):
            title = f"fitting larp, stage {stage}", self.config.epochs, "epochs"
            with (
                task(*title, show=self.run.progress) as advance,
                reproducible(warn_only=True),
            ):
                training = StageTraining(
                    self.network,
                    self.examples,
                    self.held,
                    self.config,
                    self.config.stages[:number],
                    self.run.seed,
                    self._identity(number),
                )
                training.run(
                    advance,
                    partial(self._report, self.run.note, stage),
                    self.run.part(stage).checkpoint,
                    detail=partial(self._report, self.run.detail, stage),
                )

    @staticmethod
    def _report(report: Callable[[str], None], stage: Stage, line: str) -> None:
        report(f"larp {stage}: {line}")

    def _identity(self, number: int) -> str:
        """Hash of all that the first stages depend on, so that other runs may resume from them."""
        config = msgspec.structs.replace(self.config, stages=self.config.stages[:number])
        settings = msgspec.structs.asdict(config)
        later = {"dropoutnet", "clcrec"}
        if config.top != "nearest":  # which decides when a stage ends
            later |= {"top", "nearest"}
        if "tpc" not in config.stages:
            later |= {"aggregator", "pooling", "seeds"}
        shown = {name: value for name, value in settings.items() if name not in later}
        digest = hashlib.sha256(repr((shown, self.run.seed, self.fingerprint)).encode())
        for part in (self.examples, self.held.examples):
            shared = part.playlists
            for array in (part.tracks, shared.offsets, shared.tracks):
                digest.update(array.tobytes())
        return digest.hexdigest()

    def arrays(self) -> list[dict[str, npt.NDArray[np.generic]]]:
        """Arrays of each encoder's network."""
        encoders: list[Any] = list(self.network.fast)
        return [side.arrays() for side in encoders]

    def pooling(self) -> Pooling | None:
        """Aggregator of a query's tracks; None: the mean."""
        return pooling_of(self.network)

    def embedded(self, side: int, items: Arrays) -> Float32:
        """Vectors of tracks by one encoder, of length 1. (n, d)"""
        return embedded(self.network.fast[side], items)
