"""No damage to a source makes more than one line of error, a wrong receipt, or half a dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.optional import reason
from support.sounds import wav
from support.source_samples import SAMPLES, TITLES

from segue.data.dataset import Dataset
from segue.data.ingestion.formats import FORMATS
from segue.data.ingestion.ingest import ingest
from segue.data.outcomes import RULES
from segue.data.receipt import Receipt
from segue.data.rederive import derive_again
from segue.errors import DataError, UsageError

PARTS = {"audio", "feedback"}
"""Formats whose samples need an extra: they are made in their tests."""

ENCODINGS = ("latin-1", "cp1252", "utf-16", "utf-16-le", "utf-8-sig", "utf-7", "shift_jis")
PIECES = (
    b'"',
    b"\n",
    b"\r",
    b"\0",
    b",",
    b"\t",
    b"<",
    b"&",
    b"[",
    b"{",
    b"}",
    b"\xff",
    b"\xe2\x82",
)

Damage = Callable[[bytes], bytes]


def cut(place: float) -> Damage:
    return lambda content: content[: round(place * len(content))]


def beheaded(place: float) -> Damage:
    return lambda content: content[round(place * len(content)) :]


def flipped(place: float, bit: int) -> Damage:
    def flip(content: bytes) -> bytes:
        at = min(round(place * len(content)), len(content) - 1)
        return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]

    return lambda content: flip(content) if content else content


def without(place: float, length: int) -> Damage:
    def shorter(content: bytes) -> bytes:
        at = round(place * len(content))
        return content[:at] + content[at + length :]

    return shorter


def swapped(place: float, length: int) -> Damage:
    def swap(content: bytes) -> bytes:
        at = round(place * len(content))
        first, second = content[at : at + length], content[at + length : at + 2 * length]
        return content[:at] + second + first + content[at + 2 * length :]

    return swap


def doubled(place: float, length: int) -> Damage:
    def double(content: bytes) -> bytes:
        at = round(place * len(content))
        return content[: at + length] + content[at:]

    return double


def inserted(place: float, piece: bytes) -> Damage:
    def insert(content: bytes) -> bytes:
        at = round(place * len(content))
        return content[:at] + piece + content[at:]

    return insert


def encoded(encoding: str) -> Damage:
    return lambda content: content.decode(errors="replace").encode(encoding, errors="replace")


def grown_number(digits: str) -> Damage:
    """The first digit below the middle becomes many."""

    def grow(content: bytes) -> bytes:
        half = len(content) // 2
        at = next((i for i in range(half, len(content)) if content[i : i + 1].isdigit()), half)
        return content[:at] + digits.encode() + content[at + 1 :]

    return grow


_places, _lengths = st.floats(0, 1), st.integers(1, 200)
_damages = st.one_of(
    st.builds(cut, _places),
    st.builds(beheaded, _places),
    st.builds(flipped, _places, st.integers(0, 7)),
    st.builds(without, _places, _lengths),
    st.builds(swapped, _places, _lengths),
    st.builds(doubled, _places, _lengths),
    st.builds(inserted, _places, st.sampled_from(PIECES)),
    st.builds(encoded, st.sampled_from(ENCODINGS)),
    st.builds(grown_number, st.sampled_from(["9" * 30, "-1", "1e999", "0x1", "٣"])),
)


def test_every_format_that_reads_files_has_a_sample() -> None:
    assert set(SAMPLES) | PARTS == set(FORMATS)


@pytest.mark.parametrize("format", SAMPLES)
def test_a_sound_sample_is_kept_whole(tmp_path: Path, format: str) -> None:
    receipt = _ingested(format, SAMPLES[format], tmp_path)
    assert receipt is not None
    assert receipt.kept >= 2
    assert receipt.kept == receipt.read


@pytest.mark.parametrize("format", sorted(set(RULES) & set(SAMPLES)))
def test_outcomes_of_a_sample_derived_again_are_the_same(tmp_path: Path, format: str) -> None:
    assert _ingested(format, SAMPLES[format], tmp_path)
    before = Dataset.open(tmp_path / "dataset").listens
    derive_again(tmp_path / "dataset", {})
    assert Dataset.open(tmp_path / "dataset").listens == before


@pytest.mark.parametrize("format", SAMPLES)
@settings(max_examples=60)
@given(damages=st.lists(_damages, min_size=1, max_size=3), data=st.data())
def test_damage_is_told_in_one_line_or_counted(
    tmp_path_factory: pytest.TempPathFactory,
    format: str,
    damages: list[Damage],
    data: st.DataObject,
) -> None:
    files = dict(SAMPLES[format])
    name = data.draw(st.sampled_from(sorted(files)))
    for damage in damages:
        files[name] = damage(files[name])
    _ingested(format, files, tmp_path_factory.mktemp("damage"))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A feedback log of SQLite."""
    pytest.importorskip("sqlalchemy", reason=reason("sqlalchemy"))
    pytest.importorskip("fastapi", reason=reason("fastapi"))
    from segue.service.storage.store import Event, Store

    path = tmp_path_factory.mktemp("log") / "log.sqlite"
    store = Store.open(str(path))
    rows = [{"uri": uri, "title": title} for uri, title in zip("abcdef", TITLES, strict=True)]
    events = [Event(kind="play", track=uri, outcome="finished") for uri in "abcdef"]
    store.events.append("1", "ann", "s", events, rows)
    store.close()
    return path.read_bytes()


@settings(max_examples=60)
@given(damages=st.lists(_damages, max_size=3))
def test_damage_to_a_feedback_log_is_told_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, log: bytes, damages: list[Damage]
) -> None:
    for damage in damages:
        log = damage(log)
    receipt = _ingested("feedback", {"log.sqlite": log}, tmp_path_factory.mktemp("damage"))
    assert damages or (receipt and receipt.kept == 6)


@settings(max_examples=10)
@given(damages=st.lists(_damages, max_size=3))
def test_damage_to_sound_is_counted_or_told_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, damages: list[Damage]
) -> None:
    pytest.importorskip("av", reason=reason("av"))
    folder = tmp_path_factory.mktemp("damage")
    sound = wav(folder / "a.wav", bytes(range(256)) * 32).read_bytes()
    (folder / "a.wav").unlink()
    for damage in damages:
        sound = damage(sound)
    receipt = _ingested("audio", {"a.wav": sound}, folder)
    assert damages or (receipt and receipt.kept == 1)


def _ingested(format: str, files: dict[str, bytes], folder: Path) -> Receipt | None:
    """The receipt; None where the source is refused, which has to leave nothing."""
    source = folder / "source"
    source.mkdir()
    for name, content in files.items():
        (source / name).write_bytes(content)
    refused = ""
    try:
        receipt = ingest(format, source, folder / "dataset")
    except (DataError, UsageError) as error:
        refused = str(error)
    if refused:
        assert "\n" not in refused
        assert len(refused) < 1500
        assert [path.name for path in folder.iterdir()] == ["source"]
        return None
    assert sorted(path.name for path in folder.iterdir()) == ["dataset", "source"]
    assert receipt.read == receipt.kept + sum(receipt.dropped.values())
    assert min(receipt.read, receipt.kept, *receipt.dropped.values(), 0) == 0
    dataset = Dataset.open(folder / "dataset")
    assert dataset.info.sources == [receipt]
    dataset.describe()
    if receipt.unit in ("plays", "listens", "scrobbles", "events"):
        assert len(dataset.listens) == receipt.kept
    return receipt
