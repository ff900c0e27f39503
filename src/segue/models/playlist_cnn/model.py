"""Playlist CNN: convolutions over the tracks of a history in their order (`playlist-cnn`).

Source: Volkovs et al. 2018, "Two-stage Model for Automatic Playlist Continuation at Scale",
section 3.2. The embeddings of the history's tracks pass gated convolutions (Dauphin et al. 2017,
arXiv 1612.08083) with batch normalisation; the largest outputs over time of every kernel, and a
linear layer, give the playlist's vector u; score(j) = u · v_j. Embeddings and track vectors start
as those of `wrmf`. It is trained to tell, at random prediction points, all later tracks of a
playlist from drawn ones.

Training needs torch (the extra `deep`); answering does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from segue.data.dataset import Dataset
from segue.data.sequences import sequences
from segue.errors import DataError
from segue.models.base.recommender import TrainingOptions, knows_history
from segue.models.base.scoring import EmbeddingModel
from segue.models.playlist_cnn.config import PlaylistCNNConfig
from segue.models.playlist_cnn.inference import PlaylistCNNLayers, encode, parts_of
from segue.models.wrmf.model import WRMF
from segue.numeric.arrays import Float32, Int32, latest
from segue.numeric.ragged import Ragged
from segue.numeric.tensors import expect
from segue.queries import Queries, Query, Reason
from segue.system.extras import needs
from segue.system.progress import task


class PlaylistCNN(EmbeddingModel):
    """score(j) = u · v_j, with u from convolutions over the history."""

    name: ClassVar[str] = "playlist-cnn"
    Config = PlaylistCNNConfig
    config: PlaylistCNNConfig
    inputs: Float32
    """Embeddings of the tracks in a history. (tracks, factors)"""
    layers: PlaylistCNNLayers

    @property
    def extras(self) -> frozenset[str]:
        return frozenset({"deep"})

    def _fit(self, dataset: Dataset, plays: Any, run: TrainingOptions) -> None:
        try:
            from segue.models.playlist_cnn.training import train
        except ImportError as error:
            raise needs("training", "deep", where=self.name, cause=error) from error
        offsets, tracks = sequences(dataset)
        if not len(tracks):
            raise DataError(
                "has no playlist or listener with two tracks",
                where=dataset.path,
                do=f"{self.name} learns from what comes after what",
            )
        start = WRMF(factors=self.config.factors).learn(dataset, plays, self.catalog, run).vectors
        with task("fitting playlist-cnn", self.config.epochs, "epochs", show=run.progress) as on:
            learned = train(offsets, tracks, start, self.catalog.plays, self.config, run.seed, on)
        self.inputs, self.vectors, self.layers = learned

    def answerable(self, queries: Queries) -> npt.NDArray[np.bool_]:
        return knows_history(queries, self.catalog.plays)

    def _histories(self, queries: Queries) -> Ragged:
        """The last `length` tracks that somebody played, of each query."""
        liked = queries.liked()
        played = liked.where(self.catalog.plays[liked.values] > 0)
        offsets, late = latest(played.offsets, self.config.length)
        return Ragged(offsets, played.values[late])

    def query_vectors(self, queries: Queries) -> Float32:
        history = self._histories(queries)
        out = np.zeros((len(queries), self.config.factors), np.float32)
        encode(history.offsets, history.values, self.inputs, self.layers, out)
        return out

    def _explain(self, query: Query, tracks: Int32) -> list[list[Reason]]:
        """A track's part: what it adds to the sum, and the pooled outputs that stand at it."""
        history = self._histories(Queries.of([query])).values
        by_place = parts_of(self.inputs[history], self.layers).astype(np.float64)
        heard, which = np.unique(history, return_inverse=True)
        by_track = np.zeros((len(heard), by_place.shape[1]))
        np.add.at(by_track, which, by_place)
        wanted = self.vectors[tracks].astype(np.float64)
        parts, rests = wanted @ by_track.T, wanted @ self.layers.offset
        return [
            [Reason("track", int(j), float(part)) for j, part in zip(heard, row, strict=True)]
            + [Reason("rest", None, float(rest))]
            for row, rest in zip(parts, rests, strict=True)
        ]

    def _extend(self, tracks: int) -> None:
        super()._extend(tracks)
        zeros = np.zeros((tracks, self.inputs.shape[1]), np.float32)  # histories leave them out
        self.inputs = np.concatenate([self.inputs, zeros])

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        layers = {f"layers.{name}": array for name, array in self.layers._asdict().items()}
        return {"inputs": self.inputs, "vectors": self.vectors, **layers}

    def restore(self, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        table = (len(self.catalog), self.config.factors)
        self.inputs = expect(tensors, "inputs", np.float32, *table)
        self.vectors = expect(tensors, "vectors", np.float32, *table)
        self.layers = PlaylistCNNLayers(
            *(
                expect(tensors, f"layers.{name}", np.float32, *shape)
                for name, shape in zip(
                    PlaylistCNNLayers._fields, PlaylistCNNLayers.shapes(self.config), strict=True
                )
            )
        )
