"""The audio door: a track that nobody has played gets its vector from its sound (`audio`).

A base recommender learns vectors of tracks from plays. A tower (`nn.tower`) learns to tell them
from a track's sound and from its artist, by one of three objectives (`audio.losses`). What it
tells of a track without plays, at a length found by `audio.calibration`, is that track's row in the
base, which then answers as ever. Sources: van den Oord, Dieleman and Schrauwen, "Deep content-based
music recommendation" (NIPS 2013); Dieleman, "Recommending music on Spotify with deep learning"
(2014). The artist's mean as an input: Meehan et al. 2026 (arXiv 2604.07090).
`docs/development/papers/audio.md` says what is published and what is ours.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segue.audio.bag_of_words import Bag
from segue.catalog.matching import artists_of
from segue.data.dataset import Dataset
from segue.data.sequences import sequences
from segue.errors import ConfigError, DataError
from segue.models.audio.calibration import find_scale
from segue.models.audio.config import AudioConfig, form_of
from segue.models.audio.examples import Artists, Examples, WeightedRows
from segue.models.audio.fit import learn_tower
from segue.models.base import audio_features
from segue.models.base.audio_features import Sounds
from segue.models.base.cold_start import ContentModel
from segue.models.base.recommender import RECOMMENDERS, Recommender, TrainingOptions
from segue.models.base.scoring import ColdStartModel
from segue.nn.items import Arrays, Subset
from segue.nn.tower import Form, Tower, lengthened
from segue.numeric.arrays import Float32, Int32, Int64
from segue.numeric.ragged import Ragged
from segue.numeric.tensors import expect
from segue.queries import Queries, Query, Reason
from segue.retrieval.topk import Best

if TYPE_CHECKING:
    from segue.models.audio.larp_features import LARPFeatures
    from segue.models.wrmf.model import WRMF

_HELD = 0.05
"""Share of the tracks that tell when to stop and how long vectors are."""

_FEW = 200
"""Tracks below which training says that it learned from few."""


class Audio(ContentModel):
    """The base's answers, in which tracks that nobody played have a place."""

    name: ClassVar[str] = "audio"
    Config = AudioConfig
    config: AudioConfig
    base: ColdStartModel
    content: LARPFeatures | None = None
    """Of the sound "larp"."""
    tower: Tower | None
    """None where the artist's mean alone is the vector."""
    unit: float
    """Length of the learned vectors, which towers tell in units of it."""
    scale: float
    """What predicted vectors are multiplied by; see `audio.calibration`."""

    def __init__(self, /, **settings: Any) -> None:
        super().__init__(**settings)
        config = self.config
        frames = config.sound in ("mel", "mel-windows")
        if frames != (config.tower == "cnn"):
            do = 'take "mel" or "mel-windows" with the tower "cnn", other sounds with others'
            raise ConfigError(
                f"sound {config.sound!r} is not for the tower {config.tower!r}",
                where="AudioConfig",
                do=do,
            )
        if config.sound == "none" and not config.artist:
            raise ConfigError("neither sound nor artist is heard", where="AudioConfig")
        if config.tower == "mean" and config.sound != "none":
            raise ConfigError(
                'the tower "mean" hears nothing', where="AudioConfig", do='set sound = "none"'
            )
        if config.objective == "wpe" and config.base != "wrmf":
            raise ConfigError(
                f"{config.base} has no confidence",
                where="AudioConfig.objective",
                do='take the base "wrmf" or another objective',
            )
        if config.two_stage or config.base == "two-stage":
            RECOMMENDERS["two-stage"](**config.two_stage)  # which refuses what is wrong
        if config.sound == "larp":
            from segue.models.audio.larp_features import LARPFeatures  # no other sound needs it

            self.content = LARPFeatures(config.larp)

    @property
    def sound(self) -> str:
        return self.config.sound if self.config.sound != "larp" else self.config.larp.sound

    @property
    def extras(self) -> frozenset[str]:
        config, needed = self.config, self._new_base().extras
        if config.sound == "larp":
            needed |= RECOMMENDERS["larp"](**msgspec.to_builtins(config.larp)).extras
        elif config.sound != "none":
            needed |= {"audio"}
        solved = config.tower == "mean" or (config.tower, config.objective) == ("linear", "mse")
        return needed if solved else needed | {"deep"}

    def _new_base(self) -> ColdStartModel:
        settings = getattr(self.config, self.config.base.replace("-", "_"))
        base = RECOMMENDERS[self.config.base](**msgspec.to_builtins(settings))
        return cast("ColdStartModel", base)  # as every base that the setting allows is

    # Training

    def _fit(self, dataset: Dataset, plays: Any, run: TrainingOptions) -> None:
        sounds, unseen = self._sounds(dataset, plays, run)
        self.base = self._new_base()
        self.base.learn(dataset, plays, self.catalog, run.part("base"))
        played = self.catalog.plays > 0
        at = np.flatnonzero(played[sounds.tracks])
        if not len(at):
            raise DataError(
                "no track that was played has audio",
                where=dataset.path,
                do="segue ingest audio --add finds tracks by uri, or by artist and title",
            )
        self.bag = None
        if self.config.sound == "bag-of-words":
            self.bag = Bag.learn(Subset(sounds.arrays, at), run.seed)
            sounds = sounds._replace(
                arrays=[self.bag(sounds.arrays[i]) for i in range(len(sounds.tracks))]
            )
        lengths = np.square(self.vectors[sounds.tracks[at]]).sum(axis=1)
        self.unit = float(np.float32(max(np.sqrt(lengths.mean()), 1e-6)))  # as a bundle keeps it
        self.scale = 1.0
        artists = self.catalog.artists[sounds.tracks]
        beside = self._beside(artists, sounds.tracks)
        wanted = self.vectors[sounds.tracks] / np.float32(self.unit)
        examples = Examples(sounds.tracks, sounds.arrays, beside, wanted)
        rng = np.random.default_rng([run.seed, 3])
        order = at[rng.permutation(len(at))]
        held = np.sort(order[: round(_HELD * len(at)) or (len(at) > 1)])
        if np.isin(sounds.tracks[at], unseen).any():
            held = at[np.isin(sounds.tracks[at], unseen)]
        learned = np.setdiff1d(at, held)
        if self.config.sound != "none" and len(learned) < _FEW:
            told = f"audio: only {len(learned)} tracks with sound and plays to learn from"
            run.note(f"{told}: what it tells of others is a guess")
        self.tower = learn_tower(
            self.config,
            self._form(sounds),
            examples.only(learned),
            examples.only(held),
            self._weighted_rows(dataset, plays),
            run,
        )
        self._calibrate(dataset, examples.only(held), rng)
        run.note(f"audio: predicted vectors times {self.scale:.3g}")
        cold = np.flatnonzero(
            ~played[sounds.tracks] & (self.config.sound != "none" or beside[:, -1:].any(axis=1))
        )
        vectors = self._vectors(Subset(sounds.arrays, cold), beside[cold])
        self.base = self.base.placing(sounds.tracks[cold], vectors)

    def _weighted_rows(self, dataset: Dataset, plays: Any) -> WeightedRows | None:
        """What the base was factorised from, for the objective "wpe"."""
        if self.config.objective != "wpe":
            return None
        wrmf = cast("WRMF", self.base)  # the only base with confidences: see `__init__`
        counts = wrmf.training_rows(dataset, plays)
        return WeightedRows(wrmf.row_vectors, counts, wrmf.confidence_of(counts.data), self.unit)

    def _sounds(self, dataset: Dataset, plays: Any, run: TrainingOptions) -> tuple[Sounds, Int64]:
        """What is heard; and tracks that what hears has not learned from, where it learns."""
        if self.content is not None:
            return self.content.learn(dataset, plays, self.catalog, run.part("larp"))
        nothing = np.zeros(0, np.int64)
        if self.sound != "none":
            return audio_features.extracted(dataset, self.sound, run), nothing
        rows = np.arange(len(self.catalog), dtype=np.int32)
        return Sounds(rows, np.zeros((len(rows), 0), np.float32)), nothing

    def _form(self, sounds: Sounds) -> Form:
        return form_of(self.config, sounds.arrays[0].shape[-1], self.vectors.shape[1])

    def _calibrate(self, dataset: Dataset, held: Examples, rng: np.random.Generator) -> None:
        predicted = self._vectors(held.sounds, held.beside)
        self.scale = find_scale(self.base.space, *sequences(dataset), held.tracks, predicted, rng)

    # Placing

    @property
    def _artists(self) -> Artists:
        return Artists(self.catalog.artists, self.catalog.plays > 0, self.vectors)

    def _beside(self, artists: Int32, without: Int32 | None = None) -> Float32:
        """What towers are told of artists, in units. (n, factors + 1), or (n, 0)"""
        if not self.config.artist:
            return np.zeros((len(artists), 0), np.float32)
        beside = self._artists.beside(artists, without)
        beside[:, :-1] /= np.float32(self.unit)
        return beside

    def _vectors(self, sounds: Arrays, beside: Float32) -> Float32:
        """Vectors in the base's space. (n, factors)"""
        if not len(sounds):
            return np.zeros((0, self.vectors.shape[1]), np.float32)
        y = beside[:, :-1] if self.tower is None else self.tower(sounds, beside)
        if self.tower is not None and self.config.objective == "contrastive":
            y = lengthened(y)
        return y * np.float32(self.unit * self.scale)

    def _placed(self, sounds: Arrays, tracks: pa.Table) -> Float32:
        beside = self._beside(artists_of(self.catalog, tracks))
        if self.content is not None:
            content = self.content(sounds, tracks)
            return self._vectors(content, beside) * content.any(axis=1, keepdims=True)
        vectors = self._vectors(sounds, beside)
        if self.sound == "none":
            vectors[beside[:, -1] == 0] = 0
        return vectors

    def with_tracks(self, tracks: pa.Table, vectors: Float32) -> Self:
        more = copy.copy(self)
        more.base = self.base.with_tracks(tracks, vectors)
        more.catalog = more.base.catalog
        return more

    # Answers: the base's

    @property
    def vectors(self) -> Float32:
        """Of all tracks, learned and placed. (tracks, factors)"""
        return self.base.space.vectors

    @property
    def item_vectors(self) -> Float32:
        return self.vectors

    def fallbacks(self) -> dict[str, Recommender]:
        return self.base.fallbacks()

    def batch_size(self) -> int:
        return self.base.batch_size()

    @property
    def reads_titles(self) -> bool:
        return self.base.reads_titles

    @property
    def reads_past(self) -> bool:
        return self.base.reads_past

    def answerable(self, queries: Queries) -> npt.NDArray[np.bool_]:
        return self.base.answerable(queries)

    def serves(self, queries: Queries) -> list[str]:
        own = self.base.name
        return [self.name if model == own else model for model in self.base.serves(queries)]

    def top_n(self, queries: Queries, excluded: Ragged, n: int) -> Best:
        return self.base.top_n(queries, excluded, n)

    def rank_of(self, queries: Queries, excluded: Ragged, targets: Ragged) -> Int64:
        return self.base.rank_of(queries, excluded, targets)

    def score_candidates(self, queries: Queries, candidates: Ragged) -> Float32:
        return self.base.score_candidates(queries, candidates)

    def _explain(self, query: Query, tracks: Int32) -> list[list[Reason]]:
        return self.base.explain(query, tracks)

    # Bundles

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        tensors: dict[str, npt.NDArray[Any]] = {
            "units": np.array([self.unit, self.scale], np.float32)
        }
        parts: dict[str, Mapping[str, npt.NDArray[Any]]] = {"base": self.base.tensors()}
        if self.tower is not None:
            parts["tower"] = self.tower.arrays
        if self.bag is not None:
            parts["bag"] = self.bag.tensors()
        if self.content is not None:
            parts["larp"] = self.content.tensors()
        for prefix, part in parts.items():
            tensors |= {f"{prefix}.{name}": tensor for name, tensor in part.items()}
        return tensors

    def restore(self, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        self.unit, self.scale = map(float, expect(tensors, "units", np.float32, 2))
        self.base = self._new_base()
        self.base.catalog = self.catalog
        self.base.restore(_part(tensors, "base."))
        self.bag = self.tower = None
        if self.config.tower == "mean":
            return
        inputs = len(expect(tensors, "tower.shift", np.float32, None))
        if self.content is not None:
            self.content.restore(_part(tensors, "larp."))
            inputs = self.content.numbers
        if self.config.sound == "bag-of-words":
            self.bag = Bag.restore(tensors, "bag.", inputs)
        form = form_of(self.config, inputs, self.vectors.shape[1])
        arrays = {
            name: expect(tensors, f"tower.{name}", np.float32, *shape)
            for name, shape in form.shapes.items()
        }
        self.tower = Tower(form, arrays)


def _part(tensors: Mapping[str, npt.NDArray[Any]], prefix: str) -> dict[str, npt.NDArray[Any]]:
    """Tensors of a model within this one."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
