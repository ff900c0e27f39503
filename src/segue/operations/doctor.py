"""Checks of the installation: the work of ``segue doctor``."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable
from contextlib import suppress
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
from segue.errors import DataError, SegueError
from segue.models.base.recommender import RECOMMENDERS
from segue.operations.train import train
from segue.protocols.base import PROTOCOLS
from segue.queries import Queries, Query
from segue.recipe import load_recipe, settings_of, shipped
from segue.reranking.list_stage import continue_playlist
from segue.system.environment import lacks
from segue.system.extras import EXTRAS, install

_CHECKED = "item-knn"
_ROUNDS = ("epochs", "sweeps", "trees", "folds")
"""Settings that say how long to train."""


class ExtraState(msgspec.Struct, frozen=True):
    """An extra on this machine.

    Attributes:
        installed: whether every library of it is installed.
        purpose: its use; ``for`` in JSON.
        versions: versions of its installed libraries.
        missing: its missing libraries.
        install: the command that installs it.
    """

    installed: bool
    purpose: str = msgspec.field(name="for")
    versions: dict[str, str]
    missing: list[str]
    install: str


class Examination(msgspec.Struct, frozen=True):
    """Output of ``segue doctor --json``.

    Attributes:
        versions: versions of segue, python and the libraries that results may depend on.
        cores: number of cores that this process may use.
        threads: number of threads of numba's kernels.
        blas: the library that numpy was built with, and its version.
        recommenders, recipes, protocols, formats, playlist_formats: names of the available ones.
        extras: state of each optional set of libraries, by name.
        recipe_extras: extras that training each recipe needs, by recipe.
        works: whether training, saving, loading and recommending succeed on a tiny dataset.
        trouble: the error message, or None.
        platform: the system and its processor.
        limits: missing features of this system and their substitutes; empty on Linux.
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
    recipe_extras: dict[str, list[str]]
    works: bool
    trouble: str | None
    platform: str
    limits: list[str]


def examine() -> Examination:
    """Inspect the installation, and train and query a recommender on six playlists."""
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
        recipe_extras={name: sorted(load_recipe(name).make().extras) for name in shipped()},
        works=trouble is None,
        trouble=trouble,
        platform=f"{platform.system()} {platform.machine()}",
        limits=list(map(str, lacks())),
    )


def compile_kernels(report: Callable[[str], None]) -> None:
    """Train and ask each recommender that needs no extra, so that its kernels are compiled.

    Args:
        report: called with a line before each.
    """
    from segue.simulation.world import World, make_world

    with tempfile.TemporaryDirectory(prefix="segue-doctor-") as folder:
        world = World(tracks=300, listeners=20, sessions=60, playlists=120)
        make_world(Path(folder) / "world", world)
        dataset = Dataset.open(Path(folder) / "world")
        made = {recipe.recommender: recipe for recipe in map(load_recipe, shipped())}
        for name, recipe in sorted(made.items()):
            if not all(EXTRAS[extra].installed for extra in recipe.make().extras):
                continue
            report(f"compiling {name}")
            rounds = [s.name for s in settings_of(recipe) if s.name.endswith(_ROUNDS)]
            recipe = recipe.changed(dict.fromkeys(rounds, 1))
            with suppress(DataError):  # the world has no sound
                bundle, _ = train(recipe, dataset)
                for count in (1, 64):  # few queries and many are ranked by kernels of their own
                    queries = Queries.of([Query([0, 1], title="a")] * count)
                    bundle.recommender.recommend(queries, 10)


def states() -> dict[str, ExtraState]:
    """State of every extra on this machine, by name."""
    by_name = {}
    for name, extra in EXTRAS.items():
        missing = [library.name for library in extra.missing()]
        versions = {
            library.name: library.version or "unknown"
            for library in extra.libraries
            if library.name not in missing
        }
        command = install(name)
        if name == "gpu" and versions.get("torch", "").endswith("+cpu"):
            missing = ["torch built for GPUs"]
            command = f"pip uninstall -y torch && {command}"  # pip keeps an installed build
        by_name[name] = ExtraState(not missing, extra.purpose, versions, missing, command)
    return by_name


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
            tracks = continue_playlist(loaded.recommender, Query(tracks=[0]), 2).tracks.tolist()
            return None if sorted(tracks) == [2, 4] else f"after track 0 came {tracks}"
    except (SegueError, OSError) as error:
        return str(error)
