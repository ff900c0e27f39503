"""The feedback log becomes a dataset, alone or added to another, and a model learns from it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.optional import reason

pytest.importorskip("sqlalchemy", reason=reason("sqlalchemy"))
pytest.importorskip("fastapi", reason=reason("fastapi"))

from hypothesis import given, settings
from hypothesis import strategies as st
from support.evaluation_worlds import plain_tracks, spotify_uri, write_dataset

from segue.cli import run
from segue.data.dataset import Dataset
from segue.data.feedback.sessions import PLAYED, TrackFeedback, heard
from segue.data.ingestion.ingest import ingest
from segue.data.outcomes import FeedbackRule
from segue.data.readers import feedback
from segue.data.receipt import Receipt
from segue.data.rederive import derive_again
from segue.data.schema import Outcome
from segue.errors import DataError, UsageError
from segue.operations.train import train
from segue.queries import Queries, Query
from segue.recipe import load_recipe
from segue.service.storage.store import Event, Store, Upload

START = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgres"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "log.sqlite")
    return request.getfixturevalue("postgres").fresh()


@pytest.fixture
def store(address: str) -> Iterator[Store]:
    opened = Store.open(address, clock=lambda: START.timestamp())
    yield opened
    opened.close()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Store]:
    """A log of SQLite, in `log.sqlite`."""
    opened = Store.open(str(tmp_path / "log.sqlite"), clock=lambda: START.timestamp())
    yield opened
    opened.close()


def play(track: str, outcome: str | None = "finished", **more: object) -> Event:
    return Event(kind="play", track=track, outcome=outcome, **more)


def listens(dataset: Dataset) -> list[tuple[Any, ...]]:
    """Listener, session, position, track and outcome of every listen."""
    names = (dataset.listeners["uri"].to_pylist(), dataset.tracks["uri"].to_pylist())
    return [
        (
            names[0][row["listener"]],
            row["session"],
            row["position"],
            names[1][row["track"]],
            Outcome(row["outcome"]).name.lower(),
        )
        for row in dataset.listens.to_pylist()
    ]


def playlists(dataset: Dataset) -> list[tuple[str | None, list[str]]]:
    uris = dataset.tracks["uri"].to_pylist()
    return [
        (title, [uris[t] for t in dataset.entries[a:b]])
        for title, a, b in zip(
            dataset.titles, dataset.offsets[:-1], dataset.offsets[1:], strict=True
        )
    ]


def read(address: object, to: Path, **more: Any) -> tuple[Dataset, Receipt]:
    receipt = ingest("feedback", [str(address)], to, **more)
    assert receipt.read == receipt.kept + sum(receipt.dropped.values())
    return Dataset.open(to), receipt


# Alone


def test_a_log_becomes_a_dataset(store, address, tmp_path):
    late = START + timedelta(hours=1)
    rows = [
        {"uri": "a", "title": "A", "artist": "X", "duration_ms": 100_000},
        {"uri": "b", "album": "B side", "recording": "b-1"},
    ]
    store.events.append(
        "1", "zoe", "s", [play("b", at=late, ms_played=5), play("a", "partial")], rows
    )
    store.events.append("2", "ann", "t", [Event(kind="skip", track="a", ms_played=7)], [])
    store.events.append("3", "zoe", "u", [play("c", None), play("a", None, ms_played=90_000)], [])
    store.events.append("4", "zoe", "s", [Event(kind="ban", track="b"), play("c")], [])
    store.events.append("5", "ann", "t", [Event(kind="like", track="d"), play("b")], [])
    store.events.append("6", "ann", "t", [Event(kind="ban", artist="X"), play("b")], [])
    made = store.playlists.create("ann", "Mine", ["b", "a", "b", "e"], [])
    store.playlists.create("ann", "", ["a"], [])
    store.playlists.create("ann", "Empty", [], [])
    dataset, receipt = read(address, tmp_path / "dataset")
    assert listens(dataset) == [
        *(("zoe", 0, 0, "b", "disliked"), ("zoe", 0, 1, "a", "partial")),
        *(("zoe", 0, 2, "c", "finished"),),
        *(("zoe", 1, 0, "c", "unknown"), ("zoe", 1, 1, "a", "finished")),
        *(("ann", 2, 0, "a", "skipped"), ("ann", 2, 1, "d", "finished")),
        *(("ann", 2, 2, "b", "finished"), ("ann", 2, 3, "b", "finished")),
    ]
    assert dataset.tracks.to_pylist()[:2] == [
        dict.fromkeys(dataset.tracks.column_names) | row for row in rows
    ]
    table = dataset.listens
    assert table["time"].to_pylist()[:2] == [late, START]
    assert table["ms_played"].to_pylist()[:2] == [5, None]
    assert table["reason_end"].to_pylist()[4:7] == ["play", "skip", "like"]
    assert set(table["plays"].to_pylist()) == {1}
    by_title = dict(playlists(dataset))
    assert by_title == {"Mine": ["b", "a", "b", "e"], None: ["a"]}
    assert f"segue:playlist:{made.id}" in dataset.playlists["uri"].to_pylist()
    assert dataset.playlists["modified_at"].to_pylist()[0] == START
    assert (receipt.read, receipt.kept) == (11 + 5, 10 + 5)
    assert receipt.dropped == {"about an artist": 1}
    assert receipt.notes == {"sessions": 3, "playlists": 2, "playlists without tracks": 1}


LIKE, UNLIKE, BAN, UNBAN = (TrackFeedback(kind, "a") for kind in ("like", "unlike", "ban", "unban"))
PLAY, SKIP = TrackFeedback("play", "a", "partial"), TrackFeedback("skip", "a")


@pytest.mark.parametrize(
    ("events", "outcomes", "dropped"),
    [
        ([PLAY], {0: "partial"}, {}),
        ([SKIP, PLAY, BAN], {0: "disliked", 1: "disliked"}, {}),
        ([BAN], {0: "disliked"}, {}),
        ([BAN, SKIP], {1: "disliked"}, {}),
        ([BAN, UNBAN, SKIP], {2: "skipped"}, {"undone in its session": 2}),
        ([BAN, BAN], {0: "disliked"}, {"said before": 1}),
        ([BAN, UNBAN, BAN], {2: "disliked"}, {"undone in its session": 2}),
        ([UNBAN], {}, {"undoes what another session said": 1}),
        ([LIKE], {0: "finished"}, {}),
        ([LIKE, SKIP], {1: "skipped"}, {"like of a track that has a listen": 1}),
        ([LIKE, UNLIKE], {}, {"undone in its session": 2}),
        ([LIKE, BAN], {1: "disliked"}, {"like of a track that has a listen": 1}),
        ([LIKE, BAN, UNBAN], {0: "finished"}, {"undone in its session": 2}),
        ([TrackFeedback("ban", None), TrackFeedback("unban", None)], {}, {"about an artist": 2}),
        ([TrackFeedback("play", "a", None, 90, 100)], {0: "finished"}, {}),
        ([TrackFeedback("play", "a", None, 89, 100)], {0: "partial"}, {}),
        ([TrackFeedback("play", "a", "partial", 100, 100)], {0: "partial"}, {}),
        ([TrackFeedback("play", "a", None, 89, 0)], {0: "unknown"}, {}),
    ],
)
def test_what_events_of_a_session_say(events, outcomes, dropped):
    found, reasons = heard(events, FeedbackRule())
    assert {place: outcome.name.lower() for place, outcome in found} == outcomes
    assert dict(reasons) == dropped


SAID = st.one_of(
    st.builds(lambda kind: TrackFeedback(kind, None), st.sampled_from(["ban", "unban"])),
    st.builds(
        lambda kind, track: TrackFeedback(kind, track),
        st.sampled_from(["play", "skip", "like", "unlike", "ban", "unban"]),
        st.sampled_from(["a", "b"]),
    ),
)
"""As the store takes it; a play does not say how it ended."""


@given(st.lists(SAID, max_size=10))
def test_every_event_is_a_listen_or_is_dropped_or_makes_one_disliked(events):
    found, dropped = heard(events, FeedbackRule())
    places = [place for place, _ in found]
    assert places == sorted(set(places))
    kept = len(events) - dropped.total()
    silent = kept - len(found)  # bans of what was played
    banned = {
        events[p].track for p, o in found if o is Outcome.DISLIKED and events[p].kind != "ban"
    }
    assert silent == len(banned)
    by_itself = [events[p].track for p in places if events[p].kind not in PLAYED]
    assert len(by_itself) == len(set(by_itself))


def test_how_much_of_a_track_is_most_of_it_is_a_setting(log, tmp_path):
    log.events.append(
        "1", "ann", "s", [play("a", None, ms_played=50)], [{"uri": "a", "duration_ms": 100}]
    )
    dataset, receipt = read(
        tmp_path / "log.sqlite", tmp_path / "dataset", settings={"finished_share": 0.5}
    )
    assert listens(dataset) == [("ann", 0, 0, "a", "finished")]
    assert receipt.settings["finished_share"] == 0.5
    with pytest.raises(DataError, match="has listens that said how they ended; ingest the feedb"):
        derive_again(tmp_path / "dataset", {"finished_share": 0.9})


def test_a_log_is_read_while_it_is_written(log, tmp_path):
    log.events.append("1", "ann", "s", [play("a")], [])
    read(tmp_path / "log.sqlite", tmp_path / "one")
    assert log.events.append("2", "ann", "s", [play("b")], [])
    dataset, _ = read(f"sqlite:///{tmp_path}/log.sqlite", tmp_path / "two")
    assert len(listens(dataset)) == 2


def test_both_databases_give_the_same_dataset(postgres, tmp_path):
    addresses = [str(tmp_path / "log.sqlite"), postgres.fresh()]
    chance = np.random.default_rng(3)
    kinds = ["play", "skip", "like", "unlike", "ban", "unban"]
    drawn = chance.integers((6, 9, 4), size=(120, 3)).tolist()
    prints = []
    for address in addresses:
        store = Store.open(address, clock=lambda: START.timestamp())
        for number, (kind, track, listener) in enumerate(drawn):
            event, session = Event(kind=kinds[kind], track=f"t{track}"), f"S{number % 3}"
            store.events.append(
                str(number), f"é{listener}", session, [event], [{"uri": f"t{track}"}]
            )
        store.close()
        prints.append(read(address, tmp_path / "dataset")[0].info.fingerprint)
    assert prints[0] == prints[1]


# Added to a dataset


def base_of(path: Path) -> Dataset:
    """Six tracks, a playlist, and listeners 0 to 2 with a session each, 1 with none of its own."""
    rows = {
        "listener": [0, 0, 1, 2],
        "session": [0, 0, None, 7],
        "position": [0, 1, None, 0],
        "track": [0, 1, 2, 3],
        "outcome": [1, 3, 0, 1],
        "plays": [1, 1, 5, 1],
    }
    made = write_dataset(path, [[0, 1], [2]], ["one", None], plain_tracks(6), rows)
    (path / "truth.npz").write_bytes(b"beside the tables")
    return made


def test_a_log_is_added_to_what_a_dataset_holds(store, address, tmp_path):
    base = base_of(tmp_path / "base")
    known = spotify_uri(4)
    store.events.append("1", "new", "s", [play("n1"), play(known)], [{"uri": "n1", "title": "New"}])
    store.events.append(
        "2", "listener:0", "s", [play(known), play("n2")], [{"uri": known, "title": "?"}]
    )
    store.events.append("3", "listener:2", "s", [play("n1")], [])
    store.playlists.create(None, "Mine", ["n3", known], [])
    dataset, receipt = read(address, tmp_path / "both", base=tmp_path / "base")
    before = base.tracks.to_pylist()
    assert dataset.tracks.to_pylist()[:6] == before
    assert dataset.tracks["uri"].to_pylist()[6:] == ["n1", "n2", "n3"]
    assert dataset.tracks["title"].to_pylist()[6] == "New"
    assert dataset.listeners["uri"].to_pylist() == [*(f"listener:{i}" for i in range(3)), "new"]
    assert listens(dataset) == [
        ("listener:0", 0, 0, spotify_uri(0), "finished"),
        ("listener:0", 0, 1, spotify_uri(1), "skipped"),
        ("listener:0", 8, 0, known, "finished"),
        ("listener:0", 8, 1, "n2", "finished"),
        ("listener:1", None, None, spotify_uri(2), "unknown"),
        ("listener:2", 7, 0, spotify_uri(3), "finished"),
        ("listener:2", 9, 0, "n1", "finished"),
        ("new", 10, 0, "n1", "finished"),
        ("new", 10, 1, known, "finished"),
    ]
    assert dataset.listens["plays"].to_pylist()[4] == 5
    assert playlists(dataset) == [*playlists(base), ("Mine", ["n3", known])]
    assert (tmp_path / "both" / "truth.npz").read_bytes() == b"beside the tables"
    assert [source.format for source in dataset.info.sources] == ["feedback"]
    assert receipt.kept == 5 + 2


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_rows_of_a_listener_that_come_in_several_parts_stay_together(
    log, tmp_path, monkeypatch, rows
):
    monkeypatch.setattr(feedback, "_BATCH", rows)
    chance = np.random.default_rng(rows)
    owners = np.sort(chance.integers(0, 6, 40)).tolist()
    table = {"listener": owners, "session": owners, "position": list(range(40))}
    table |= {"track": [i % 6 for i in range(40)], "outcome": [1] * 40, "plays": [1] * 40}
    base = write_dataset(tmp_path / "base", [], [], plain_tracks(6), table)
    added: dict[str, list[str]] = {}
    for number in range(30):
        owner = f"listener:{chance.integers(0, 8)}"
        log.events.append(str(number), owner, "s", [play(f"t{number}")], [])
        added.setdefault(owner, []).append(f"t{number}")
    dataset, _ = read(tmp_path / "log.sqlite", tmp_path / "both", base=tmp_path / "base")
    found: dict[str, list[str]] = {}
    for owner, _, _, track, _ in listens(dataset):
        found.setdefault(owner, []).append(track)
    expected: dict[str, list[str]] = {}
    for owner, _, _, track, _ in listens(base):
        expected.setdefault(owner, []).append(track)
    for owner, tracks in added.items():
        expected.setdefault(owner, []).extend(tracks)
    assert found == expected


def test_adding_again_counts_nothing_twice(log, tmp_path):
    base_of(tmp_path / "base")
    log.events.append("1", "listener:0", "s", [play("n1")], [])
    prints = []
    for _ in range(2):
        dataset, _ = read(tmp_path / "log.sqlite", tmp_path / "both", base=tmp_path / "base")
        prints.append(dataset.info.fingerprint)
    assert prints[0] == prints[1]
    assert len(listens(dataset)) == 5
    with pytest.raises(DataError, match=r"both: has this log already, which would count twice"):
        read(tmp_path / "log.sqlite", tmp_path / "third", base=tmp_path / "both")
    assert not (tmp_path / "third").exists()


def test_logs_of_two_services_are_added_one_after_another(log, tmp_path):
    base_of(tmp_path / "base")
    other = Store.open(str(tmp_path / "other.sqlite"))
    for number, store in enumerate((log, other)):
        store.events.append("1", "listener:0", "s", [play(f"n{number}")], [])
    other.close()
    read(tmp_path / "log.sqlite", tmp_path / "one", base=tmp_path / "base")
    dataset, _ = read(tmp_path / "other.sqlite", tmp_path / "two", base=tmp_path / "one")
    assert [row[:2] for row in listens(dataset)][2:4] == [("listener:0", 8), ("listener:0", 9)]
    assert len(dataset.info.sources) == 2


def test_an_empty_log_adds_nothing_and_is_no_dataset_alone(log, tmp_path):
    base = base_of(tmp_path / "base")
    dataset, receipt = read(tmp_path / "log.sqlite", tmp_path / "both", base=tmp_path / "base")
    assert dataset.info.fingerprint == base.info.fingerprint
    assert receipt.read == 0
    with pytest.raises(DataError, match=r"nothing to keep \(rows read: 0\)"):
        read(tmp_path / "log.sqlite", tmp_path / "alone")


def test_a_dataset_of_playlists_gets_its_first_listens(log, tmp_path):
    write_dataset(tmp_path / "base", [[0, 1]], ["x"], plain_tracks(2))
    log.events.append("1", "ann", "s", [play(spotify_uri(1))], [])
    dataset, _ = read(tmp_path / "log.sqlite", tmp_path / "both", base=tmp_path / "base")
    assert listens(dataset) == [("ann", 0, 0, spotify_uri(1), "finished")]
    assert dataset.track_count == 2


@pytest.mark.parametrize("recipe", ["item-knn", "wrmf"])
def test_the_loop_closes(log, tmp_path, recipe):
    """What was played in the service is recommended by the next model; skips are not."""
    base_of(tmp_path / "base")
    known = [spotify_uri(t) for t in range(6)]
    for number in range(20):
        events = [play(known[5]), play("hit"), Event(kind="skip", track="miss")]
        log.events.append(
            str(number), f"fan {number}", "s", events, [{"uri": "hit"}, {"uri": "miss"}]
        )
    read(tmp_path / "log.sqlite", tmp_path / "both", base=tmp_path / "base")
    bundle, _ = train(load_recipe(recipe), Dataset.open(tmp_path / "both"))
    (slate,) = bundle.recommender.recommend(Queries.of([Query(tracks=[5])]), 7)
    assert slate.tracks[0] == 6  # the hit
    assert slate.tracks[1] != 7


# Refused


def test_calls_that_cannot_be_meant(log, tmp_path):
    log.events.append("1", "ann", "s", [play("a")], [])
    base_of(tmp_path / "base")
    base = tmp_path / "base"
    with pytest.raises(UsageError, match=r"^--with: mpd cannot be added to a dataset$"):
        ingest("mpd", [tmp_path], tmp_path / "d", base=base)
    with pytest.raises(UsageError, match=r"^--with: is the dataset that would be replaced"):
        ingest("feedback", [tmp_path / "log.sqlite"], tmp_path / "x" / ".." / "base", base=base)
    with pytest.raises(DataError, match=r"nothing: is not a dataset \(no dataset.json\)"):
        ingest("feedback", [tmp_path / "log.sqlite"], tmp_path / "d", base=tmp_path / "nothing")
    with pytest.raises(DataError, match="is a second log: one is read at a time"):
        ingest("feedback", [tmp_path / "log.sqlite"] * 2, tmp_path / "d")
    with pytest.raises(UsageError, match=r"^mysql://...: is no database that is known"):
        ingest("feedback", ["mysql://me:secret@host/x"], tmp_path / "d")
    with zipfile.ZipFile(tmp_path / "log.zip", "w") as packed:
        packed.write(tmp_path / "log.sqlite", "log.sqlite")
    with pytest.raises(DataError, match=r"log.zip: log.sqlite: is a database in a zip; unpack it"):
        ingest("feedback", [tmp_path / "log.zip"], tmp_path / "d")
    (tmp_path / "empty.db").touch()
    with pytest.raises(DataError, match=r"empty.db: is no feedback log: it is empty; name another"):
        ingest("feedback", [tmp_path / "empty.db"], tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_a_server_that_is_not_there_leaves_the_dataset_as_it_was(tmp_path):
    base = base_of(tmp_path / "dataset")
    with pytest.raises(DataError) as error:
        ingest("feedback", ["postgresql://me:secret@127.0.0.1:1/x"], tmp_path / "dataset")
    assert str(error.value).startswith("postgresql://me:***@127.0.0.1:1/x: cannot be reached (")
    assert Dataset.open(tmp_path / "dataset").info == base.info


# On the command line


def asked(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = run(list(map(str, arguments)))
    said = capsys.readouterr()
    return status, said.out, said.err


def test_the_command_line_reads_a_log_by_its_connection_string(store, address, tmp_path, capsys):
    store.events.append("1", "ann", "s", [play("a"), Event(kind="ban", artist="X")], [])
    base_of(tmp_path / "base")
    ingest_ = ("ingest", "feedback", address, "--dataset", tmp_path / "both", "--json")
    status, out, _ = asked(capsys, *ingest_, "--with", tmp_path / "base")
    assert status == 0
    answer = json.loads(out)
    assert (answer["read"], answer["kept"]) == (2, 1)
    assert answer["dropped"] == {"about an artist": 1}
    assert len(listens(Dataset.open(tmp_path / "both"))) == 5


def test_passwords_are_not_kept(postgres, tmp_path):
    address = postgres.fresh().replace("postgres@/", "postgres:secret@/")
    address += "&sslpassword=secret&application_name=x"
    store = Store.open(address)
    store.events.append("1", "ann", "s", [play("a")], [])
    store.uploads.add(Upload(uri="u", file="f", row={"uri": "u"}))
    store.close()
    _, receipt = read(address, tmp_path / "dataset")
    assert receipt.files[0].startswith("postgresql://postgres:***@/postgres?")
    assert "secret" not in (tmp_path / "dataset" / "dataset.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("m3u", "x", "--dataset", "d", "--with", "b"), "--with: m3u cannot be added to a dataset"),
        (("audio", "x", "--dataset", "d", "--add", "--with", "b"), "--with: goes with feedback,"),
    ],
)
def test_with_is_refused_where_it_means_nothing(capsys, arguments, line):
    status, _, err = asked(capsys, "ingest", *arguments)
    assert status == 2
    assert err.startswith(f"segue: {line}")
    assert err.count("\n") == 1


@settings(max_examples=15)
@given(st.lists(st.tuples(st.sampled_from("st"), st.lists(SAID, max_size=4)), max_size=6))
def test_receipts_add_up_whatever_is_said(tmp_path_factory, requests):
    folder = tmp_path_factory.mktemp("log")
    store = Store.open(str(folder / "log.sqlite"))
    for number, (session, some) in enumerate(requests):
        events = [
            Event(kind=said.kind, track=said.track, artist=None if said.track else "X")
            for said in some
        ]
        store.events.append(str(number), "ann", session, events, [])
    store.playlists.create(None, "", ["p"], [])
    store.close()
    _, receipt = read(folder / "log.sqlite", folder / "dataset")
    assert receipt.read == 1 + sum(len(some) for _, some in requests)
