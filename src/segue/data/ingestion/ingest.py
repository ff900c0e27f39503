"""From the files people have to a dataset folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from segue.data.dataset import DATASET_FILE, Dataset
from segue.data.ingestion.contract import Reader, Reading
from segue.data.ingestion.formats import FORMATS
from segue.data.ingestion.limits import Input, Tick
from segue.data.ingestion.sources import find
from segue.data.outcomes import OutcomeRule
from segue.data.receipt import Receipt
from segue.data.writer import writing_dataset
from segue.errors import DataError, UsageError
from segue.system.files import refuse_inside, shown
from segue.system.progress import task

_MB = 1e6


def ingest(
    format: str,
    sources: Path | str | Sequence[Path | str],
    dataset: Path | str,
    *,
    base: Path | str | None = None,
    columns: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> Receipt:
    """Read sources of one format into a dataset folder, which appears only when it is whole.

    Args:
        format: a name in `FORMATS`.
        sources: a folder, zip or file, or several; of feedback also a connection string.
        dataset: folder to write; an earlier dataset there is replaced.
        base: dataset that the new one starts with: the sources are added to all that it holds, and
            it stays as it is. Only for feedback.
        columns: column of each role, for the formats that map columns.
        settings: of the outcome rule or of limits, for the formats that have them.
        progress: show progress on stderr.

    Returns:
        What became of every row.

    Raises:
        UsageError: no such format, no source, a mapping that the format or file does not have, or
            a base that the format does not take or that would be replaced.
        ConfigError: a setting that the format does not have, or a wrong value.
        DataError: a source cannot be read or lies in the folder that is replaced, nothing in it can
            be kept, or plays would be replaced by sound alone. `dataset` is as before.
    """
    reader = FORMATS.get(format)
    sources = [sources] if isinstance(sources, Path | str) else sources
    if not isinstance(sources, Sequence) or not isinstance(dataset, Path | str):
        raise UsageError("sources and dataset are no paths", do="give text or Path")
    dataset = Path(dataset)
    if reader is None:
        raise UsageError(f"no format {format!r}", do=f"use one of {', '.join(FORMATS)}")
    if columns and not reader.mapped:
        raise UsageError(f"{format} has fixed columns: it takes no mapping")
    if settings and reader.Settings is None:
        raise UsageError(f"{format} has no settings", where="--set")
    if base is not None:
        _refuse_base(format, reader, Path(base), dataset)
    made = (reader.Settings or OutcomeRule).make(settings or {})
    if not reader.plays:
        _refuse_to_lose_plays(dataset)
    with ExitStack() as stack:
        inputs, receipt, tick = inputs_of(
            format, sources, made, f"ingesting {format}", stack, progress
        )
        writer = stack.enter_context(writing_dataset(dataset))
        refuse_inside(dataset, [source.path for source in inputs if source.address is None])
        begun = None if base is None else Dataset.open(base)
        reading = Reading(writer, receipt, columns or {}, tick, progress, made, begun)
        reader.read(inputs, reading)
        if begun is None:
            refuse_nothing(receipt)
            writer.finish([receipt], simulated=False)
        else:
            writer.finish([*begun.info.sources, receipt], simulated=begun.info.simulated)
    return receipt


def _refuse_base(format: str, reader: Reader, base: Path, dataset: Path) -> None:
    if not reader.extends:
        raise UsageError(f"{format} cannot be added to a dataset", where="--with")
    if base.resolve() == dataset.resolve():
        raise UsageError(
            "is the dataset that would be replaced, and the next ingest would count twice",
            where="--with",
            do="write to another folder",
        )


def _refuse_to_lose_plays(path: Path) -> None:
    """Raises DataError where a dataset with plays would be replaced by one without."""
    if not (path / DATASET_FILE).is_file():
        return
    try:
        rows = Dataset.open(path).info.rows
    except DataError:
        return  # nothing of it can be read
    if any(rows.get(table) for table in ("playlist_tracks", "listens")):
        raise DataError(
            "holds plays, which would be lost",
            where=path,
            do="give its tracks their sound with --add, or name another folder",
        )


def inputs_of(
    format: str,
    sources: Sequence[Path | str],
    settings: msgspec.Struct,
    told: str,
    stack: ExitStack,
    progress: bool,
) -> tuple[list[Input], Receipt, Tick]:
    """Sources of one format, the receipt of what will become of them, and who counts the bytes.

    Args:
        format: a name in `FORMATS`.
        sources: folders, zips and files, or addresses where the format takes them.
        settings: for the receipt.
        told: what progress says is done.
        stack: that files and progress stay open in.
        progress: show it on stderr.

    Raises:
        UsageError: no source.
        DataError: a source is missing, or holds no file of the format.
    """
    reader = FORMATS[format]
    if not sources:
        raise UsageError("no source", do=f"name {reader.files}")
    known = {k: v for k, v in msgspec.structs.asdict(settings).items() if v is not None}
    receipt = Receipt(format=format, unit=reader.unit, settings=known)
    inputs = []
    for source in sources:
        if reader.database is not None and "://" in str(source):
            inputs.append(reader.database(str(source)))
            receipt.files.append(str(inputs[-1]))  # not as it was named: it may hold a password
        else:
            receipt.files.append(shown(source))
            inputs += find([Path(source)], reader.wanted, reader.files, stack, receipt.notes)
    total = sum(source.size for source in inputs) / _MB
    advance = stack.enter_context(task(told, total, "MB", show=progress))
    return inputs, receipt, lambda step: advance(step / _MB)


def refuse_nothing(receipt: Receipt) -> None:
    """Raises DataError if not one row was kept."""
    if not receipt.kept:
        counts = {f"{receipt.unit} read": receipt.read, **receipt.dropped}
        raise DataError(
            f"nothing to keep ({', '.join(f'{what}: {n}' for what, n in counts.items())})",
            where=" ".join(receipt.files),
            do="check that the source is of this format",
        )
