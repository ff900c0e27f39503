"""Bundles: what is saved comes back, and nothing damaged is used."""

from __future__ import annotations

import ast
import json
import struct
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from support.golden_answers import disagreement, on_reference

import segue
from segue.bundle import BUNDLE_VERSION, Bundle
from segue.data.dataset import Dataset
from segue.errors import BundleError, DataError, SegueError
from segue.models.base.recommender import RECOMMENDERS
from segue.operations.train import train
from segue.queries import Queries, Query
from segue.recipe import load_recipe
from segue.simulation import World, make_world
from segue.system.files import sha256

GOLDEN = Path(__file__).parent / "golden"
FILES = ("manifest.json", "model.safetensors", "catalog.arrow", "learned.safetensors")
WITH_TENSORS = "wrmf"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Bundle:
    folder = tmp_path_factory.mktemp("world") / "dataset"
    make_world(folder, World(tracks=200, listeners=0, sessions=0, playlists=100))
    few = load_recipe(WITH_TENSORS, ["factors=8", "sweeps=2"])
    return train(few, Dataset.open(folder))[0]


@pytest.fixture
def saved(trained, tmp_path) -> Path:
    trained.save(tmp_path / "bundle")
    return tmp_path / "bundle"


def change_manifest(bundle: Path, **fields: Any) -> None:
    file = bundle / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"seal": ""} | fields))


def change_tensors(bundle: Path, name: str, tensor: np.ndarray[Any, Any]) -> None:
    """Another tensor, under a manifest that vouches for it."""
    file = bundle / "model.safetensors"
    safetensors.numpy.save_file(safetensors.numpy.load_file(file) | {name: tensor}, file)
    vouch(bundle, file.name)


def vouch(bundle: Path, name: str) -> None:
    files = json.loads((bundle / "manifest.json").read_text())["files"]
    change_manifest(bundle, files=files | {name: sha256(bundle / name)})


# Save and load


def test_all_files_may_be_read_by_whoever_may_read_one(saved):
    assert len({(saved / name).stat().st_mode for name in FILES}) == 1


def test_what_is_saved_comes_back(trained, saved):
    loaded = Bundle.load(saved)
    assert loaded.manifest == trained.manifest
    assert loaded.catalog.table.equals(trained.catalog.table)
    assert np.array_equal(loaded.learned, trained.learned)
    for name, tensor in trained.recommender.tensors().items():
        assert np.array_equal(loaded.recommender.tensors()[name], tensor)
    queries = Queries.of([Query(tracks=[0, 5]), Query(tracks=[7], bans=[1])])
    before, after = (b.recommender.recommend(queries, 20) for b in (trained, loaded))
    assert before.tracks.tobytes() == after.tracks.tobytes()
    assert before.scores.tobytes() == after.scores.tobytes()


def test_saving_again_gives_the_same_bytes(saved, tmp_path):
    Bundle.load(saved).save(tmp_path / "again")
    for name in FILES:
        assert (saved / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_a_bundle_is_these_files(saved):
    assert sorted(path.name for path in saved.iterdir()) == sorted(FILES)


def test_saving_replaces_a_bundle_and_nothing_else(trained, saved, tmp_path):
    trained.save(saved)
    other = tmp_path / "letters"
    other.mkdir()
    (other / "to-mum.txt").write_text("dear")
    with pytest.raises(DataError, match=r"exists and has no manifest\.json"):
        trained.save(other)
    assert [path.name for path in other.iterdir()] == ["to-mum.txt"]


def test_values_that_are_not_finite_are_not_saved(trained, saved, tmp_path):
    broken = Bundle.load(saved)
    name, tensor = next(
        (n, t) for n, t in broken.recommender.tensors().items() if t.dtype.kind == "f"
    )
    broken.recommender.tensors = lambda: {name: np.full_like(tensor, np.nan)}  # type: ignore[method-assign]
    with pytest.raises(BundleError, match=rf"tensor {name}: .*not finite"):
        broken.save(tmp_path / "broken")
    assert not (tmp_path / "broken").exists()


# Damage


@pytest.mark.parametrize("name", FILES[1:])
def test_a_flipped_byte_is_noticed(saved, name):
    whole = (saved / name).read_bytes()
    for place in (0, len(whole) // 2, len(whole) - 1):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        (saved / name).write_bytes(flipped)
        with pytest.raises(BundleError, match=rf"{name}: does not match its SHA-256"):
            Bundle.load(saved)


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_is_noticed(saved, name):
    whole = (saved / name).read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 2):
        (saved / name).write_bytes(whole[:length])
        with pytest.raises(BundleError, match=name):
            Bundle.load(saved)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_noticed(saved, name):
    (saved / name).unlink()
    with pytest.raises(BundleError, match=name):
        Bundle.load(saved)


@given(st.data())
@settings(max_examples=60)
def test_every_change_of_a_byte_of_the_manifest_is_noticed(trained, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("flip") / "bundle"
    trained.save(folder)
    text = bytearray((folder / "manifest.json").read_bytes())
    place = data.draw(st.integers(0, len(text) - 1))
    text[place] ^= data.draw(st.integers(1, 255))
    (folder / "manifest.json").write_bytes(text)
    with pytest.raises(SegueError):
        Bundle.load(folder)


def test_a_manifest_without_a_seal_is_read(saved):
    change_manifest(saved)
    assert Bundle.load(saved).manifest.seal == ""


def test_a_deeply_nested_manifest_is_refused(saved):
    (saved / "manifest.json").write_text("[" * 1_000_000)
    with pytest.raises(BundleError, match="is not valid JSON"):
        Bundle.load(saved)


def test_a_bundle_that_is_a_file_or_nothing_is_refused(tmp_path):
    file = tmp_path / "bundle"
    with pytest.raises(BundleError, match="is not a bundle"):
        Bundle.load(file)
    file.write_text("hello")
    with pytest.raises(BundleError, match="is not a bundle"):
        Bundle.load(file)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"format": "segue-dataset"}, "is not the manifest of a segue bundle"),
        ({"version": BUNDLE_VERSION + 1}, "use a newer segue"),
        ({"version": 0}, "has format 0"),
        ({"version": "1"}, "version"),
        ({"sael": ""}, "unknown field sael"),
        ({"recommender": "oracle"}, "names the recommender 'oracle'"),
        ({"config": {"loudness": 11}}, "unknown setting loudness"),
        ({"config": 3}, "config"),
        ({"seed": None}, "seed"),
        ({"files": {}}, "does not match its SHA-256"),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(saved, fields, line):
    change_manifest(saved, **fields)
    with pytest.raises(SegueError, match=line):
        Bundle.load(saved)


# Damage that the manifest vouches for


def change_catalog(bundle: Path, column: str, values: pa.Array) -> None:
    file = bundle / "catalog.arrow"
    table = pa.ipc.open_file(file.read_bytes()).read_all()
    at = table.schema.get_field_index(column)
    table = table.set_column(at, column, values)
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    vouch(bundle, file.name)


def test_a_catalog_with_nulls_or_text_that_is_not_utf_8_is_refused(trained, saved):
    size = len(trained.catalog)
    offsets = pa.py_buffer(np.arange(size + 1, dtype=np.int32))
    wild = pa.Array.from_buffers(pa.string(), size, [None, offsets, pa.py_buffer(b"\xff" * size)])
    for column, values in (("uri", pa.nulls(size, pa.string())), ("title", wild)):
        change_catalog(saved, column, values)
        with pytest.raises(BundleError, match=r"catalog\.arrow: is not a readable catalog"):
            Bundle.load(saved)


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3"])
def test_tensors_of_types_that_numpy_lacks_are_refused(saved, dtype):
    size = {"BF16": 4, "F8_E4M3": 2}[dtype]
    header = json.dumps({"x": {"dtype": dtype, "shape": [2], "data_offsets": [0, size]}}).encode()
    content = len(header).to_bytes(8, "little") + header + bytes(size)
    (saved / "model.safetensors").write_bytes(content)
    vouch(saved, "model.safetensors")
    with pytest.raises(BundleError, match="is not a readable safetensors file"):
        Bundle.load(saved)


def some_floats(bundle: Path) -> tuple[str, np.ndarray[Any, Any]]:
    tensors = safetensors.numpy.load_file(bundle / "model.safetensors")
    return next((n, t) for n, t in tensors.items() if t.dtype == np.float32 and t.ndim == 2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_tensors_hold_finite_numbers(saved, value):
    name, tensor = some_floats(saved)
    tensor[3, 2] = value
    change_tensors(saved, name, tensor)
    with pytest.raises(
        BundleError, match=rf"tensor {name}: holds values that are not finite or beyond 1e\+08"
    ):
        Bundle.load(saved)


def test_tensors_have_their_shapes_and_types(saved):
    name, tensor = some_floats(saved)
    for other in (tensor[:-1], tensor[:, :-1], tensor[None], tensor.astype(np.float64)):
        change_tensors(saved, name, np.ascontiguousarray(other))
        with pytest.raises(BundleError, match=rf"tensor {name}: is float.*needs float32"):
            Bundle.load(saved)


def header(fields: dict[str, Any], length: int | None = None) -> bytes:
    text = json.dumps(fields).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 7,
        header({}, length=2**63),
        header({"a": TENSOR}, length=10**9) + b"\x00" * 8,
        header({"a": TENSOR, "b": {**TENSOR, "data_offsets": [4, 12]}}) + b"\x00" * 12,
        header({"a": {**TENSOR, "data_offsets": [0, 2**62]}}) + b"\x00" * 8,
        header({"a": {**TENSOR, "shape": [2**40, 2**40]}}) + b"\x00" * 8,
        header({"a": {**TENSOR, "dtype": "OBJECT"}}) + b"\x00" * 8,
        struct.pack("<Q", 4) + b"nope",
    ],
    ids=[
        "empty",
        "no length",
        "huge header",
        "header beyond the file",
        "overlapping tensors",
        "tensor beyond the file",
        "shape that overflows",
        "unknown type",
        "not JSON",
    ],
)
def test_malformed_safetensors_are_refused(saved, content):
    (saved / "model.safetensors").write_bytes(content)
    vouch(saved, "model.safetensors")
    with pytest.raises(BundleError, match="is not a readable safetensors file"):
        Bundle.load(saved)


def test_a_malformed_catalog_is_refused(saved):
    whole = (saved / "catalog.arrow").read_bytes()
    for content in (b"", b"ARROW1", whole[: len(whole) // 2], b"\xff" * 1000):
        (saved / "catalog.arrow").write_bytes(content)
        vouch(saved, "catalog.arrow")
        with pytest.raises(BundleError):
            Bundle.load(saved)


# Every format that was ever written


def golden() -> list[Path]:
    return sorted(path for path in GOLDEN.glob("bundle-v*") if path.is_dir())


def test_every_recommender_has_a_golden_bundle_of_this_format():
    names = {path.name for path in golden()}
    assert {f"bundle-v{BUNDLE_VERSION}-{name}" for name in RECOMMENDERS} <= names


@pytest.mark.parametrize("path", golden(), ids=lambda path: path.name)
def test_a_golden_bundle_gives_its_recorded_answers(path):
    recorded = json.loads((GOLDEN / f"{path.name}.json").read_text(encoding="utf-8"))
    recommender = Bundle.load(path).recommender
    for asked in recorded:
        query = msgspec.convert(asked["query"], Query)
        slate = recommender.recommend(Queries.of([query]), len(asked["tracks"]))[0]
        wrong = disagreement(
            slate.tracks.tolist(), slate.scores.tolist(), asked["tracks"], asked["scores"],
            reference=on_reference(),
        )  # fmt: skip
        assert wrong is None, f"{asked['query']}: {wrong}"
        assert slate.served_by == asked["served_by"]


@pytest.mark.parametrize("path", golden(), ids=lambda path: path.name)
def test_a_golden_bundle_is_the_same_when_it_is_saved_again_on_every_system(path, tmp_path):
    loaded = Bundle.load(path)
    loaded.save(tmp_path / "a")
    again = Bundle.load(tmp_path / "a")
    again.save(tmp_path / "b")
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    for name in ("model.safetensors", "learned.safetensors"):
        assert (path / name).read_bytes() == (tmp_path / "a" / name).read_bytes(), name
    # Its compression is that of pyarrow, whose versions pack in other ways.
    assert again.catalog.table.equals(Bundle.load(path).catalog.table)


RECORDED = ([3, 1, 4, 5], [9.0, 2.0, 1.99995, 1.0])


@pytest.mark.parametrize(
    ("tracks", "scores", "here", "elsewhere"),
    [
        ([3, 1, 4, 5], [9.0, 2.0, 1.99995, 1.0], True, True),
        ([3, 1, 4, 5], [9.000005, 2.0, 1.99995, 1.0], True, True),
        ([3, 1, 4, 5], [9.0005, 2.0, 1.99995, 1.0], False, True),
        ([3, 1, 4, 5], [9.01, 2.0, 1.99995, 1.0], False, False),
        ([3, 4, 1, 5], [9.0, 2.0, 1.99995, 1.0], False, True),  # these two are too near
        ([1, 3, 4, 5], [9.0, 2.0, 1.99995, 1.0], False, False),  # these are not
        ([3, 1, 4, 6], [9.0, 2.0, 1.99995, 1.0], False, True),  # what comes after is not known
        ([3, 1, 4, 3], [9.0, 2.0, 1.99995, 1.0], False, False),
        ([3, 1, 4], [9.0, 2.0, 1.99995], False, False),
        ([3, 1, 4, 5], [float("nan"), 2.0, 1.99995, 1.0], False, False),
    ],
)
def test_recorded_answers_are_compared_as_the_system_allows(tracks, scores, here, elsewhere):
    assert (disagreement(tracks, scores, *RECORDED, reference=True) is None) is here
    assert (disagreement(tracks, scores, *RECORDED, reference=False) is None) is elsewhere


@pytest.mark.parametrize(
    ("system", "machine", "recorded_there"),
    [
        ("linux", "x86_64", True),
        ("linux", "aarch64", False),
        ("darwin", "x86_64", False),
        ("darwin", "arm64", False),
        ("win32", "AMD64", False),
    ],
)
def test_answers_were_recorded_on_linux_on_x86_64(system, machine, recorded_there):
    assert on_reference(system, machine) is recorded_there


@pytest.mark.parametrize("path", golden(), ids=lambda path: path.name)
def test_golden_bundles_are_small(path):
    assert sum(file.stat().st_size for file in path.iterdir()) < 60_000


# No code in data


FORBIDDEN_MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}


def test_nothing_in_the_product_can_run_code_that_it_reads():
    for file in Path(segue.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            where = f"{file}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                roots = {alias.name.split(".")[0] for alias in node.names}
                assert not roots & FORBIDDEN_MODULES, where
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in FORBIDDEN_MODULES, where
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in FORBIDDEN_CALLS, where
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) != ("torch", "load"), where
            if isinstance(node, ast.keyword):
                refused = isinstance(node.value, ast.Constant) and node.value.value is False
                assert node.arg != "allow_pickle" or refused, where
