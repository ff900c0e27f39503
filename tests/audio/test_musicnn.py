"""The musicnn embedding: its weights are read right, the network is the published one."""

from __future__ import annotations

import csv
import importlib.util
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from support.optional import optional, unless_there

from segue.audio import musicnn
from segue.audio.extractors import MUSICNN
from segue.audio.musicnn import FRAMES, embed, network, patches_of
from segue.audio.tensor_bundle import read_tensors
from segue.errors import DataError

installed = unless_there("musicnn")


# A checkpoint as TensorFlow writes it, by hand.


def varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def message(*fields: tuple[int, int | bytes]) -> bytes:
    out = b""
    for field, value in fields:
        if isinstance(value, int):
            out += varint(field << 3) + varint(value)
        else:
            out += varint(field << 3 | 2) + varint(len(value)) + value
    return out


def block(entries: list[tuple[bytes, bytes]], compression: int = 0) -> bytes:
    """Entries whose keys repeat what they share with the one before."""
    out, before = b"", b""
    for key, value in entries:
        shared = next(
            (i for i, (a, b) in enumerate(zip(key, before, strict=False)) if a != b),
            min(len(key), len(before)),
        )
        out += varint(shared) + varint(len(key) - shared) + varint(len(value))
        out += key[shared:] + value
        before = key
    return out + struct.pack("<II", 0, 1) + bytes([compression]) + b"crc!"


def entry(dtype: int, shape: list[int], offset: int, size: int, shard: int = 0) -> bytes:
    dims = b"".join(message((2, message((1, n)))) for n in shape)
    crc = varint(6 << 3 | 5) + b"\1\2\3\4"
    return message((1, dtype), (2, dims), (3, shard), (4, offset), (5, size)) + crc


def write_checkpoint(
    folder: Path, entries: list[tuple[bytes, bytes]], data: bytes, compression: int = 0
) -> str:
    blocks = [block(entries[:2], compression), block(entries[2:], compression)]
    table = b"".join(blocks)
    sizes = [len(b) - 5 for b in blocks]
    handles = [varint(0) + varint(sizes[0]), varint(len(blocks[0])) + varint(sizes[1])]
    index = block([(entries[1][0], handles[0]), (b"\xff", handles[1])])
    footer = varint(0) + varint(0) + varint(len(table)) + varint(len(index) - 5)
    magic = struct.pack("<Q", 0xDB4775248B80FB57)
    prefix = str(folder / "model")
    Path(prefix + ".index").write_bytes(table + index + footer.ljust(40, b"\0") + magic)
    Path(prefix + ".data-00000-of-00001").write_bytes(data)
    return prefix


KERNEL = np.arange(300, dtype=np.float32).reshape(20, 15)
BIAS = np.array([-1.5, 2.0], np.float32)
ENTRIES = [
    (b"", message((1, 1))),
    (b"dense/bias", entry(1, [2], 1200, 8)),
    (b"dense/kernel", entry(1, [20, 15], 0, 1200)),
    (b"dense/scale", entry(1, [], 1208, 4)),
    (b"step", entry(9, [], 1212, 8)),
]
DATA = KERNEL.tobytes() + BIAS.tobytes() + struct.pack("<fq", 0.5, 7)


def test_a_checkpoint_is_read_as_it_was_written(tmp_path):
    """Shared parts of names, two blocks, sizes of two bytes, a scalar; whole numbers are left."""
    tensors = read_tensors(write_checkpoint(tmp_path, ENTRIES, DATA))
    assert list(tensors) == ["dense/bias", "dense/kernel", "dense/scale"]
    np.testing.assert_array_equal(tensors["dense/kernel"], KERNEL)
    np.testing.assert_array_equal(tensors["dense/bias"], BIAS)
    assert tensors["dense/scale"].shape == ()
    assert tensors["dense/scale"] == 0.5


@pytest.mark.parametrize("cut", [1, 30, 48, 60, 100])
def test_a_cut_checkpoint_is_one_line(tmp_path, cut):
    prefix = write_checkpoint(tmp_path, ENTRIES, DATA)
    index = Path(prefix + ".index")
    index.write_bytes(index.read_bytes()[cut:])
    with pytest.raises(DataError, match="not a whole TensorFlow checkpoint; install it again"):
        read_tensors(prefix)


def test_numbers_that_are_missing_are_found_out(tmp_path):
    with pytest.raises(DataError, match="not a whole"):
        read_tensors(write_checkpoint(tmp_path, ENTRIES, DATA[:1000]))


def test_checkpoints_of_other_kinds_are_refused(tmp_path):
    with pytest.raises(DataError, match="not a whole"):
        read_tensors(write_checkpoint(tmp_path, ENTRIES, DATA, compression=1))
    sharded = [*ENTRIES[:3], (b"dense/scale", entry(1, [], 1208, 4, shard=1))]
    with pytest.raises(DataError, match="not a whole"):
        read_tensors(write_checkpoint(tmp_path, sharded, DATA))


def test_a_checkpoint_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(DataError, match=r"model\.index: cannot be read"):
        read_tensors(str(tmp_path / "model"))


# The network.


def in_torch(patches: np.ndarray) -> np.ndarray:
    """The network layer by layer in torch, in the order of the authors' code."""
    torch = optional("torch")
    tensors = {
        name.removeprefix("model/"): torch.tensor(array)
        for name, array in read_tensors(f"{musicnn.weights_folder()}/").items()
    }

    def named(kind: str, number: int, what: str):
        return tensors[f"{kind}{f'_{number}' if number else ''}/{what}"]

    def norm(x, number: int):
        """Of the channels, the second axis."""
        mean, variance, gamma, beta = (
            named("batch_normalization", number, what)
            for what in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        return torch.nn.functional.batch_norm(x, mean, variance, gamma, beta, eps=1e-3)

    def conv(x, number: int, pad: tuple[int, int]):
        """Time and frequency in, time and frequency out; padded in time alone."""
        kernel = named("conv2d", number, "kernel").permute(3, 2, 0, 1)
        x = torch.nn.functional.pad(x, (0, 0, *pad))
        x = torch.nn.functional.conv2d(x, kernel, named("conv2d", number, "bias"))
        return norm(torch.relu(x), number + 1)

    x = norm(torch.from_numpy(patches)[:, None], 0)
    pads = [(3, 3), (3, 3), (63, 64), (31, 32), (15, 16)]
    front = [conv(x, i, pad).amax(dim=3) for i, pad in enumerate(pads)]
    features = [torch.cat(front, dim=1)]  # (n, 561, 187)
    for number in (5, 6, 7):
        below = features[-1]
        y = conv(below.transpose(1, 2)[:, None], number, (3, 3))[..., 0]
        features.append(y if number == 5 else y + below)
    whole = torch.cat(features, dim=1)
    pooled = torch.stack([whole.amax(dim=2), whole.mean(dim=2)], dim=2).flatten(1)
    hidden = norm(pooled, 9) @ named("dense", 0, "kernel") + named("dense", 0, "bias")
    return norm(torch.relu(hidden), 10).numpy()


@installed
def test_the_network_is_the_published_one():
    """Against its layers in torch, on patches that are loud, quiet and silent."""
    random = np.random.default_rng(2)
    patches = random.gamma(0.5, 1.0, (3, FRAMES, 96)).astype(np.float32)
    patches[1] *= 3
    patches[2] = 0
    np.testing.assert_allclose(network()(patches), in_torch(patches), rtol=1e-5, atol=1e-4)


@installed
def test_an_embedding_is_the_mean_of_those_of_its_patches():
    samples = np.random.default_rng(0).normal(0, 0.1, 256 * 189).astype(np.float32)
    patches = patches_of(samples)
    assert patches.shape == (4, 187, 96)  # there are no more places in 190 frames
    made = embed(samples)
    assert made.shape == (200,)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, in_torch(patches).mean(axis=0), atol=1e-4)


def test_patches_are_evenly_spaced_over_the_clip():
    """Of ten seconds with a swell, the first patch is the start and the last one the end."""
    n = 16_000 * 10
    samples = np.random.default_rng(0).normal(0, 1, n) * np.linspace(0, 0.5, n)
    patches = patches_of(samples.astype(np.float32))
    spectrum = musicnn.log_mel(samples.astype(np.float32), musicnn.MEL) / np.log(10)
    assert spectrum.shape == (626, 96)
    for patch, start in zip(patches, [0, 48, 97, 146, 195, 243, 292, 341, 390, 439], strict=True):
        np.testing.assert_allclose(patch, spectrum[start : start + 187], rtol=1e-5)


@pytest.mark.parametrize("n", [0, 100, 16_000, 47_600])
def test_what_is_shorter_than_a_patch_is_filled_up_with_silence(n):
    patches = patches_of(np.full(n, 0.1, np.float32))
    assert patches.shape == (1, 187, 96)
    assert not patches[0, 1 + n // 256 :].any()


@installed
def test_silence_and_loud_music_have_finite_embeddings():
    for samples in (np.zeros(47_800, np.float32), np.full(47_800, 1e6, np.float32)):
        assert np.isfinite(embed(samples)).all()


@installed
def test_nothing_of_the_package_is_imported():
    embed(np.zeros(100, np.float32))
    assert not {"musicnn", "tensorflow"} & set(sys.modules)


def test_missing_weights_say_how_to_get_them(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"not installed; pip install --no-deps musicnn==0\.1\.0"):
        musicnn.weights_folder()


@installed
def test_other_weights_are_refused(monkeypatch):
    """Their embeddings would be kept under a name that stands for these."""
    monkeypatch.setattr(musicnn, "_SHA256", "0" * 64)
    network.cache_clear()
    with pytest.raises(DataError, match="not the weights of musicnn"):
        network()
    network.cache_clear()


# Real music.


def shipped(folder: Path) -> tuple[np.ndarray, list[dict[str, str]]]:
    """Embeddings of the whole files by others, centred and of length 1, and what they are of."""
    kept = np.load(folder / "audio/musicnn_msd.npz", allow_pickle=False)["embedding"]
    with (folder / "audio/tracks.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return kept.astype(np.float32), rows


def similarities(a: np.ndarray, b: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Cosines about a centre."""
    a, b = a - centre, b - centre
    return (a @ b.T) / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))


def test_neighbours_of_whole_files_share_their_package(real_data):
    kept, rows = shipped(real_data)
    near = similarities(kept, kept, kept.mean(axis=0))
    np.fill_diagonal(near, -2)
    packages = np.array([row["package"] for row in rows])
    assert (packages[near.argmax(axis=1)] == packages).mean() == pytest.approx(0.557, abs=0.005)


@installed
def test_real_excerpts_are_nearest_to_their_own_whole_files(real_data):
    """Of 345 files; by chance the own one were the nearest once in 345 times."""
    optional("av")
    from segue.audio.features import Analysis

    kept, rows = shipped(real_data)
    some = np.arange(5, 345, 60)
    listen = Analysis(MUSICNN, 240.0)
    made = np.stack([listen(real_data / "audio" / rows[i]["clip"]) for i in some])
    near = similarities(made, kept, kept.mean(axis=0))
    own = near[np.arange(len(some)), some]
    places = (near > own[:, None]).sum(axis=1)
    assert np.median(places) == 0
    assert places.max() < 20
