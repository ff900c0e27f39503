"""Tidal's streaming.csv."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.play_cases import plays
from support.reader_cases import ingested

from segue.data.ingestion.ingest import ingest
from segue.errors import DataError

HEAD = "artist_name,track_title,entry_date,product_type,time_zone\n"


def streaming(folder: Path, *rows: str, head: str = HEAD) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "streaming.csv"
    path.write_text(head + "".join(f"{row}\n" for row in rows))
    return path


def test_plays_below_a_preamble_become_sessions(tmp_path: Path) -> None:
    source = streaming(
        tmp_path / "tidal",
        '"Artist, The",One,05/06/2021 12:00,x,Europe/Paris',
        '"Artist, The",Two,05/06/2021 10:03,x,',
        '"Artist, The",Three,05/06/2021 10:03,x,null',
        '"Artist, The",One,05/06/2021 10:34,x,Mars/Base',
        head=f'Streaming data\n"of somebody\n\n{HEAD}',
    )
    receipt, dataset = ingested("tidal", source.parent)
    assert (receipt.read, receipt.kept) == (4, 4)
    assert receipt.notes == {"plays in an unknown time zone, read as UTC": 1}
    assert plays(dataset) == [
        (0, "2021-06-05 10:00:00", "name:artist, the/one", "finished"),
        (0, "2021-06-05 10:03:00", "name:artist, the/two", "finished"),
        (0, "2021-06-05 10:03:00", "name:artist, the/three", "finished"),
        (1, "2021-06-05 10:34:00", "name:artist, the/one", "finished"),
    ]


def test_every_row_that_is_dropped_has_its_reason(tmp_path: Path) -> None:
    source = streaming(
        tmp_path / "tidal",
        "A,One,05/06/2021 12:00,x,",
        "A,One,05/06/2021 12:00,x,",
        ",One,05/06/2021 12:00,x,",
        "A,,05/06/2021 12:00,x,",
        "A,One,2021-06-05 12:00,x,",
        "A,One,31/02/2021 12:00,x,",
        "A,One,05/06/1821 12:00,x,",
        "A,One",
        '"A,One,05/06/2021 12:00,x,',
        "",
    )
    receipt, _ = ingested("tidal", source)
    assert (receipt.read, receipt.kept) == (9, 1)
    assert receipt.dropped == {
        "duplicate": 1,
        "no artist": 1,
        "no title": 1,
        "no time": 2,
        "time out of 1970 to 2200": 1,
        "wrong number of columns": 1,
        "quotes that do not close": 1,
    }


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", '"\n', HEAD])
def test_files_without_plays_leave_nothing(tmp_path: Path, text: str) -> None:
    source = tmp_path / "streaming.csv"
    source.write_text(text)
    with pytest.raises(DataError, match=r"has no header with artist_name|nothing to keep"):
        ingest("tidal", source, tmp_path / "d")
    assert not (tmp_path / "d").exists()
