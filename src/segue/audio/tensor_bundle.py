"""Reads the tensors of a TensorFlow checkpoint without TensorFlow.

A checkpoint (V2, "tensor bundle") is two files. PREFIX.index is a sorted table in LevelDB's format
from a tensor's name to where it lies and its shape (tensorflow/core/lib/io/table_format.txt and
protobuf/tensor_bundle.proto); PREFIX.data-00000-of-00001 is their numbers one after the other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segue.errors import DataError

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
"""Bytes of the two handles, padded, and the magic number at the end of a table."""
_FLOAT = 1
"""TensorFlow's number for float32."""
_UNCOMPRESSED = 0


def read_tensors(prefix: str) -> dict[str, NDArray[np.float32]]:
    """The float32 tensors of a checkpoint of one shard, by name.

    Args:
        prefix: path of the checkpoint without ".index".

    Raises:
        DataError: it is not there, damaged, or of a kind that is not read (compressed, more than
            one shard).
    """
    index, data = Path(f"{prefix}.index"), Path(f"{prefix}.data-00000-of-00001")
    try:
        table, numbers = index.read_bytes(), data.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=error.filename) from error
    try:
        return dict(_tensors(table, numbers))
    except (IndexError, KeyError, ValueError, struct.error) as error:
        raise DataError(
            "is not a whole TensorFlow checkpoint", where=index, do="install it again"
        ) from error


def _tensors(table: bytes, data: bytes) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for name, value in _entries(table):
        if not name:
            continue  # the header of the bundle
        numbers, messages = _fields(value)
        if numbers.get(1) != _FLOAT:
            continue
        if numbers.get(3, 0) != 0:
            raise ValueError("more than one shard")
        (shape_of,) = (content for field, content in messages if field == 2)
        shape = [_fields(size)[0].get(1, 0) for field, size in _fields(shape_of)[1] if field == 2]
        offset = numbers.get(4, 0)
        tensor = np.frombuffer(data[offset : offset + numbers[5]], "<f4").reshape(shape)
        yield name.decode(), np.asarray(tensor, np.float32)


def _entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a sorted table: an index block leads to the blocks that hold them."""
    footer = table[-_FOOTER:]
    if struct.unpack("<Q", footer[-8:])[0] != _MAGIC:
        raise ValueError("no table")
    at = 0
    handle = []
    for _ in range(4):  # offset and size of the index of metadata, then of the index
        number, at = _varint(footer, at)
        handle.append(number)
    for _, place in _block(table, handle[2], handle[3]):
        offset, at = _varint(place, 0)
        size, _ = _varint(place, at)
        yield from _block(table, offset, size)


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block, where a key says how much of the one before it repeats."""
    if table[offset + size] != _UNCOMPRESSED:
        raise ValueError("a compressed table")
    block = table[offset : offset + size]
    (restarts,) = struct.unpack("<I", block[-4:])
    end = size - 4 * (restarts + 1)
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        fresh, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + fresh]
        at += fresh
        yield key, block[at : at + length]
        at += length


def _fields(message: bytes) -> tuple[dict[int, int], list[tuple[int, bytes]]]:
    """The fields of a protocol buffer message: numbers by field, and what is longer, in order."""
    numbers: dict[int, int] = {}
    longer: list[tuple[int, bytes]] = []
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        field, kind = tag >> 3, tag & 7
        if kind == 0:
            numbers[field], at = _varint(message, at)
            continue
        if kind == 2:
            length, at = _varint(message, at)
        else:
            length = {1: 8, 5: 4}[kind]
        longer.append((field, message[at : at + length]))
        at += length
    return numbers, longer


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first, and where the next thing starts."""
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
