"""Heads of `larp`: models that rank tracks by their content.

Every head scores by a product, score(p, s) = q_p · v_s, of its functions of e_p, the mean content
of the seeds, and of e_s, the content of a track. Neither needs plays.

    item-knn      q_p = e_p,        v_s = e_s
    nearest       see `larp.heads.nearest`: no product
    dropoutnet    q_p = f_p(e_p),   v_s = f_s(e_s)      Volkovs, Yu and Poutanen 2017
    clcrec        q_p = f(e_p),     v_s = f(e_s)        Wei et al. 2021

f are dense layers, the last one linear, after the others tanh ("dropoutnet") or a leaky rectifier
("clcrec"). `larp.heads.training` trains them; inference needs only numpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any, ClassVar, Protocol, Self

import numpy.typing as npt
import scipy.sparse as sp

from segue.errors import BundleError
from segue.models.base.recommender import TrainingOptions
from segue.models.larp.heads.config import ClcRecConfig, DropoutNetConfig
from segue.models.larp.heads.nearest import Nearest
from segue.nn.dense import LEAKY, TANH, Dense
from segue.numeric.arrays import Float32, Int64
from segue.system.extras import needs


class Head(Protocol):
    """A model that ranks tracks by content."""

    name: ClassVar[str]

    @property
    def arrays(self) -> dict[str, Float32]:
        """The trained arrays, by name."""

    def outputs(self, c: int) -> int:
        """Length of q and v, for content of c numbers."""

    def tracks(self, content: Float32) -> Float32:
        """v; zeros for zeros. (tracks, c) -> (tracks, outputs)"""

    def queries(self, content: Float32) -> Float32:
        """q, of the mean content of seeds; zeros for zeros. (queries, c) -> (queries, outputs)"""

    @classmethod
    def learn(
        cls,
        content: Float32,
        plays: sp.csr_matrix,
        config: Any,
        run: TrainingOptions,
        held: Int64 | None = None,
    ) -> Self:
        """Train to continue playlists.

        Args:
            content: content of every track; zeros for unknown content. (tracks, c)
            plays: (playlists, tracks)
            config: settings of this head; None for "item-knn", which has none.
            run: options of the run.
            held: held-out tracks for early stopping, which the encoders did not train on; None: a
                random tenth.

        Raises:
            DataError: no playlist has two tracks with content.
            ConfigError: torch is missing, or training diverged.
        """

    @classmethod
    def restore(
        cls, tensors: Mapping[str, npt.NDArray[Any]], prefix: str, c: int, config: Any
    ) -> Self:
        """Restore from tensors under names with a prefix, for content of c numbers.

        Raises:
            BundleError: one is missing or does not fit.
        """


class ItemKNNHead:
    """Products of content."""

    name: ClassVar[str] = "item-knn"

    @property
    def arrays(self) -> dict[str, Float32]:
        return {}

    def outputs(self, c: int) -> int:
        return c

    def tracks(self, content: Float32) -> Float32:
        return content.copy()

    def queries(self, content: Float32) -> Float32:
        return content

    @classmethod
    def learn(
        cls,
        content: Float32,
        plays: sp.csr_matrix,
        config: None,
        run: TrainingOptions,
        held: Int64 | None = None,
    ) -> Self:
        return cls()

    @classmethod
    def restore(
        cls, tensors: Mapping[str, npt.NDArray[Any]], prefix: str, c: int, config: None
    ) -> Self:
        return cls()


class DropoutNet:
    """f_p and f_s, for unknown preferences."""

    name: ClassVar[str] = "dropoutnet"

    def __init__(self, playlist: Dense, track: Dense) -> None:
        self.playlist, self.track = playlist, track

    @property
    def arrays(self) -> dict[str, Float32]:
        networks = {"playlist": self.playlist, "track": self.track}
        return {f"{side}.{n}": a for side, f in networks.items() for n, a in f.arrays.items()}

    def outputs(self, c: int) -> int:
        return self.track.outputs

    def tracks(self, content: Float32) -> Float32:
        return self.track(content)

    def queries(self, content: Float32) -> Float32:
        return self.playlist(content)

    @classmethod
    def learn(
        cls,
        content: Float32,
        plays: sp.csr_matrix,
        config: DropoutNetConfig,
        run: TrainingOptions,
        held: Int64 | None = None,
    ) -> Self:
        arrays = _training().learn_dropoutnet(content, plays, config, run, held)
        return cls.restore(arrays, "", content.shape[1], config)

    @classmethod
    def restore(
        cls, tensors: Mapping[str, npt.NDArray[Any]], prefix: str, c: int, config: DropoutNetConfig
    ) -> Self:
        layers = len(config.hidden) + 1
        playlist, track = (
            Dense.restore(tensors, f"{prefix}{side}.", c, layers, TANH)
            for side in ("playlist", "track")
        )
        if playlist.outputs != track.outputs:
            raise BundleError(
                f"gives {playlist.outputs} numbers, tracks have {track.outputs}",
                where=f"tensors {prefix}playlist",
            )
        return cls(playlist, track)


class ClcRec:
    """One f for playlists and tracks."""

    name: ClassVar[str] = "clcrec"

    def __init__(self, encoder: Dense) -> None:
        self.encoder = encoder

    @property
    def arrays(self) -> dict[str, Float32]:
        return self.encoder.arrays

    def outputs(self, c: int) -> int:
        return self.encoder.outputs

    def tracks(self, content: Float32) -> Float32:
        return self.encoder(content)

    def queries(self, content: Float32) -> Float32:
        return self.encoder(content)

    @classmethod
    def learn(
        cls,
        content: Float32,
        plays: sp.csr_matrix,
        config: ClcRecConfig,
        run: TrainingOptions,
        held: Int64 | None = None,
    ) -> Self:
        arrays = _training().learn_clcrec(content, plays, config, run, held)
        return cls.restore(arrays, "", content.shape[1], config)

    @classmethod
    def restore(
        cls, tensors: Mapping[str, npt.NDArray[Any]], prefix: str, c: int, config: ClcRecConfig
    ) -> Self:
        return cls(Dense.restore(tensors, prefix, c, len(config.hidden) + 1, LEAKY))


def _training() -> ModuleType:
    """Import `larp.heads.training`, which needs torch."""
    try:
        from segue.models.larp.heads import training as head_training
    except ImportError as error:
        raise needs("training", "deep", where="larp.top", cause=error) from error
    return head_training


HEADS: dict[str, type[Head]] = {top.name: top for top in (ItemKNNHead, Nearest, DropoutNet, ClcRec)}
"""Every head by name."""
