"""How fast the tower of `audio-cnn` trains, beside the machine's matrix rate and torch's Conv1d.

    python -m benchmarks.hearing [--json] [--quick]

A step is forward, loss, backward and AdamW on 30 seconds of sound a track, cropped, with the layers
of the recipe. Its work is counted from the sizes of the layers: two floating-point operations a
product, once forward and twice backward (once for the first layer, which passes no gradient on).
The matrix rate is that of a product of 2,048 x 2,048 matrices, of float32 and of the step's own
type, by the same library, threads and process, before and after. `ratio` is steps a second of what
ships over those of the same network made of `torch.nn.Conv1d` in float32, in one process, in turns.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.run import asked, child, machine, show

_FRAMES = 569
"""A step's crop: 95 % of a clip."""
_BANDS, _FACTORS = 128, 64
_SIDE = 2048


def _form() -> Any:
    from segue.models.audio.config import form_of
    from segue.recipe import load_recipe

    return form_of(load_recipe("audio-cnn").make().config, _BANDS, _FACTORS)


def work(form: Any, clips: int) -> float:
    """Floating-point operations of a step."""
    frames, inputs, total = _FRAMES, form.inputs, 0.0
    for i, (outputs, pool) in enumerate(form.convolutions):
        products = (frames - 3) * 4 * inputs * outputs
        total += 2 * products * (3 if i else 2)
        frames, inputs = (frames - 3) // pool, outputs
    sizes = (form.heard + form.beside, *form.hidden, form.outputs)
    total += sum(6 * a * b for a, b in pairwise(sizes))
    return total * clips


def _plain(network: Any) -> Any:
    """The same layers as a peer would write them: `Conv1d`, `MaxPool1d`, `Linear`."""
    import torch
    from torch import nn

    form = network.form

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            sizes = [form.inputs, *(outputs for outputs, _ in form.convolutions)]
            self.convolutions = nn.ModuleList(nn.Conv1d(a, b, 4) for a, b in pairwise(sizes))
            widths = (form.heard, *form.hidden, form.outputs)
            self.dense = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

        def forward(self, sounds: Any, beside: Any) -> Any:
            h = sounds.transpose(1, 2)
            for layer, (_, pool) in zip(self.convolutions, form.convolutions, strict=True):
                h = torch.max_pool1d(torch.relu(layer(h)), pool)
            l2 = (h.square().mean(2) + 1e-12).sqrt()
            h = torch.cat([h.mean(2), h.amax(2), l2], 1)
            for i, layer in enumerate(self.dense):
                h = layer(torch.relu(h) if i else h)
            return h

    return Plain()


def _matrix_rate(kind: Any) -> float:
    """Operations a second of a large product of a type."""
    import torch

    a, b = torch.randn(_SIDE, _SIDE).to(kind), torch.randn(_SIDE, _SIDE).to(kind)
    return 2 * _SIDE**3 / min(_timed(lambda: a @ b) for _ in range(5))


def _timed(what: Callable[[], Any]) -> float:
    start = time.perf_counter()
    what()
    return time.perf_counter() - start


def steps(_: Path, threads: int, clips: int, turns: int) -> dict[str, Any]:
    """Seconds of a step, the best of several turns, of every way to take it."""
    import torch

    from segue.nn.tower_network import TowerLayers

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    form = _form()
    levels = {"shift": np.zeros(_BANDS, np.float32), "scale": np.ones(_BANDS, np.float32)}
    ours = TowerLayers(form, levels, 0.3)
    sounds, wanted = torch.randn(clips, _FRAMES, _BANDS), torch.randn(clips, _FACTORS)
    nothing = torch.zeros(clips, 0)

    def stepper(network: Any, low: bool) -> Callable[[], None]:
        optimiser = torch.optim.AdamW(network.parameters())

        def step() -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                y = network(sounds, nothing)
            loss = (y.float() - wanted).square().sum(1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

        return step

    plain = _plain(ours)
    ways = {
        "audio-cnn, bfloat16 (ships)": stepper(ours, True),
        "audio-cnn, float32": stepper(ours, False),
        "Conv1d, bfloat16": stepper(plain, True),
        "Conv1d, float32": stepper(plain, False),
    }
    rate, low_rate = _matrix_rate(torch.float32), _matrix_rate(torch.bfloat16)
    for step in ways.values():
        step()
    times = dict.fromkeys(ways, np.inf)
    for _turn in range(turns):
        for name, step in ways.items():
            times[name] = min(times[name], _timed(step))
    rate = max(rate, _matrix_rate(torch.float32))
    low_rate = max(low_rate, _matrix_rate(torch.bfloat16))
    done = work(form, clips)
    return {
        "rows": [
            {
                "threads": threads,
                "what": name,
                "step, s": seconds,
                "clips/s": clips / seconds,
                "GFLOP/s": done / seconds / 1e9,
                "of float32 matrices": done / seconds / rate,
                "of its own type": done / seconds / (low_rate if "bfloat16" in name else rate),
                "float32 matrices, GFLOP/s": rate / 1e9,
            }
            for name, seconds in times.items()
        ]
    }


def main() -> None:
    args = asked(__doc__, {"steps": steps})
    if args is None:
        return
    clips, turns = (8, 2) if args.quick else (32, 7)
    rows: list[dict[str, Any]] = []
    for threads in (1, 2):
        told = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        words = ("--child", "steps", ".", threads, clips, turns)
        rows += child("benchmarks.hearing", *words, **told)["rows"]
    by = {(row["threads"], row["what"]): row["step, s"] for row in rows}
    ratio = by[2, "Conv1d, float32"] / by[2, "audio-cnn, bfloat16 (ships)"]
    title = f"training the tower of audio-cnn, {clips} clips of 30 s a step"
    if args.json:
        print(json.dumps({"ratio": ratio, "machine": machine(), "rows": rows}))
        return
    show(title, rows, f"ratio {ratio:.2f} (two threads)", machine())


if __name__ == "__main__":
    main()
