"""The peer of the benchmark of the service: `implicit` behind a plain FastAPI route.

    python -m benchmarks.peers.service VECTORS.npz

A model of given track vectors folds each history in and ranks the catalog, as its documentation
shows it (`recalculate_user`). Answers are uris and scores.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import numpy as np
import scipy.sparse as sp
import uvicorn
from fastapi import FastAPI
from implicit.cpu.als import AlternatingLeastSquares
from pydantic import BaseModel


class Asked(BaseModel):
    """A history, and how many tracks are wanted."""

    tracks: list[str]
    n: int = 20


def make(path: str) -> FastAPI:
    """The app."""
    with np.load(path) as saved:
        vectors, uris = saved["vectors"], saved["uris"].tolist()
    model: Any = AlternatingLeastSquares(factors=vectors.shape[1], num_threads=1)
    model.item_factors = vectors
    model.user_factors = np.zeros((1, vectors.shape[1]), np.float32)
    rows = {uri: row for row, uri in enumerate(uris)}
    app = FastAPI()

    @app.post("/v1/continue")
    def continue_(asked: Asked) -> list[dict[str, Any]]:
        at = [rows[uri] for uri in asked.tracks]
        history = sp.csr_matrix(
            (np.ones(len(at), np.float32), (np.zeros(len(at), int), at)), (1, len(uris))
        )
        best, scores = model.recommend(0, history, N=asked.n, recalculate_user=True)
        return [
            {"uri": uris[row], "score": float(score)}
            for row, score in zip(best, scores, strict=True)
        ]

    return app


def main() -> None:
    """Serve on a free port, said on stderr."""
    config = uvicorn.Config(make(sys.argv[1]), port=0, log_level="warning")
    listening = config.bind_socket()
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.listen()
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", file=sys.stderr, flush=True)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


if __name__ == "__main__":
    main()
