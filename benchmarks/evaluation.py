"""How fast a whole catalog is ranked, beside the bare matrix product plus top-k.

``python -m benchmarks.evaluation [--json] [--queries N --tracks N --factors N -n N --rounds N]``

Peers do the least that gives n tracks for each query: a float32 product of a block of queries with
all tracks into memory that is there already, and a top-k. Segue ranks exactly, in total order; its
last row also leaves out 50 tracks for each query and computes the metrics. Everything runs in
turns in one process on all cores; times are medians over the rounds. The lengths of the track
vectors are log-normal (0.7), as in a factorisation of Million Playlist Dataset slices. Skipping
lives on that, so one row has tracks of equal length, where nothing can be skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from implicit.cpu.topk import topk as implicit_topk
from threadpoolctl import threadpool_info

from benchmarks.common.run import machine, show
from segue.metrics.ranking import per_query
from segue.numeric.ragged import Ragged
from segue.retrieval.topk import best_of_products

Float32 = npt.NDArray[np.float32]
Rank = Callable[[Float32, Float32, int], npt.NDArray[Any]]

EXCLUDED, TRUTH = 50, 20
METRICS = ("rprec", "rprec_artist", "ndcg@500", "recall@500", "clicks")
SAMPLE = 100
OURS = "segue"
FULL = "segue, 50 excluded, metrics"
EQUAL = "segue, tracks of equal length"


def make_vectors(queries: int, tracks: int, factors: int) -> tuple[Float32, Float32]:
    """Random directions; tracks have log-normal lengths."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((tracks, factors), np.float32)
    vectors *= rng.lognormal(-1, 0.7, (tracks, 1)).astype(np.float32)
    return rng.standard_normal((queries, factors), np.float32), vectors


def segue_rank(queries: Float32, vectors: Float32, n: int) -> npt.NDArray[Any]:
    bias = np.zeros(len(vectors), np.float32)
    return best_of_products(queries, vectors, bias, Ragged.of_lists([[]] * len(queries)), n)[0]


def segue_full(queries: Float32, vectors: Float32, n: int) -> npt.NDArray[Any]:
    tracks = len(vectors)
    rng = np.random.default_rng(1)
    bias = np.zeros(tracks, np.float32)
    starts = rng.integers(0, tracks // EXCLUDED, len(queries))[:, None]
    excluded = (starts + np.arange(EXCLUDED) * (tracks // EXCLUDED)) % tracks
    truth = (starts * 7 + 1 + np.arange(TRUTH) * (tracks // TRUTH)) % tracks
    banned = Ragged(
        np.arange(len(queries) + 1) * EXCLUDED,
        np.sort(excluded, axis=1).astype(np.int32).ravel(),
    )
    ranked, _, _ = best_of_products(queries, vectors, bias, banned, n)
    per_query(
        ranked,
        np.arange(len(queries) + 1) * TRUTH,
        truth.astype(np.int32).ravel(),
        (np.arange(tracks) // 8).astype(np.int32),
        METRICS,
    )
    return ranked


def in_blocks(block: int, product: str, top: str) -> Rank:
    """Bare product and top-k, each by numpy or torch."""

    def rank(queries: Float32, vectors: Float32, n: int) -> npt.NDArray[Any]:
        best = np.empty((len(queries), n), np.int64)
        room = np.empty((min(block, len(queries)), len(vectors)), np.float32)
        tracks = torch.from_numpy(vectors).T
        for start in range(0, len(queries), block):
            some = queries[start : start + block]
            scores = room[: len(some)]
            if product == "torch":
                torch.mm(torch.from_numpy(some), tracks, out=torch.from_numpy(scores))
            else:
                np.matmul(some, vectors.T, out=scores)
            rows = slice(start, start + len(some))
            if top == "torch":
                best[rows] = torch.topk(torch.from_numpy(scores), n).indices.numpy()
            else:
                unsorted = np.argpartition(scores, -n, axis=1)[:, -n:]
                order = np.argsort(-np.take_along_axis(scores, unsorted, axis=1), axis=1)
                best[rows] = np.take_along_axis(unsorted, order, axis=1)
        return best

    return rank


def implicit_rank(queries: Float32, vectors: Float32, n: int) -> npt.NDArray[Any]:
    return np.asarray(implicit_topk(vectors, queries, n)[0])


PEERS: dict[str, Rank] = {
    "torch product + topk, 256 queries": in_blocks(256, "torch", "torch"),
    "torch product + topk, 1024 queries": in_blocks(1024, "torch", "torch"),
    "numpy product + torch topk, 256 queries": in_blocks(256, "numpy", "torch"),
    "numpy product + argpartition + sort, 256 queries": in_blocks(256, "numpy", "numpy"),
    "implicit.cpu.topk": implicit_rank,
}


def times_in_turns(
    works: dict[str, Callable[[], object]], rounds: int, pause: float = 0
) -> dict[str, float]:
    """Median seconds of each. In a pause, threads that wait for work in a loop go to sleep."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            time.sleep(pause)
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(some) for name, some in seconds.items()}


def agreement(found: npt.NDArray[Any], queries: Float32, vectors: Float32) -> tuple[float, float]:
    """Share of the true best n that was found, and share of lists in the true order."""
    scores = (queries.astype(np.float64) @ vectors.astype(np.float64).T).astype(np.float32)
    ids = np.arange(len(vectors))
    truth = np.array([np.lexsort((ids, -row))[: found.shape[1]] for row in scores])
    pairs = list(zip(found, truth, strict=True))
    shared = np.mean([np.isin(a, b).mean() for a, b in pairs])
    return float(shared), float(np.mean([(a == b).all() for a, b in pairs]))


def measure(queries: int, tracks: int, factors: int, n: int, rounds: int) -> dict[str, Any]:
    """All rows for many queries, then milliseconds for few."""
    asked, vectors = make_vectors(queries, tracks, factors)
    equal = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    ranks: dict[str, tuple[Rank, Float32]] = {
        OURS: (segue_rank, vectors),
        FULL: (segue_full, vectors),
        EQUAL: (segue_rank, equal),
    } | {name: (rank, vectors) for name, rank in PEERS.items()}
    few = asked[:SAMPLE]
    quality = {  # compiles and warms up, too
        name: agreement(rank(few, given, n), few, given)
        for name, (rank, given) in ranks.items()
        if name != FULL
    }
    segue_full(few, vectors, n)

    def run(rank: Rank, given: Float32, count: int) -> Callable[[], object]:
        return lambda: rank(asked[:count], given, n)

    works = {name: run(rank, given, queries) for name, (rank, given) in ranks.items()}
    seconds = times_in_turns(works, rounds)
    rows = [
        {
            "what": name,
            "seconds": seconds[name],
            "queries a second": queries / seconds[name],
            "times segue": seconds[name] / seconds[OURS],
            "found": quality[name][0] if name in quality else None,
            "in true order": quality[name][1] if name in quality else None,
        }
        for name in ranks
    ]
    sizes = []
    for count in (1, 4, 16, 64):
        some = {
            name: run(rank, vectors, count) for name, rank in {OURS: segue_rank, **PEERS}.items()
        }
        took = times_in_turns(some, 15, pause=0.05)
        peer = min(PEERS, key=lambda name: took[name])
        sizes.append(
            {
                "queries": count,
                "segue, ms": took[OURS] * 1e3,
                "fastest peer, ms": took[peer] * 1e3,
                "which": peer,
            }
        )
    return {
        "ratio": min(seconds[name] for name in PEERS) / seconds[OURS],
        "rows": rows,
        "few": sizes,
        "machine": machine(),
        "libraries": libraries(),
        "queries": queries,
        "tracks": tracks,
        "factors": factors,
        "n": n,
    }


def libraries() -> str:
    """Threads and kinds of the linear algebra that peers use."""
    parts = {
        f"{info['internal_api']} {info.get('architecture', '')} {info['num_threads']} threads"
        for info in threadpool_info()
    }
    forced = [f"{key}={value}" for key, value in os.environ.items() if key.startswith("OPENBLAS_")]
    return ", ".join([*sorted(parts), f"torch {torch.get_num_threads()} threads", *sorted(forced)])


def main() -> None:
    parser = argparse.ArgumentParser(description="Ranking of a whole catalog beside bare top-k.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--tracks", type=int, default=200_000)
    parser.add_argument("--factors", type=int, default=128)
    parser.add_argument("-n", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    words = parser.parse_args()
    found = measure(words.queries, words.tracks, words.factors, words.n, words.rounds)
    if words.json:
        print(json.dumps(found))
        return
    title = "{queries:,} queries x {tracks:,} tracks x {factors} factors, best {n}".format(**found)
    show(
        title,
        found["rows"],
        f"Ratio (fastest peer / segue): {found['ratio']:.2f}",
        "found: share of the best by float64, on a sample; in true order: lists that equal it.",
    )
    show("Few queries at a time", found["few"], found["machine"], found["libraries"])


if __name__ == "__main__":
    main()
