"""Leakage check: refuses to test a bundle on its training rows."""

from __future__ import annotations

import numpy as np

from segue.bundle import Bundle
from segue.catalog.matching import match_tracks
from segue.data.dataset import Dataset
from segue.errors import BundleError
from segue.protocols.base import Protocol, Test, same_training


def refuse_training_rows(
    name: str,
    bundle: Bundle,
    dataset: Dataset,
    protocol: Protocol,
    seed: int,
    test: Test,
    *,
    all_rows: bool,
) -> None:
    """Refuse a test on training rows of the bundle.

    Raises:
        BundleError: training on `dataset` did not hold out these queries; training on another
            dataset had a playlist or session of the test; or the catalog has plays of a cold track.
    """
    advice = f"train with --holdout {protocol.name} --seed {seed}"
    manifest = bundle.manifest
    if manifest.dataset == dataset.info.fingerprint:
        held = manifest.holdout
        if all_rows:
            raise BundleError(
                "learned from this dataset, so not every row of it can be a test",
                where=name,
                do=f"leave out --all, or {advice} and test without it",
            )
        if held is None:
            raise BundleError("learned from the rows of the test", where=name, do=advice)
        if held.seed != seed or not same_training(held.protocol, protocol.name):
            raise BundleError(
                f"held out {held.protocol} with seed {held.seed}, the test is "
                f"{protocol.name} with seed {seed}",
                where=name,
                do=advice,
            )
        return
    if test.only is not None:
        rows = match_tracks(dataset.tracks.take(test.only), bundle.catalog)
        played = int((bundle.catalog.plays[rows[rows >= 0]] > 0).sum())
        if played:
            raise BundleError(
                f"has plays of {played:,} of the {len(test.only):,} cold tracks",
                where=name,
                do=f"test with --all, or {advice} on this dataset",
            )
        return
    tested = protocol.hashes(dataset)[test.sources]
    known = int(np.isin(tested[tested != 0], bundle.learned).sum())
    if known:
        raise BundleError(
            f"learned from {known} of the {len(test)} {protocol.unit} of the test",
            where=name,
            do=f"test on another dataset, or {advice} on this one",
        )
