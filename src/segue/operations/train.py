"""Training: a recipe and a dataset become a bundle with its provenance."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from segue.audio.extractors import SOUNDS
from segue.bundle import Bundle, Holdout, Manifest, TrainingReport, libraries
from segue.data.dataset import Dataset
from segue.errors import ConfigError
from segue.models.base.recommender import Recommender, TrainingOptions
from segue.protocols.base import find_protocol
from segue.protocols.fingerprints import learned_hashes
from segue.recipe import Recipe
from segue.system.environment import peak_rss_mb


def train(
    recipe: Recipe,
    dataset: Dataset,
    *,
    seed: int = 0,
    holdout: str | None = None,
    progress: bool = False,
    checkpoint: Path | None = None,
    verbose: bool = False,
) -> tuple[Bundle, TrainingReport]:
    """Fit a recipe's recommender.

    Args:
        recipe: recipe, from `segue.recipe.load_recipe`.
        dataset: training data, before the holdout.
        seed: random seed of training and of the split.
        holdout: protocol whose test rows are held out; None trains on every row.
        progress: show progress on stderr.
        checkpoint: file that long training writes to, and resumes from where the same training
            wrote it.
        verbose: show a line for each epoch, too.

    Returns:
        the bundle, not yet saved, and the report of time, memory and counts.

    Raises:
        UsageError: no such protocol.
        DataError: the dataset lacks data that the recommender needs, or rows to hold out.
    """
    start = time.perf_counter()
    recommender = recipe.make()
    training_data = find_protocol(holdout).split(dataset, seed).train if holdout else dataset
    try:
        recommender.fit(training_data, TrainingOptions(seed, progress, checkpoint, verbose=verbose))
    except np.linalg.LinAlgError as error:
        raise ConfigError(
            f"training gave values that are not finite ({error})",
            where=f"recipe {recipe.name}",
            do="take settings nearer to the defaults",
        ) from error
    bundle = bundle_of(recommender, dataset, training_data, recipe.name, seed, holdout)
    bundle.report = TrainingReport(
        seconds=round(time.perf_counter() - start, 3),
        peak_rss_mb=round(peak_rss_mb(), 1),
        metrics=bundle.manifest.metrics,
    )
    return bundle, bundle.report


def bundle_of(
    recommender: Recommender,
    dataset: Dataset,
    training_data: Dataset,
    recipe: str,
    seed: int,
    holdout: str | None = None,
) -> Bundle:
    """Bundle of a trained recommender, with its manifest.

    Args:
        recommender: the trained recommender.
        dataset: the dataset with its test rows.
        training_data: its training rows, or `dataset` itself.
        recipe: name of the recipe.
        seed: seed of training.
        holdout: protocol that made the training side.
    """
    manifest = Manifest(
        recommender=recommender.name,
        recipe=recipe,
        config=msgspec.to_builtins(recommender.config),
        seed=seed,
        holdout=Holdout(protocol=holdout, seed=seed) if holdout else None,
        dataset=dataset.info.fingerprint,
        simulated=dataset.info.simulated,
        trained_at=datetime.now(UTC).isoformat(timespec="seconds"),
        extractor=_extractor(recommender),
        metrics=_counts(training_data, recommender.catalog.plays),
        libraries=libraries(),
    )
    return Bundle(recommender, manifest, learned_hashes(training_data))


def _extractor(recommender: Recommender) -> str | None:
    extractor = SOUNDS.get(recommender.sound or "none")
    return None if extractor is None else extractor.name


def _counts(
    dataset: Dataset, plays: np.ndarray[tuple[int], np.dtype[np.int32]]
) -> dict[str, float]:
    listeners = np.unique(dataset.listens["listener"].to_numpy())
    return {
        "playlists": float(np.count_nonzero(np.diff(dataset.offsets))),
        "listeners": float(len(listeners)),
        "tracks": float(np.count_nonzero(plays)),
        "pairs": float(plays.sum(dtype=np.int64)),
    }
