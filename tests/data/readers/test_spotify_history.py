"""The reader of Spotify's streaming history: extended and short exports."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.reader_cases import ingested
from support.spotify_exports import AUDIO, export, play

from segue.catalog.catalog import Catalog
from segue.catalog.matching import match_tracks
from segue.data.dataset import Dataset
from segue.data.ingestion import json_arrays as _arrays
from segue.data.ingestion.ingest import ingest
from segue.data.ingestion.json_arrays import entries
from segue.data.ingestion.limits import Input
from segue.data.outcomes import SpotifyRule
from segue.data.schema import Flag, Outcome
from segue.errors import ConfigError, DataError


def short(ended: str, seconds: float, name: str = "a", **fields: Any) -> dict[str, Any]:
    """A play as the short export has it."""
    return {
        "endTime": f"2023-05-01 {ended}",
        "artistName": f"Artist {name}",
        "trackName": f"Title {name}",
        "msPlayed": int(seconds * 1000),
        **fields,
    }


EPISODE = {
    "master_metadata_track_name": None,
    "master_metadata_album_artist_name": None,
    "spotify_track_uri": None,
    "episode_name": "An episode",
    "spotify_episode_uri": "spotify:episode:e",
}


def heard(dataset: Dataset) -> list[tuple[int, str, str]]:
    """Session, uri and outcome of every listen."""
    uris = dataset.tracks["uri"].to_pylist()
    rows = dataset.listens.select(["session", "track", "outcome"]).to_pylist()
    return [(r["session"], uris[r["track"]], Outcome(r["outcome"]).name.lower()) for r in rows]


def test_an_extended_export_becomes_sessions_with_outcomes_and_evidence(tmp_path: Path) -> None:
    source = export(
        tmp_path / "mine",
        play("10:03:20", 200, "a", reason_start="clickrow"),
        play("10:03:25", 5, "b", reason_end="fwdbtn", skipped=True, shuffle=True),
        play("10:06:00", 100, "c", reason_end="logout", offline=True),
        play("10:37:40", 60, "d", reason_end="endplay"),  # starts 30:40 after: another session
    )
    receipt, dataset = ingested("spotify-history", source)
    assert (receipt.read, receipt.kept) == (4, 4)
    assert receipt.settings == {
        "gap_minutes": 30.0,
        "skip_seconds": 30.0,
        "finished_share": 0.9,
        "incognito": False,
    }
    assert heard(dataset) == [
        (0, "spotify:track:a", "finished"),
        (0, "spotify:track:b", "skipped"),
        (0, "spotify:track:c", "partial"),
        (1, "spotify:track:d", "partial"),
    ]
    listens = dataset.listens
    assert listens["position"].to_pylist() == [0, 1, 2, 0]
    assert [f"{t:%H:%M:%S}" for t in listens["time"].to_pylist()] == [
        *("10:00:00", "10:03:20", "10:04:20", "10:36:40"),
    ]
    assert listens["ms_played"].to_pylist() == [200_000, 5_000, 100_000, 60_000]
    assert listens["reason_start"].to_pylist() == ["clickrow", *["trackdone"] * 3]
    assert listens["reason_end"].to_pylist() == ["trackdone", "fwdbtn", "logout", "endplay"]
    assert listens["flags"].to_pylist() == [
        Flag.SAID_NOT_SKIPPED,
        Flag.SAID_SKIPPED | Flag.SHUFFLE,
        Flag.SAID_NOT_SKIPPED | Flag.OFFLINE,
        Flag.SAID_NOT_SKIPPED,
    ]
    assert dataset.tracks.slice(0, 1).to_pylist()[0] == {
        "uri": "spotify:track:a",
        "title": "Title a",
        "artist": "Artist a",
        "artist_uri": None,
        "album": "Album a",
        "album_uri": None,
        "duration_ms": None,
        "recording": None,
    }


def test_nothing_of_the_person_is_kept(tmp_path: Path) -> None:
    _, dataset = ingested("spotify-history", export(tmp_path / "mine", play("10:00:00", 100)))
    assert dataset.listeners["uri"].to_pylist() == ["listener:1"]
    for file in dataset.path.iterdir():
        assert b"SECRET" not in file.read_bytes(), file.name
    for table in (dataset.tracks, dataset.listens, dataset.listeners):
        assert "SECRET" not in str(table.to_pylist())


def test_a_short_export_has_names_for_uris_and_lengths_for_reasons(tmp_path: Path) -> None:
    plays = [short("10:05", 200), short("10:06", 12, "b"), short("10:08", 100), short("11:00", 181)]
    source = export(tmp_path / "mine", *plays, name="StreamingHistory_music_0.json")
    _, dataset = ingested("spotify-history", source)
    assert heard(dataset) == [
        (0, "name:artist a/title a", "finished"),
        (0, "name:artist b/title b", "skipped"),
        (0, "name:artist a/title a", "partial"),
        (1, "name:artist a/title a", "finished"),  # 90 % of the longest play
    ]
    assert dataset.listens["reason_end"].null_count == 4


def test_plays_of_one_minute_stay_in_the_order_of_the_file_and_times_never_fall(
    tmp_path: Path,
) -> None:
    """The short export tells minutes: the starts of these three would be in another order."""
    plays = [short("10:05", 5, "a"), short("10:05", 2, "b"), short("10:05", 40, "c")]
    source = export(tmp_path / "mine", *plays, name="StreamingHistory0.json")
    _, dataset = ingested("spotify-history", source)
    assert [uri[-1] for _, uri, _ in heard(dataset)] == ["a", "b", "c"]
    times = dataset.listens["time"].to_pylist()
    assert times == sorted(times)


def test_the_same_song_of_two_listeners_is_one_track(tmp_path: Path) -> None:
    for person, artist in (("one", "Björk"), ("two", "björk ")):
        plays = [short("10:05", 100, artistName=artist, trackName="Jóga")]
        export(tmp_path / "all" / person, *plays, name="StreamingHistory_music_0.json")
    _, dataset = ingested("spotify-history", tmp_path / "all")
    assert (dataset.track_count, dataset.listener_count) == (1, 2)


def test_short_and_extended_exports_match_by_artist_and_title(tmp_path: Path) -> None:
    export(tmp_path / "short", short("10:05", 100, "B"), name="StreamingHistory_music_0.json")
    export(tmp_path / "long", play("10:00:00", 100, "a"), play("10:05:00", 100, "b"))
    _, brief = ingested("spotify-history", tmp_path / "short")
    _, extended = ingested("spotify-history", tmp_path / "long")
    catalog = Catalog.of(extended.tracks, np.ones(2, np.int32))
    assert match_tracks(brief.tracks, catalog).tolist() == [1]


def test_plays_that_are_not_music_are_dropped_and_counted(tmp_path: Path) -> None:
    nameless = {"spotify_track_uri": None, "master_metadata_track_name": None}
    source = export(
        tmp_path / "mine",
        play("10:00:00", 100),
        play("10:05:00", 100, **EPISODE),
        play("10:06:00", 100, **nameless, audiobook_uri="spotify:show:x"),
        play("10:07:00", 100, **nameless),
        play("10:08:00", 100, incognito_mode=True),
    )
    export(source, play("10:09:00", 100), name="Streaming_History_Video_2023.json")
    export(source, short("10:10", 1, podcastName="p"), name="StreamingHistory_podcast_0.json")
    receipt, _ = ingested("spotify-history", source)
    assert (receipt.read, receipt.kept) == (7, 1)
    assert receipt.dropped == {
        "podcast": 2,
        "audiobook": 1,
        "no track": 1,
        "private session": 1,
        "video": 1,
    }


def test_private_sessions_are_kept_if_asked(tmp_path: Path) -> None:
    source = export(tmp_path / "mine", play("10:08:00", 100, incognito_mode=True))
    receipt = ingest("spotify-history", [source], tmp_path / "d", settings={"incognito": True})
    assert (receipt.kept, receipt.settings["incognito"]) == (1, True)
    flags = Dataset.open(tmp_path / "d").listens["flags"].to_pylist()
    assert flags == [Flag.INCOGNITO | Flag.SAID_NOT_SKIPPED]


def test_settings_of_the_ingest_change_sessions_and_outcomes(tmp_path: Path) -> None:
    plays = [
        play("10:00:00", 20, "a", reason_end="fwdbtn"),
        play("10:12:00", 20, "b", reason_end="fwdbtn"),
    ]
    source = export(tmp_path / "mine", *plays)
    ingest(
        "spotify-history",
        [source],
        tmp_path / "d",
        settings={"gap_minutes": 5, "skip_seconds": 15},
    )
    assert heard(Dataset.open(tmp_path / "d")) == [
        (0, "spotify:track:a", "partial"),
        (1, "spotify:track:b", "partial"),
    ]
    with pytest.raises(ConfigError, match=r"SpotifyRule: gap_minutes: expected a number > 0"):
        ingest("spotify-history", [source], tmp_path / "e", settings={"gap_minutes": 0})
    assert not (tmp_path / "e").exists()


def test_a_wrong_row_is_dropped_with_its_reason(tmp_path: Path) -> None:
    source = export(
        tmp_path / "mine",
        play("10:00:00", 100),
        play("", 100),
        {**play("10:01:00", 100), "ts": None},
        {**play("10:01:00", 100), "ts": 12},
        *({**play("10:01:00", 100), "ms_played": ms} for ms in (-1, "long", None, 2**31)),
        play("10:01:00", 100, spotify_track_uri=7),
        play("10:01:00", 100, reason_end={"nested": ["}", "]"]}),
        *(5, None, "text, with a comma", [1, [2]], {}),
    )
    receipt, dataset = ingested("spotify-history", source)
    assert (receipt.read, receipt.kept, len(dataset.listens)) == (15, 1, 1)
    assert receipt.dropped == {
        "invalid field ts": 2,
        "no time": 1,
        "invalid field ms_played": 3,
        "no milliseconds played": 1,
        "invalid field spotify_track_uri": 1,
        "invalid field reason_end": 1,
        "not an object": 4,
        "no track": 1,
    }


def test_flags_of_other_types_say_nothing(tmp_path: Path) -> None:
    odd = {"skipped": "maybe", "shuffle": 1, "offline": None, "incognito_mode": "no"}
    _, dataset = ingested("spotify-history", export(tmp_path / "mine", play("10:00:00", 9, **odd)))
    assert dataset.listens["flags"].to_pylist() == [0]


def test_duplicates_across_files_are_dropped_and_counted(tmp_path: Path) -> None:
    first = [play("10:00:00", 100), play("10:05:00", 100, "b"), play("10:05:00", 90, "b")]
    source = export(tmp_path / "mine", *first)
    export(source, *first[1:], play("10:09:00", 100), name="Streaming_History_Audio_2023_1.json")
    receipt, dataset = ingested("spotify-history", source)
    assert (receipt.read, receipt.kept) == (6, 4)
    assert receipt.dropped == {"duplicate": 2}
    assert len(dataset.listens) == 4


def test_plays_in_any_order_of_time_give_the_same_dataset(tmp_path: Path) -> None:
    plays = [play(f"1{i % 4}:{i * 7 % 60:02}:{i:02}", 60 + i, str(i)) for i in range(40)]
    shuffled = [plays[i] for i in np.random.default_rng(0).permutation(len(plays))]
    columns = ["session", "position", "time", "outcome", "ms_played"]
    tables = []
    for name, rows in (("backwards", plays[::-1]), ("shuffled", shuffled)):
        _, dataset = ingested("spotify-history", export(tmp_path / name, *rows))
        assert pc.all(pc.greater_equal(pc.pairwise_diff(_ms(dataset)), 0)).as_py()
        tables.append(([u for _, u, _ in heard(dataset)], dataset.listens.select(columns)))
    assert tables[0] == tables[1]


def _ms(dataset: Dataset) -> Any:
    return dataset.listens["time"].cast("int64").combine_chunks()


# Where plays come from


def zipped(path: Path, files: dict[str, Any]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content if isinstance(content, bytes) else json.dumps(content))
    return path


def test_the_zip_as_downloaded_is_one_listener(tmp_path: Path) -> None:
    inside = "Spotify Extended Streaming History/"
    source = zipped(
        tmp_path / "my_spotify_data.zip",
        {
            f"{inside}ReadMeFirst_ExtendedStreamingHistory.pdf": b"%PDF",
            f"{inside}{AUDIO}": [play("10:00:00", 100)],
            "Other/Streaming_History_Audio_2023_1.json": [play("10:04:00", 100, "b")],
            "Other/Userdata.json": {"username": "SECRET"},
        },
    )
    receipt, dataset = ingested("spotify-history", source)
    assert (receipt.kept, dataset.listener_count) == (2, 1)


@pytest.mark.parametrize(
    "name",
    [
        "Streaming_History_Audio_2013-2015_0.json",
        "Streaming_History_Audio_2020_3.json.gz",
        "endsong_0.json",
        "StreamingHistory0.json",
        "StreamingHistory_music_12.json",
        "streaming_history_audio_1 (2).json",
    ],
)
def test_files_go_by_the_names_of_all_exports(tmp_path: Path, name: str) -> None:
    (tmp_path / "mine").mkdir()
    text = json.dumps([play("10:00:00", 100)]).encode()
    (tmp_path / "mine" / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    (tmp_path / "mine" / "Playlist1.json").write_text("{")
    receipt, _ = ingested("spotify-history", tmp_path / "mine")
    assert receipt.kept == 1


def test_each_source_and_each_folder_is_a_listener(tmp_path: Path) -> None:
    for person in ("x/one", "x/two", "y"):
        export(tmp_path / person, play("10:00:00", 100, person))
        export(tmp_path / person, play("11:00:00", 100, person), name="endsong_1.json")
    ingest("spotify-history", [tmp_path / "x", tmp_path / "y"], tmp_path / "d")
    dataset = Dataset.open(tmp_path / "d")
    assert dataset.listeners["uri"].to_pylist() == ["listener:1", "listener:2", "listener:3"]
    assert dataset.listens["listener"].to_pylist() == [0, 0, 1, 1, 2, 2]
    assert dataset.listens["session"].to_pylist() == [0, 1, 2, 3, 4, 5]


def test_a_listener_without_music_is_no_listener(tmp_path: Path) -> None:
    export(tmp_path / "all" / "a", play("10:00:00", 100, **EPISODE))
    export(tmp_path / "all" / "b", play("10:00:00", 100))
    _, dataset = ingested("spotify-history", tmp_path / "all")
    assert dataset.listeners["uri"].to_pylist() == ["listener:2"]
    assert dataset.listens["listener"].to_pylist() == [0]


def test_podcasts_only_are_nothing_to_keep(tmp_path: Path) -> None:
    source = export(tmp_path / "mine", *[play("10:00:00", 100, **EPISODE)] * 3)
    with pytest.raises(DataError, match=r"nothing to keep \(plays read: 3, podcast: 3\)"):
        ingest("spotify-history", [source], tmp_path / "d")
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"{}", "is not a JSON list"),
        (b"[", "ends early: the JSON is cut off"),
        (b'[{"ts": "2023', "ends early: the JSON is cut off"),
        (b'[{"ts": "x"}, {"ts": "y"}', "ends early: the JSON is cut off"),
        (b'[{"ts": "x"}] {}', "goes on after the end of its list"),
        (b'[{"ts": nonsense}]', "is not JSON"),
        (b"[junk]", "is not JSON"),
        (b'[{"ts": "\xff"}]', "is not"),
        (b'[{"x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}]", "nests too deep"),
        (b'["' + b"x" * (2 * _arrays.MAX_ENTRY_BYTES) + b'"]', "has an entry of more than 1 MiB"),
    ],
)
def test_a_file_that_is_damaged_stops_the_ingest(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / AUDIO).write_bytes(text)
    with pytest.raises(DataError, match=f"{AUDIO}: {message}") as error:
        ingest("spotify-history", [tmp_path / AUDIO], tmp_path / "d")
    assert "\n" not in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == [AUDIO]


def test_zips_that_are_hostile_or_hold_a_zip(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", {AUDIO: [play("10:00:00", 100)]}).read_bytes()
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "nested": ({"my_spotify_data.zip": inner}, "nested.zip: holds no Spotify streaming"),
        "absolute": ({f"/tmp/{AUDIO}": []}, f"absolute.zip: /tmp/{AUDIO}: is a path that leaves"),
        "parent": ({f"../{AUDIO}": []}, "is a path that leaves the zip"),
    }
    for name, (files, message) in cases.items():
        source = zipped(tmp_path / f"{name}.zip", files)
        with pytest.raises(DataError, match=message):
            ingest("spotify-history", [source], tmp_path / "d")
    assert not (tmp_path / "d").exists()


# Arrays


def spread(tmp_path: Path, text: bytes) -> list[bytes]:
    file = tmp_path / "array.json"
    file.write_bytes(text)
    return list(entries(Input(file, tmp_path, file.name, len(text)), lambda step: None))


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('"\\{}[], aé', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@settings(max_examples=150)
@given(st.lists(_values, max_size=6), st.sampled_from([None, 1]), st.integers(1, 40))
def test_entries_are_those_of_the_array_whatever_the_chunks(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any], indent: int | None, chunk: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_arrays, "_CHUNK", chunk)
        text = json.dumps(values, indent=indent, ensure_ascii=chunk % 2 == 0).encode()
        found = spread(tmp_path_factory.mktemp("array"), b"\xef\xbb\xbf" * (chunk > 3) + text)
    assert [json.loads(entry) for entry in found] == values


def test_a_large_array_is_never_in_memory(tmp_path: Path) -> None:
    file = tmp_path / AUDIO
    entry = json.dumps(play("10:00:00", 1, "x" * 20_000)).encode()
    with file.open("wb") as out:
        out.write(b"[")
        for _ in range(600):
            out.write(entry + b",\n")
        out.write(entry + b"]")
    size = file.stat().st_size
    assert size > 45e6
    tracemalloc.start()
    try:
        count = sum(1 for _ in entries(Input(file, tmp_path, AUDIO, size), lambda step: None))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 601
    assert peak < 3e6


# Real exports


def test_real_exports_keep_every_play_and_sessions_are_whole(
    tmp_path: Path, real_data: Path
) -> None:
    source = real_data / "spotify_history"
    if not source.is_dir():
        pytest.skip(f"needs real data (no {source}): set SEGUE_TEST_DATA")
    receipt = ingest("spotify-history", [source], tmp_path / "d")
    dataset = Dataset.open(tmp_path / "d")
    plays = private = 0
    for file in source.rglob("*.json.gz"):
        rows = json.loads(gzip.decompress(file.read_bytes()))
        plays += len(rows)
        private += sum(row.get("incognito_mode") is True for row in rows)
    assert receipt.read == plays == receipt.kept + sum(receipt.dropped.values())
    assert set(receipt.dropped) <= {"private session", "duplicate"}
    assert receipt.dropped["private session"] == private
    assert receipt.kept > 0.995 * plays
    assert dataset.listener_count == sum(1 for _ in source.iterdir())
    listens = dataset.listens
    listener, session, time, played = (
        listens[name].cast("int64").to_numpy()
        for name in ("listener", "session", "time", "ms_played")
    )
    same = np.diff(listener) == 0
    assert (np.diff(time)[same] >= 0).all()
    silent = (np.diff(time) - played[:-1])[same] > SpotifyRule().gap_minutes * 60_000
    assert (silent == (np.diff(session)[same] != 0)).all()
    told = pc.equal(listens["reason_end"], "trackdone").fill_null(False)
    assert set(listens.filter(told)["outcome"].to_pylist()) == {int(Outcome.FINISHED)}
    negative = np.mean(listens["outcome"].to_numpy() == Outcome.SKIPPED)
    assert 0.2 < negative < 0.4


def test_an_episode_in_the_field_of_the_track_is_a_podcast(tmp_path: Path) -> None:
    plays = [play("10:00:00", 60), play("10:02:00", 60, spotify_track_uri="spotify:episode:x")]
    receipt = ingest("spotify-history", [export(tmp_path / "mine", *plays)], tmp_path / "d")
    assert receipt.dropped == {"podcast": 1}


def test_a_play_of_days_is_not_the_length_of_its_track(tmp_path: Path) -> None:
    plays = [
        play("10:03:20", 200, reason_end=None),
        play("12:00:00", 23 * 86_400, reason_end=None),
        play("13:00:00", 60, reason_end=None),
    ]
    ingest("spotify-history", [export(tmp_path / "mine", *plays)], tmp_path / "d")
    listens = Dataset.open(tmp_path / "d").listens.to_pylist()
    by_length = {row["ms_played"]: Outcome(row["outcome"]) for row in listens}
    assert by_length[200_000] is Outcome.FINISHED  # not a small part of 23 days
    assert by_length[60_000] is Outcome.PARTIAL
