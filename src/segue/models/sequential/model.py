"""Next-track models of sessions: `sasrec`, `bert4rec`, `gru4rec`, `caser`, with skips or without.

score(t) = ŷ · e_t, where ŷ comes from the last tracks of the history in their order, by one of
four trunks and the same head (`sequential.network`), and e are the vectors of the input tracks.
`sequential.losses` has the losses, with the skip-informed one. Sources: Seshadri
and Knees 2023 (arXiv 2309.11623), Seshadri, Shashaani and Knees 2024 (arXiv 2409.07367).

Training needs torch (the extra `deep`); inference does not.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from segue.data.dataset import Dataset
from segue.errors import DataError
from segue.models.base.past_bonus import PAST_WEIGHT, LongTermHistoryModel
from segue.models.base.recommender import TrainingOptions
from segue.models.sequential import config as sequential_config
from segue.models.sequential import parameters as layers
from segue.models.sequential.batches import Windows
from segue.models.sequential.inference import encode_caser, encode_gru, encode_transformer, headed
from segue.numeric.arrays import Float32, Int32, Int64, latest, offsets_of
from segue.numeric.tensors import expect
from segue.queries import Queries, Query, Reason
from segue.system.extras import needs
from segue.system.progress import task


class _Histories(NamedTuple):
    """Input tracks of each query."""

    offsets: Int64
    tracks: Int32
    negative: npt.NDArray[np.bool_]


class SequenceRecommender(LongTermHistoryModel):
    """score(t) = ŷ · e_t, and more for what the listener plays (`LongTermHistoryModel`).

    A subclass gives the trunk.
    """

    Parts: ClassVar[type[Any]]
    """Parameters of the trunk."""
    masks: ClassVar[bool] = False
    """Whether training masks tracks and predicts them from both directions."""
    config: Any
    known: npt.NDArray[np.bool_]
    """Mask of tracks with a trained vector. (tracks,)"""
    trunk: Any
    head: layers.HeadParameters
    feedback: layers.HeadParameters | None = None

    @abstractmethod
    def _encode(self, histories: _Histories, states: Float32) -> None:
        """State after each history that is not empty. states: (queries, d), changed"""

    @classmethod
    @abstractmethod
    def _make_trunk(cls, config: Any) -> Any:
        """The trunk in torch."""

    @property
    def extras(self) -> frozenset[str]:
        return frozenset({"deep"})

    def _fit(self, dataset: Dataset, plays: Any, run: TrainingOptions) -> None:
        try:
            from segue.models.sequential.training import SequenceTrainer
            from segue.nn.devices import reproducible
        except ImportError as error:
            raise needs("training", "deep", where=self.name, cause=error) from error
        config = self.config
        windows = Windows.of(dataset, config.length).with_targets(config)
        quality = None
        if config.patience:
            windows, held = windows.parted(np.random.default_rng([run.seed, 1]))
            queries, truth = held.asked()
            quality = (lambda arrays: self._quality(arrays, queries, truth)) if truth.size else None
        if not len(windows):
            raise DataError(
                "has no session or playlist with two different tracks"
                + (" that were not skipped" if "positive" in config.history else ""),
                where=dataset.path,
                do=f"{self.name} learns from what comes after what",
            )
        self.past_weight = 0.0
        self.known = np.zeros(len(self.catalog), np.bool_)
        self.known[windows.tracks[windows.valid]] = True
        task_name = f"fitting {self.name}", config.epochs, "epochs"
        with task(*task_name, show=run.progress) as advance, reproducible(warn_only=True):
            trainer = SequenceTrainer(
                windows,
                self.catalog.plays,
                config,
                lambda: self._make_trunk(config),
                run.seed,
                masks=self.masks,
                quality=quality,
            )
            arrays = trainer.run(
                advance,
                lambda line: run.note(f"{self.name}: {line}"),
                run.checkpoint,
                run.monitor,
                lambda line: run.detail(f"{self.name}: {line}"),
            )
        self._take(arrays)
        if config.read_past and np.diff(windows.long_term_spans).any():
            self.past_weight = PAST_WEIGHT
            if quality is not None:
                self.weigh_past(queries, truth)
            run.note(f"{self.name}: weight of the past {self.past_weight:g}")

    def _quality(self, arrays: dict[str, Float32], queries: Queries, truth: Int32) -> float:
        """NDCG@10 of the present parameters."""
        self._take(arrays)
        return self.ndcg(queries, truth)

    def _take(self, arrays: Mapping[str, Float32]) -> None:
        def part(kind: type[Any], prefix: str) -> Any:
            return kind(*(arrays[f"{prefix}.{name}"] for name in kind._fields))

        self.vectors = arrays["vectors"]
        self.trunk, self.head = part(self.Parts, "trunk"), part(layers.HeadParameters, "head")
        self.feedback = (
            part(layers.HeadParameters, "feedback") if self.config.feedback_weight else None
        )

    # Answers

    def _histories(self, queries: Queries) -> _Histories:
        """The last `length` tracks of each query that training knows."""
        negative = queries.skipped_mask
        keep = self.known[queries.tracks]
        if self.config.history == "positive":
            keep = keep & ~negative
        offsets, late = latest(offsets_of(keep)[queries.offsets], self.config.length)
        return _Histories(offsets, queries.tracks[keep][late], negative[keep][late])

    def answerable(self, queries: Queries) -> npt.NDArray[np.bool_]:
        known: npt.NDArray[np.bool_] = np.diff(self._histories(queries).offsets) > 0
        if self.past_weight:
            known |= np.diff(queries.past_spans)[:, 0] > 0
        return known

    def query_vectors(self, queries: Queries) -> Float32:
        return self._vectors(self._histories(queries))

    def _vectors(self, histories: _Histories) -> Float32:
        """ŷ of each history. (histories, d)"""
        states = np.zeros((len(histories.offsets) - 1, self.config.factors), np.float32)
        self._encode(histories, states)
        out = np.empty_like(states)
        headed(states, self.head, out)
        if self.feedback is not None:
            against = np.empty_like(states)
            headed(states, self.feedback, against)
            out -= np.float32(self.config.feedback_weight) * against
        # Without input tracks, only the long-term history may score.
        out[np.diff(histories.offsets) == 0] = 0
        return out

    def _explain(self, query: Query, tracks: Int32) -> list[list[Reason]]:
        """A track's part: the loss of score when the history begins after it."""
        history = self._histories(Queries.of([query]))
        count = len(history.tracks)
        rows = np.concatenate([np.zeros(0, np.int64), *(np.arange(k, count) for k in range(count))])
        lengths = np.arange(count, 0, -1)
        suffixes = _Histories(
            offsets_of(lengths),
            history.tracks[rows],
            history.negative[rows],
        )
        scores = self.vectors[tracks].astype(np.float64) @ self._vectors(suffixes).T
        parts = scores - np.concatenate([scores[:, 1:], np.zeros((len(tracks), 1))], axis=1)
        liked = ~history.negative
        liked_tracks, which = np.unique(history.tracks[liked], return_inverse=True)
        by_track = np.zeros((len(liked_tracks), len(tracks)))
        np.add.at(by_track, which, parts.T[liked])
        rests = parts.T[~liked].sum(axis=0)  # a skipped track is no reason
        reasons = [
            [
                Reason("track", int(j), float(part))
                for j, part in zip(liked_tracks, row, strict=True)
            ]
            + ([Reason("rest", None, float(rest))] if rest else [])
            for row, rest in zip(by_track.T, rests, strict=True)
        ]
        return [
            reason_list + past_part
            for reason_list, past_part in zip(
                reasons, self.past_reasons(query, tracks), strict=True
            )
        ]

    def _extend(self, tracks: int) -> None:
        super()._extend(tracks)
        self.known = np.concatenate([self.known, np.zeros(tracks, np.bool_)])

    def _place(self, tracks: Int32, vectors: Float32) -> None:
        super()._place(tracks, vectors)
        self.known = self.known.copy()
        self.known[tracks] = True

    # Bundles

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        parts = {"trunk": self.trunk, "head": self.head}
        if self.feedback is not None:
            parts["feedback"] = self.feedback
        tensors: dict[str, npt.NDArray[Any]] = {
            "vectors": self.vectors,
            "known": self.known.astype(np.uint8),
            "past_weight": np.array([self.past_weight], np.float32),
        }
        for prefix, part in parts.items():
            tensors |= {f"{prefix}.{name}": array for name, array in part._asdict().items()}
        return tensors

    def restore(self, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        def part(kind: type[Any], prefix: str) -> dict[str, npt.NDArray[Any]]:
            shapes = kind.shapes(self.config)
            return {
                f"{prefix}.{name}": expect(tensors, f"{prefix}.{name}", np.float32, *shape)
                for name, shape in zip(kind._fields, shapes, strict=True)
            }

        self.known = expect(tensors, "known", np.uint8, len(self.catalog)) > 0
        self.past_weight = float(expect(tensors, "past_weight", np.float32, 1)[0])
        vectors = expect(tensors, "vectors", np.float32, len(self.catalog), self.config.factors)
        arrays = {
            "vectors": vectors,
            **part(self.Parts, "trunk"),
            **part(layers.HeadParameters, "head"),
        }
        if self.config.feedback_weight:
            arrays |= part(layers.HeadParameters, "feedback")
        self._take(arrays)


class SASRec(SequenceRecommender):
    """Self-attention to what came before (Kang and McAuley 2018)."""

    name: ClassVar[str] = "sasrec"
    Config = sequential_config.TransformerConfig
    Parts = layers.TransformerParameters

    def _encode(self, histories: _Histories, states: Float32) -> None:
        heads = self.config.heads
        encode_transformer(
            *histories, self.vectors, self.head, self.trunk, heads, not self.masks, states
        )

    @classmethod
    def _make_trunk(cls, config: Any) -> Any:
        from segue.models.sequential.network import TransformerTrunk

        return TransformerTrunk(config, causal=not cls.masks)


class BERT4Rec(SASRec):
    """Self-attention both ways, trained to tell hidden tracks (Sun et al. 2019)."""

    name: ClassVar[str] = "bert4rec"
    Config = sequential_config.BERT4RecConfig
    masks: ClassVar[bool] = True


class GRU4Rec(SequenceRecommender):
    """Gated recurrent units (Hidasi et al. 2016)."""

    name: ClassVar[str] = "gru4rec"
    Config = sequential_config.SequenceConfig
    Parts = layers.GRUParameters

    def _encode(self, histories: _Histories, states: Float32) -> None:
        encode_gru(*histories, self.vectors, self.head, self.trunk, states)

    @classmethod
    def _make_trunk(cls, config: Any) -> Any:
        from segue.models.sequential.network import GRUTrunk

        return GRUTrunk(config)


class Caser(SequenceRecommender):
    """Convolutions over the last tracks (Tang and Wang 2018)."""

    name: ClassVar[str] = "caser"
    Config = sequential_config.CaserConfig
    Parts = layers.CaserParameters

    def _encode(self, histories: _Histories, states: Float32) -> None:
        encode_caser(*histories, self.vectors, self.head, self.trunk, states)

    @classmethod
    def _make_trunk(cls, config: Any) -> Any:
        from segue.models.sequential.network import CaserTrunk

        return CaserTrunk(config)
