"""Is everything here that segue needs, and does it work on this machine?"""

from __future__ import annotations

import platform
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numba
import numpy as np

from segue.audio.workers import core_count
from segue.bundle import Bundle, libraries
from segue.data.dataset import Dataset
from segue.data.ingestion.formats import FORMATS
from segue.data.playlist_export import PLAYLIST_FORMATS
from segue.data.receipt import Receipt
from segue.data.writer import writing_dataset
from segue.errors import SegueError
from segue.models.base.recommender import RECOMMENDERS
from segue.operations.train import train
from segue.protocols.base import PROTOCOLS
from segue.queries import Query
from segue.recipe import load_recipe, shipped
from segue.reranking.list_stage import continue_playlist
from segue.system.environment import lacks
from segue.system.extras import EXTRAS, install

_CHECKED = "item-knn"


class ExtraState(msgspec.Struct, frozen=True):
    """An extra on this machine.

    Attributes:
        installed: whether all of it is there.
        purpose: what it is for; ``for`` in JSON.
        versions: of its libraries that are there.
        missing: its libraries that are not.
        install: the command that installs it.
    """

    installed: bool
    purpose: str = msgspec.field(name="for")
    versions: dict[str, str]
    missing: list[str]
    install: str


class Examination(msgspec.Struct, frozen=True):
    """What ``segue doctor --json`` prints.

    Attributes:
        versions: of segue, python and the libraries that results may depend on.
        cores: that this process may use.
        threads: that numba's kernels use.
        blas: the library that numpy was built with, and its version.
        recommenders, recipes, protocols, formats, playlist_formats: what this segue has.
        extras: libraries that only some of the work needs, by the name of the extra.
        works: whether a tiny recommender was trained, saved, loaded and asked with success.
        trouble: what went wrong if not.
        platform: the system and its processor.
        limits: what this system cannot do, and what happens instead; empty on Linux.
    """

    versions: dict[str, str]
    cores: int
    threads: int
    blas: str
    recommenders: list[str]
    recipes: list[str]
    protocols: list[str]
    formats: list[str]
    playlist_formats: list[str]
    extras: dict[str, ExtraState]
    works: bool
    trouble: str | None
    platform: str
    limits: list[str]


def examine() -> Examination:
    """Look at the installation, and train and ask a recommender on six playlists."""
    trouble = _trouble()
    return Examination(
        versions=libraries(),
        cores=core_count(),
        threads=numba.get_num_threads(),
        blas=_blas(),
        recommenders=sorted(RECOMMENDERS),
        recipes=shipped(),
        protocols=sorted(PROTOCOLS),
        formats=sorted(FORMATS),
        playlist_formats=sorted(PLAYLIST_FORMATS),
        extras=states(),
        works=trouble is None,
        trouble=trouble,
        platform=f"{platform.system()} {platform.machine()}",
        limits=list(map(str, lacks())),
    )


def states() -> dict[str, ExtraState]:
    """Every extra on this machine, by name."""
    found = {}
    for name, extra in EXTRAS.items():
        missing = [library.name for library in extra.missing()]
        versions = {
            library.name: library.version or "unknown"
            for library in extra.libraries
            if library.name not in missing
        }
        how = install(name)
        if name == "gpu" and versions.get("torch", "").endswith("+cpu"):
            missing = ["torch built for GPUs"]
            how = f"pip uninstall -y torch && {how}"  # pip keeps a build that is there
        found[name] = ExtraState(not missing, extra.purpose, versions, missing, how)
    return found


def _blas() -> str:
    built: dict[str, Any] = np.show_config(mode="dicts")  # type: ignore[assignment]
    blas = built.get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()


def _trouble() -> str | None:
    """Half of the playlists hold even tracks, half odd ones: after track 0 come 2 and 4."""
    try:
        with tempfile.TemporaryDirectory(prefix="segue-doctor-") as folder:
            dataset, bundle = Path(folder) / "dataset", Path(folder) / "bundle"
            with writing_dataset(dataset) as writer:
                writer.track_ids([f"track:{i}" for i in range(6)], lambda i: [None] * 7)
                writer.add_playlists(
                    {"uri": [f"playlist:{i}" for i in range(6)]}, [3] * 6, [0, 2, 4, 1, 3, 5] * 3
                )
                receipt = Receipt(format="doctor", unit="playlists", read=6, kept=6)
                writer.finish([receipt], simulated=True)
            trained, _ = train(load_recipe(_CHECKED), Dataset.open(dataset))
            trained.save(bundle)
            loaded = Bundle.load(bundle)
            answered = continue_playlist(loaded.recommender, Query(tracks=[0]), 2).tracks.tolist()
            return None if sorted(answered) == [2, 4] else f"after track 0 came {answered}"
    except (SegueError, OSError) as error:
        return str(error)
