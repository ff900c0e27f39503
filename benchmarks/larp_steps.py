"""What a step of LARP costs, small and of full size: steps a second and memory, on one thread.

    python -m benchmarks.larp_steps [--json] [--quick]

Each stage takes some steps of the recipe's batch ("larp") or of 2 pairs ("larp-full", which is
meant for a GPU) over sounds of 30 s that are noise and made-up captions; all playlists have ten
tracks. Steps are of the processor's seconds, so that a busy machine tells nearly the same. Memory
is the most that the process held until then.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.run import asked, child, machine, peak_mb, show
from segue.audio.extractors import MIDDLE, SOUNDS
from segue.models.base.recommender import TrainingOptions
from segue.models.larp.config import LARPConfig
from segue.models.larp.encoders.contract import encoders_of
from segue.models.larp.examples import PlaylistSets, TrainingExamples
from segue.recipe import load_recipe

SIZES = {"larp": (64, 10), "larp-full": (2, 4)}
"""Pairs of a step, and steps that are timed, by recipe."""
IN_A_PLAYLIST = 10
ONE_CORE = {f"{name}_NUM_THREADS": "1" for name in ("NUMBA", "OMP", "OPENBLAS", "MKL")}


def _material(config: LARPConfig, batch: int, steps: int) -> TrainingExamples:
    """Tracks for one step more than is timed."""
    rng = np.random.default_rng(0)
    count = batch * (steps + 1)
    extractor: Any = SOUNDS[config.sound]
    frames = round(MIDDLE.seconds * extractor.rate / extractor.mel.hop)
    heard = rng.normal(0, 20, (frames, extractor.mel.bands)).astype(np.float16)
    captions = [
        f"The track Lantern and Queen {i} by DJ Fiyefa {i % 97} on album Sign of the Field {i % 89}"
        for i in range(count)
    ]
    items = (
        [np.roll(heard, i, axis=0) for i in range(count)],
        encoders_of(config)["text"].items(captions),
    )
    lists = max(1, count // 4)
    tracks = [rng.choice(count, min(IN_A_PLAYLIST, count), replace=False) for _ in range(lists)]
    owners = np.repeat(np.arange(lists), [len(some) for some in tracks])
    shared = PlaylistSets.of(owners, np.concatenate(tracks), count)
    return TrainingExamples(np.arange(count, dtype=np.int32), items, shared)


def _steps(_: Path, number: int) -> dict[str, Any]:
    """Steps a second of each stage of a recipe."""
    import torch

    from segue.models.larp.stages import TrainingStages
    from segue.models.larp.training import HeldOutPlaylists, StageTraining

    torch.set_num_threads(1)
    recipe = list(SIZES)[number]
    batch, steps = SIZES[recipe]
    config = load_recipe(recipe, [f"batch={batch}"]).make().config
    assert isinstance(config, LARPConfig)
    material = _material(config, batch, steps)
    held = HeldOutPlaylists(material, [], [])
    network = TrainingStages(
        list(encoders_of(config).values()), material, held, config, TrainingOptions(0)
    ).network
    weights = [sum(p.numel() for p in side.parameters()) for side in network.fast]
    row: dict[str, Any] = {
        "recipe": recipe,
        "weights, million": " + ".join(f"{n / 1e6:.1f}" for n in weights),
        "pairs": batch,
    }
    for count, stage in enumerate(config.stages, 1):
        training = StageTraining(network, material, held, config, config.stages[:count], 0, "")
        network.train()
        taken = training.steps(np.random.default_rng(0))
        next(taken)  # which also fills the tables
        start = time.process_time()
        took = sum(1 for _ in taken)
        row[f"{stage}, steps/s"] = took / (time.process_time() - start)
        row[f"{stage}, MB"] = round(peak_mb())
    return row


def main() -> None:
    """Measure each size in a process of its own."""
    args = asked(__doc__, {"steps": _steps})
    if args is None:
        return
    numbers = [0] if args.quick else range(len(SIZES))
    rows = [
        child("benchmarks.larp_steps", "--child", "steps", ".", number, **ONE_CORE)
        for number in numbers
    ]
    if args.json:
        print(json.dumps({"machine": machine(), "rows": rows}))
        return
    show("LARP: what a step costs, one thread", rows, machine())


if __name__ == "__main__":
    main()
