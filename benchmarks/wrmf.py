"""WRMF against implicit and irspack: time to the same quality, time per sweep, memory, growth.

    python -m benchmarks.wrmf [--json] [--quick]

Every figure is of a process of its own, two threads, the systems in turn. The data are of the
shape of the Million Playlist Dataset (`benchmarks.common.data`). All three minimise the same
objective with the same settings; implicit has no scaled regularisation, so ν = 0. Quality is
NDCG@100 over the full catalogue for playlists of which 20 % of the entries were hidden.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.common.data import holdout, mpd_shape
from benchmarks.common.run import child, machine, peak_mb, show

ALPHA, LAMBDA = 10.0, 100.0
"""Best of α 10, 20 and λ 1, 10, 60, 100, 300, 1000 for every system, on other held-out rows."""
_STEPS = 1
"""Conjugate gradient steps of segue; the peers' three are their defaults and their best."""
SYSTEMS = ("segue", "irspack", "implicit")
_K = 100
_QUERIES = 2000
_SHARES = (1.0, 0.995)
"""Shares of the peers' best NDCG to reach; the second forgives each system its last digits."""

Each = Callable[[float, Any, Any], None]
"""Called after each sweep with its seconds and both factors."""


def _segue(train: sp.csr_matrix, factors: int, sweeps: int, each: Each) -> None:
    from segue.models.wrmf.solver import Weighted, confidence, factorise

    start = time.perf_counter()

    def after(u: Any, v: Any) -> None:
        nonlocal start
        each(time.perf_counter() - start, u, v)
        start = time.perf_counter()

    weighted = Weighted.of(train, lambda counts: confidence(counts, "linear", ALPHA, 1.0))
    rng = np.random.default_rng(0)
    factorise(weighted, factors, LAMBDA, 0.0, sweeps, _STEPS, rng, each=after)


def _irspack(train: sp.csr_matrix, factors: int, sweeps: int, each: Each) -> None:
    from irspack.recommenders.ials import IALSRecommender

    start = time.perf_counter()
    recommender = IALSRecommender(
        train, n_components=factors, alpha0=1 / ALPHA, reg=LAMBDA / ALPHA, nu=0.0, n_threads=2
    )
    trainer = recommender._create_trainer()
    for _ in range(sweeps):
        trainer.run_epoch()
        seconds = time.perf_counter() - start
        each(seconds, trainer.core_trainer.user, trainer.core_trainer.item)
        start = time.perf_counter()


def _implicit(train: sp.csr_matrix, factors: int, sweeps: int, each: Each) -> None:
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors, regularization=LAMBDA, alpha=1.0, iterations=sweeps, num_threads=2, random_state=0
    )
    start = time.perf_counter()

    def after(sweep: int, seconds: float, *_: Any) -> None:
        nonlocal start
        each(time.perf_counter() - start, model.user_factors, model.item_factors)
        start = time.perf_counter()

    plays = sp.csr_matrix((1 + ALPHA * train.data, train.indices, train.indptr), shape=train.shape)
    model.fit(plays, show_progress=False, callback=after)


_FIT = {"segue": _segue, "irspack": _irspack, "implicit": _implicit}


def _quality(test: sp.csr_matrix, train: sp.csr_matrix, u: Any, v: Any) -> float:
    from segue.numeric.ragged import Ragged
    from segue.retrieval.topk import best_of_products

    rows = np.flatnonzero(np.diff(test.indptr))[:_QUERIES]
    seen, hidden = train[rows], test[rows]
    seen.sort_indices()
    v = np.ascontiguousarray(v, np.float32)
    top, _, _ = best_of_products(
        np.ascontiguousarray(u[rows], np.float32),
        v,
        np.zeros(len(v), np.float32),
        Ragged(seen.indptr.astype(np.int64), seen.indices),
        _K,
    )
    gain = 1 / np.log2(np.arange(2, _K + 2))
    ideal = np.cumsum(gain)
    values = []
    for answered, start, stop in zip(top, hidden.indptr[:-1], hidden.indptr[1:], strict=True):
        hits = np.isin(answered, hidden.indices[start:stop])
        values.append((gain * hits).sum() / ideal[min(stop - start, _K) - 1])
    return float(np.mean(values))


def _child(system: str, factors: int, sweeps: int, playlists: int, curve: bool) -> dict[str, Any]:
    """One system on its own: seconds of each sweep, its quality if asked for, peak memory."""
    plays = mpd_shape(playlists, 2 * playlists)
    train, test = holdout(plays, queries=playlists // 10)
    del plays
    before = peak_mb()
    if system == "segue":  # numba compiles once per machine, not once per fit
        _segue(train[:300], factors, 1, lambda *_: None)
    seconds: list[float] = []
    quality: list[float] = []

    def each(spent: float, u: Any, v: Any) -> None:
        seconds.append(spent)
        if curve:
            quality.append(_quality(test, train, u, v))

    _FIT[system](train, factors, sweeps, each)
    return {
        "seconds": seconds, "ndcg": quality, "peak_mb": peak_mb(), "data_mb": before,
        "entries": train.nnz,
    }  # fmt: skip


def _run(system: str, factors: int, sweeps: int, playlists: int, curve: bool) -> dict[str, Any]:
    blas = "1" if system == "implicit" else "2"  # what implicit itself asks for
    return child(
        "benchmarks.wrmf", "--child", system, factors, sweeps, playlists, int(curve),
        OPENBLAS_NUM_THREADS=blas, OMP_NUM_THREADS="2", NUMBA_NUM_THREADS="2",
    )  # fmt: skip


def _matrix_rate() -> float:
    """float32 matrix product of this machine, GFLOP/s, numpy on two threads."""
    size = 4096
    a = np.random.default_rng(0).standard_normal((size, size), np.float32)
    best = min(_timed(lambda: a @ a) for _ in range(5))
    return 2 * size**3 / best / 1e9


def _timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _to_quality(curves: dict[str, list[dict[str, Any]]]) -> tuple[list[dict[str, Any]], float]:
    """Seconds until the peers' best NDCG, by system; and the lower ratio to the fastest peer."""
    best = max(max(run["ndcg"]) for s in SYSTEMS[1:] for run in curves[s])
    rows, ratios = [], []
    for share in _SHARES:
        when = {
            s: statistics.median(_reach(run, share * best) for run in curves[s]) for s in SYSTEMS
        }
        ratios.append(min(when[system] for system in SYSTEMS[1:]) / when["segue"])
        for system in SYSTEMS:
            runs = curves[system]
            rows.append(
                {
                    "ndcg@100 to reach": share * best,
                    "system": system,
                    "seconds": _finite(when[system]),
                    "system / segue": _finite(when[system] / when["segue"]),
                    "all runs": " ".join(f"{_reach(run, share * best):.2f}" for run in runs),
                    "best ndcg@100": max(max(run["ndcg"]) for run in runs),
                }
            )
    return rows, min(ratios)


def _finite(value: float) -> float | None:
    """The value, or None (null in JSON) where the quality was never reached."""
    return value if np.isfinite(value) else None


def _reach(run: dict[str, Any], ndcg: float) -> float:
    """Seconds until a run reached this quality; infinite if it never did."""
    for sweep, quality in enumerate(run["ndcg"]):
        if quality >= ndcg:
            return sum(run["seconds"][: sweep + 1])
    return float("inf")


def measure(quick: bool) -> dict[str, Any]:
    """All figures."""
    playlists, repeats, sweeps = (5_000, 1, 6) if quick else (100_000, 3, 6)
    curves: dict[str, list[dict[str, Any]]] = {system: [] for system in SYSTEMS}
    for _ in range(repeats):
        for system in SYSTEMS:
            curves[system].append(_run(system, 128, sweeps, playlists, True))
    quality, ratio = _to_quality(curves)

    rate = _matrix_rate()
    sweep_rows = []
    for factors in (64, 128, 200):
        runs: dict[str, list[dict[str, Any]]] = {system: [] for system in SYSTEMS}
        for _ in range(repeats):
            for system in SYSTEMS:
                runs[system].append(_run(system, factors, 4, playlists, False))
        took = {s: statistics.median(t for r in runs[s] for t in r["seconds"][1:]) for s in SYSTEMS}
        entries = runs["segue"][0]["entries"]
        for system in SYSTEMS:
            # Two halves; residual and three steps, each a product with the rows and its transpose.
            work = 2 * 4 * 4 * entries * factors
            sweep_rows.append(
                {
                    "factors": factors,
                    "system": system,
                    "s/sweep": took[system],
                    "system / segue": took[system] / took["segue"],
                    "peak MB": max(r["peak_mb"] for r in runs[system]),
                    "of it data": runs[system][0]["data_mb"],
                    "GFLOP/s on entries": work / took[system] / 1e9,
                    "% of matrix rate": 100 * work / took[system] / 1e9 / rate,
                }
            )
    growth = []
    for part in (16, 4, 1):
        run = _run("segue", 128, 4, playlists // part, False)
        took_one = statistics.median(run["seconds"][1:])
        growth.append(
            {
                "playlists": playlists // part,
                "entries": run["entries"],
                "s/sweep": took_one,
                "ns per entry and sweep": took_one / run["entries"] * 1e9,
            }
        )
    return {
        "ratio": ratio,
        "machine": machine(),
        "matrix_gflops": rate,
        "rows": quality,
        "sweeps": sweep_rows,
        "growth": growth,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the data, one repeat")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        system, *numbers = args.child
        factors, sweeps, playlists, curve = map(int, numbers)
        out = os.dup(1)
        os.dup2(2, 1)  # peers print progress on stdout
        result = _child(system, factors, sweeps, playlists, bool(curve))
        os.write(out, json.dumps(result).encode() + b"\n")
        return
    result = measure(args.quick)
    if args.json:
        json.dump(result, sys.stdout)
        return
    show("Time to the peers' best held-out NDCG@100, 128 factors", result["rows"])
    show("Time per sweep (first sweep left out)", result["sweeps"],
         f"matrix product here: {result['matrix_gflops']:.0f} GFLOP/s")  # fmt: skip
    show("Growth, 128 factors", result["growth"], machine())


if __name__ == "__main__":
    main()
