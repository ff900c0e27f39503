"""Training: what the bundle says about itself, and what a killed training leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from segue.bundle import Bundle
from segue.data.dataset import Dataset
from segue.errors import UsageError
from segue.operations.train import train
from segue.protocols.base import PROTOCOLS
from segue.protocols.fingerprints import learned_hashes
from segue.recipe import load_recipe
from segue.simulation import World, make_world
from segue.system.environment import peak_rss_mb


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Dataset:
    folder = tmp_path_factory.mktemp("world") / "dataset"
    make_world(folder, World(tracks=300, listeners=20, sessions=50, playlists=200))
    return Dataset.open(folder)


def test_the_manifest_says_where_the_bundle_came_from(world, tmp_path):
    bundle, _ = train(load_recipe("user-knn", ["beta=0.5"]), world, seed=7)
    bundle.save(tmp_path / "b")
    manifest = Bundle.load(tmp_path / "b").manifest
    assert manifest.recipe == manifest.recommender == "user-knn"
    assert manifest.config["beta"] == 0.5
    assert set(manifest.config) > {"beta"}  # defaults are written out
    assert manifest.seed == 7
    assert manifest.holdout is None
    assert manifest.dataset == world.info.fingerprint
    assert manifest.simulated
    assert manifest.trained_at.endswith("+00:00")
    assert {"python", "segue", "numpy"} <= set(manifest.libraries)


def test_without_a_holdout_every_row_is_learned_from(world):
    bundle, facts = train(load_recipe("popularity"), world)
    assert np.array_equal(bundle.learned, learned_hashes(world))
    plays = world.plays()
    assert facts.metrics == {
        "playlists": 200,
        "listeners": np.count_nonzero(np.diff(plays.indptr)[200:]),
        "tracks": len(np.unique(plays.indices)),
        "pairs": plays.nnz,
    }


def test_a_holdout_is_not_learned_from(world):
    bundle, facts = train(load_recipe("popularity"), world, seed=3, holdout="challenge")
    split = PROTOCOLS["challenge"].split(world, 3)
    assert np.array_equal(bundle.learned, learned_hashes(split.train))
    assert facts.metrics["playlists"] < 200
    plays = split.train.plays()
    assert bundle.catalog.plays.tolist() == np.bincount(plays.indices, minlength=300).tolist()
    assert bundle.manifest.holdout is not None
    assert (bundle.manifest.holdout.protocol, bundle.manifest.holdout.seed) == ("challenge", 3)


def test_an_unknown_protocol_is_refused(world):
    with pytest.raises(UsageError, match="no protocol is called 'chalenge'"):
        train(load_recipe("popularity"), world, holdout="chalenge")


def test_costs_are_measured(world):
    _, facts = train(load_recipe("popularity"), world)
    assert 0 < facts.seconds < 600
    block = np.ones(64 << 20, np.uint8)
    assert peak_rss_mb() >= block.nbytes / 1e6


# kill -9

SAVES_FOR_EVER = """
import sys
from segue.data.dataset import Dataset
from segue.recipe import load_recipe
from segue.operations.train import train
dataset = Dataset.open(sys.argv[1])
bundles = [train(load_recipe("popularity"), dataset, seed=seed)[0] for seed in (1, 2)]
print("ready", flush=True)
while True:
    for bundle in bundles:
        bundle.save(sys.argv[2])
"""


def kill(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()


def test_kill_9_while_a_bundle_is_written_leaves_one_whole(world, tmp_path):
    rng = np.random.default_rng(0)
    place = tmp_path / "bundle"
    seeds = set()
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVES_FOR_EVER, str(world.path), str(place)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        while not place.exists():
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.2))
        kill(process)
        seeds.add(Bundle.load(place).manifest.seed)
    assert seeds <= {1, 2}
    train(load_recipe("popularity"), world)[0].save(place)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]  # leftovers are swept


def test_kill_9_at_any_moment_of_train_leaves_the_previous_bundle(world, tmp_path):
    place = tmp_path / "bundle"
    previous, _ = train(load_recipe("popularity"), world, seed=1)
    previous.save(place)
    command = [sys.executable, "-c", "from segue.cli import main; main()", "train", "popularity"]
    command += [str(world.path), "--bundle", str(place), "--seed", "2"]
    start = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    whole = time.monotonic() - start
    assert Bundle.load(place).manifest.seed == 2
    rng = np.random.default_rng(1)
    for moment in rng.uniform(0, 1.1, 5):
        previous.save(place)
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
        )
        time.sleep(moment * whole)
        kill(process)
        assert Bundle.load(place).manifest.seed in (1, 2)
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == {"bundle"}
