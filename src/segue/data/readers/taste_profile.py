"""The Echo Nest Taste Profile: ``train_triplets.txt``, user, song and plays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from segue.data.ingestion.contract import Reader, Reading
from segue.data.ingestion.external_sort import Spill
from segue.data.ingestion.limits import Input
from segue.data.ingestion.table_rows import Names, track_rows, write_listens
from segue.data.readers.csv import batches
from segue.data.schema import Outcome

_COLUMNS = ["user", "song", "plays"]
_MOST_PLAYS = 2**31 - 1


def _plays(text: pa.Array) -> npt.NDArray[np.int64]:
    """Plays of each row, 0 where the text is no positive number. (rows,)"""
    number = pc.if_else(pc.match_substring_regex(text, "^[0-9]{1,10}$"), text, None)
    plays: npt.NDArray[np.int64] = number.cast(pa.int64()).fill_null(0).to_numpy()
    return np.where(plays <= _MOST_PLAYS, plays, 0)


def _add(batch: pa.RecordBatch, listeners: Names, spill: Spill, reading: Reading) -> None:
    receipt = reading.receipt
    plays = _plays(batch["plays"])
    named = pc.and_(batch["user"].is_valid(), batch["song"].is_valid())
    named = named.to_numpy(zero_copy_only=False)
    good = named & (plays > 0)
    if n := int((~named).sum()):
        receipt.drop("no user or no song", n)
    if n := int((named & (plays <= 0)).sum()):
        receipt.drop("plays is not a positive number", n)
    receipt.keep(int(good.sum()))
    if not good.any():
        return
    kept = batch.filter(pa.array(good))
    spill.append(
        {
            "listener": listeners.of(kept["user"]),
            "track": track_rows(reading.writer, kept["song"]),
            "plays": plays[good],
        }
    )


def _read(sources: list[Input], reading: Reading) -> None:
    listeners = Names()
    columns = {"listener": np.int32, "track": np.int32, "plays": np.int32}
    with Spill(reading.writer.folder, columns) as spill:
        for source in sources:
            parse = pacsv.ParseOptions(delimiter="\t", quote_char=False)
            for batch in batches(source, reading, _COLUMNS, _COLUMNS, parse):
                _add(batch, listeners, spill, reading)
        for _, _, rows in spill.by_owner():
            outcome = np.full(len(rows["listener"]), int(Outcome.UNKNOWN), np.int8)
            write_listens(reading.writer, {**rows, "outcome": outcome})
        reading.writer.add("listeners", {"uri": list(listeners.numbers)})


READER = Reader(
    description="Echo Nest Taste Profile: train_triplets.txt (user, song, plays), plain or packed",
    files="Taste Profile files (*triplets*.txt)",
    unit="rows",
    wanted=lambda path: "triplets" in path.rpartition("/")[2].lower() and ".txt" in path.lower(),
    read=_read,
)
