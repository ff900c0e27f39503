"""A tower from examples: in closed form where there is one, else with torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from segue.models.audio.config import AudioConfig
from segue.models.audio.examples import Examples, WeightedRows
from segue.models.base.audio_features import levels
from segue.models.base.recommender import TrainingOptions
from segue.nn.tower import Form, Tower
from segue.numeric.ridge import ridge
from segue.system.extras import needs
from segue.system.progress import task

_TRUSTS = (1.0, 8.0, 64.0)
"""Tried sizes of the artist's mean beside the sound, for the linear tower."""


def learn_tower(
    config: AudioConfig,
    form: Form,
    learned: Examples,
    held: Examples,
    rows: WeightedRows | None,
    run: TrainingOptions,
) -> Tower | None:
    """The tower that config asks for; None where the artist's mean alone is the vector.

    Args:
        config, form: of the tower.
        learned: to learn from.
        held: tracks that tell when to stop.
        rows: of the factorisation, for the objective "wpe"; None for others.
        run: facts of the run.

    Raises:
        ConfigError: torch is needed and not there, or training diverged.
    """
    if config.tower == "mean":
        return None
    inputs = levels(learned.sounds, alike=config.sound == "bag-of-words")
    if config.tower == "linear" and config.objective == "mse":
        return _closed(form, inputs, learned, held)
    try:
        from segue.models.audio.losses import FactorRows
        from segue.models.audio.training import Plan, TowerTrainer
        from segue.nn.devices import reproducible
    except ImportError as error:
        raise needs("training", "deep", where="audio", cause=error) from error
    factors = None
    if rows is not None:
        factors = FactorRows.of(rows.x, rows.counts, rows.confidence).scaled(rows.unit)
    plan = Plan(
        **{name: getattr(config, name) for name in Plan._fields if name != "seed"}, seed=run.seed
    )
    told = "fitting audio", config.epochs, "epochs"
    with task(*told, show=run.progress) as advance, reproducible(warn_only=True):
        trainer = TowerTrainer(form, inputs, learned, held, factors, plan)
        arrays = trainer.run(
            advance,
            lambda line: run.note(f"audio: {line}"),
            run.checkpoint,
            run.monitor,
            lambda line: run.detail(f"audio: {line}"),
        )
    return Tower(form, arrays)


def _closed(form: Form, inputs: dict[str, Any], learned: Examples, held: Examples) -> Tower:
    """The linear tower with the least squared error.

    What comes of the artist is pulled to zero less than what comes of the sound, by as much as is
    best on the held tracks.
    """

    def heard(some: Examples) -> Any:
        arrays = [some.sounds[i] for i in range(len(some))]
        x = np.reshape(arrays, (len(some), form.inputs)).astype(np.float32)
        return (x - inputs["shift"]) * inputs["scale"]

    sounds, held_sounds = heard(learned), heard(held)
    found = []
    for trust in _TRUSTS if form.artist else (1.0,):
        x, others = (
            np.concatenate([some, np.float32(trust) * beside], axis=1)
            for some, beside in ((sounds, learned.beside), (held_sounds, held.beside))
        )
        weights, bias = ridge(x, learned.wanted, others, held.wanted)
        error = float(np.square(others @ weights + bias - held.wanted).sum())
        weights[form.inputs :] *= np.float32(trust)
        found.append((error, weights, bias))
    _, weights, bias = min(found, key=lambda one: one[0])
    arrays = {**inputs, "dense0": weights, "dense0_bias": bias}
    if form.artist:
        arrays["gate"] = np.zeros(form.artist, np.float32)
    return Tower(form, arrays)
