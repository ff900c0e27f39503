"""The store of the service, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.optional import reason

pytest.importorskip("sqlalchemy", reason=reason("sqlalchemy"))

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import store_work

from segue.data.feedback.database import address_of, telling
from segue.data.schema import Outcome
from segue.errors import SegueError, UsageError
from segue.queries import MAX_PAST
from segue.service.storage import playlists as store_playlists
from segue.service.storage.store import (
    BREAK_SECONDS,
    Event,
    KeyReused,
    NoPlaylist,
    PersonalData,
    StaleVersion,
    Store,
    StoreError,
    StoreFull,
    StoreGone,
    Upload,
)

BACKENDS = ["sqlite", "postgres"]
NOBODY = PersonalData(
    tracks=[], outcomes=[], past=[], banned_tracks=[], banned_artists=[], liked=[]
)


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def new_address(backend: str, request: pytest.FixtureRequest, folder: Path) -> str:
    if backend == "sqlite":
        return str(folder / "log.sqlite")
    return request.getfixturevalue("postgres").fresh()


@pytest.fixture(params=BACKENDS)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return new_address(request.param, request, tmp_path)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(address: str, clock: Clock) -> Iterator[Store]:
    opened = Store.open(address, clock=clock)
    yield opened
    opened.close()


@pytest.fixture(scope="module", params=BACKENDS)
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """One store for many examples, each with listeners of its own."""
    opened = Store.open(new_address(request.param, request, tmp_path_factory.mktemp("store")))
    yield opened
    opened.close()


def play(track: str, outcome: str | None = "finished", **more: object) -> Event:
    return Event(kind="play", track=track, outcome=outcome, **more)


def skip(track: str) -> Event:
    return Event(kind="skip", track=track)


def query(store: Store, statement: str) -> list[tuple]:
    with store.database.transaction(reads=True) as connection:
        return [tuple(row) for row in connection.execute(sa.text(statement))]


def shown(personal: PersonalData) -> list[tuple[str, str]]:
    return [(t, o.name.lower()) for t, o in zip(personal.tracks, personal.outcomes, strict=True)]


# The log


def test_a_session_comes_back_in_order_with_outcomes(store):
    events = [play("c"), skip("a"), play("b", "partial"), play("c", "partial"), skip("b")]
    assert store.events.append("1", "ann", "s", events[:2], [])
    assert store.events.append("2", "ann", "s", events[2:], [])
    assert shown(store.events.personal("ann", "s")) == [
        *(("c", "finished"), ("a", "skipped"), ("b", "partial")),
        *(("c", "partial"), ("b", "skipped")),
    ]
    assert store.events.personal("ann", "other").tracks == []
    assert store.events.personal("bob", "s") == NOBODY


def test_many_events_of_one_request_keep_their_order(store):
    names = [f"t{n * 7919 % 1000}" for n in range(1000)]
    store.events.append("1", "ann", "s", [play(name) for name in names], [])
    assert store.events.personal("ann", "s").tracks == names


def test_the_past_is_what_other_sessions_played_and_did_not_dislike(store):
    store.events.append("1", "ann", "s1", [play("a"), skip("b"), play("c"), play("d", None)], [])
    store.events.append("2", "ann", "s2", [play("e", "partial"), Event(kind="ban", track="e")], [])
    store.events.append("3", "ann", "s3", [play("a"), Event(kind="like", track="x")], [])
    store.events.append("4", "bob", "s3", [play("z")], [])
    assert store.events.personal("ann", "s3").past == ["a", "c", "d"]
    assert store.events.personal("ann", "s1").past == ["a"]
    assert store.events.personal("ann", None).past == ["a", "c", "d", "a"]
    assert store.events.personal("ann", None).tracks == []


def test_the_past_has_the_latest_tracks_however_many_were_disliked(store):
    loved = [play(f"t{n}") for n in range(MAX_PAST + 5)]
    hated = [play(f"u{n}") for n in range(30)] + [
        Event(kind="ban", track=f"u{n}") for n in range(30)
    ]
    store.events.append("1", "ann", "s1", loved, [])
    store.events.append("2", "ann", "s2", hated, [])
    past = store.events.personal("ann", None).past
    assert past == [f"t{n}" for n in range(5, MAX_PAST + 5)]


def test_bans_and_likes_hold_until_they_are_undone(store):
    def say(kind: str, **about: str) -> None:
        key = str(next(counter))
        assert store.events.append(key, "ann", f"s{key}", [Event(kind=kind, **about)], [])

    counter = iter(range(100))
    for kind, about in [
        *(("ban", {"track": "a"}), ("ban", {"artist": "Abba"}), ("like", {"track": "b"})),
        *(("like", {"track": "c"}), ("ban", {"track": "d"}), ("ban", {"artist": "Cher"})),
    ]:
        say(kind, **about)
    found = store.events.personal("ann", None)
    assert (found.banned_tracks, found.banned_artists) == (["a", "d"], ["Abba", "Cher"])
    assert found.liked == ["b", "c"]
    say("unban", track="a")
    say("unban", artist="Cher")
    say("unlike", track="c")
    found = store.events.personal("ann", None)
    assert (found.banned_tracks, found.banned_artists) == (["d"], ["Abba"])
    assert found.liked == ["b"]


def test_a_banned_track_is_disliked_in_its_session_until_it_is_unbanned(store):
    store.events.append("1", "ann", "s", [play("a"), skip("b"), Event(kind="ban", track="a")], [])
    store.events.append("2", "ann", "s", [Event(kind="ban", track="new")], [])
    expected = [("a", "disliked"), ("b", "skipped"), ("new", "disliked")]
    assert shown(store.events.personal("ann", "s")) == expected
    store.events.append("3", "ann", "s", [Event(kind="unban", track=t) for t in ("a", "new")], [])
    assert shown(store.events.personal("ann", "s")) == [("a", "finished"), ("b", "skipped")]


def test_a_play_that_does_not_say_how_it_ended_goes_by_its_length(store):
    rows = [{"uri": "a", "duration_ms": 200_000}, {"uri": "b"}]
    lengths = [(180_000, "a"), (179_999, "a"), (None, "a"), (180_000, "b"), (9, "unheard of")]
    store.events.append("1", "ann", "s", [play(t, None, ms_played=ms) for ms, t in lengths], rows)
    outcomes = [outcome.name for outcome in store.events.personal("ann", "s").outcomes]
    assert outcomes == ["FINISHED", "PARTIAL", "UNKNOWN", "UNKNOWN", "UNKNOWN"]


def test_the_same_request_is_stored_once_and_another_under_its_key_is_refused(store, clock):
    events = [play("a", at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)), skip("b")]
    assert store.events.append("key", "ann", "s", events, [{"uri": "a"}])
    clock.now += 100
    assert not store.events.append("key", "ann", "s", events, [])
    for session, others in [("s", events[:1]), ("s2", events), ("s", events[::-1])]:
        with pytest.raises(KeyReused, match=r"^key: was used before with other events; use a new"):
            store.events.append("key", "ann", session, others, [])
    assert store.events.append("key", "bob", "s", events[:1], [])
    assert store.events.personal("ann", "s").tracks == ["a", "b"]
    assert query(store, "SELECT count(*) FROM events") == [(3,)]


def test_a_request_without_events_is_stored_as_well(store):
    assert store.events.append("key", "ann", "s", [], [])
    assert not store.events.append("key", "ann", "s", [], [])


def test_times_are_those_of_the_events_or_of_the_clock(store, clock):
    at = datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC)
    store.events.append("1", "ann", "s", [play("a", at=at), play("b")], [])
    assert query(store, "SELECT at FROM events ORDER BY id") == [
        (1_767_323_045_678,),
        (1_700_000_000_000,),
    ]


def test_what_came_first_says_what_is_known_of_a_track(store):
    store.events.append(
        "1", "ann", "s", [play("a")], [{"uri": "a", "title": "A", "duration_ms": 7}]
    )
    store.events.append("2", "ann", "s", [play("a")], [{"uri": "a", "title": "B"}, {"uri": "b"}])
    rows = query(store, "SELECT uri, title, duration_ms FROM tracks ORDER BY id")
    assert rows == [("a", "A", 7), ("b", None, None)]


def test_a_log_is_there_when_it_is_opened_again(store, address):
    store.events.append("1", "ann", "s", [play("a")], [])
    again = Store.open(address)
    assert again.events.personal("ann", "s").tracks == ["a"]
    assert not again.events.append("1", "ann", "s", [play("a")], [])
    again.close()


@pytest.mark.parametrize(
    ("table", "column"), [("events", "kind"), ("requests", "digest"), ("tracks", "title")]
)
@pytest.mark.parametrize("change", ["DELETE FROM {}", "UPDATE {} SET {} = 'x'"])
def test_the_database_itself_refuses_to_change_the_log(store, table, column, change):
    store.events.append("1", "ann", "s", [play("a")], [{"uri": "a"}])
    with (
        pytest.raises(StoreError, match=f"{table} only grows"),
        store.database.transaction() as connection,
    ):
        connection.execute(sa.text(change.format(table, column)))


def test_no_statement_of_the_store_changes_or_removes_events(store):
    seen: list[str] = []
    sa.event.listen(
        store.database.engine, "before_cursor_execute", lambda c, cursor, sql, *_: seen.append(sql)
    )
    store.events.append("1", "ann", "s", [play("a")], [{"uri": "a"}])
    store.events.personal("ann", "s")
    made = store.playlists.create("ann", "x", ["a"], [{"uri": "a"}])
    store.playlists.change(made.id, title="y", tracks=[], version=1)
    store.playlists.remove(made.id)
    store.uploads.add(Upload(uri="u", file="f", row={"uri": "u"}))
    changing = [sql for sql in seen if sql.split()[0] in ("UPDATE", "DELETE", "TRUNCATE")]
    assert len(seen) > 8
    assert {sql.split(" playlists")[0] for sql in changing} == {"UPDATE", "DELETE FROM"}


BAD_TEXTS = {"nul": "a\0b", "half a pair": "a\ud800", "too long": "x" * 2001}


@pytest.mark.parametrize("bad", BAD_TEXTS.values(), ids=BAD_TEXTS)
@pytest.mark.parametrize(
    ("where", "call"),
    [
        ("key", lambda s, bad: s.events.append(bad, "ann", "s", [], [])),
        ("listener", lambda s, bad: s.events.append("1", bad, "s", [], [])),
        ("session", lambda s, bad: s.events.append("1", "ann", bad, [], [])),
        (
            "events[1].track",
            lambda s, bad: s.events.append("1", "a", "s", [play("a"), play(bad)], []),
        ),
        (
            "events[0].artist",
            lambda s, bad: s.events.append("1", "a", "s", [Event(kind="ban", artist=bad)], []),
        ),
        ("tracks.uri", lambda s, bad: s.events.append("1", "a", "s", [], [{"uri": bad}])),
        ("listener", lambda s, bad: s.events.personal(bad, None)),
        ("session", lambda s, bad: s.events.personal("ann", bad)),
        ("owner", lambda s, bad: s.playlists.create(bad, "t", [])),
        ("tracks[0]", lambda s, bad: s.playlists.create("ann", "t", [bad])),
        ("id", lambda s, bad: s.playlists.get(bad)),
        ("after", lambda s, bad: s.playlists.page(None, bad, 1)),
        ("file", lambda s, bad: s.uploads.add(Upload(uri="u", file=bad, row={"uri": "u"}))),
    ],
)
def test_text_that_no_database_holds_is_refused_on_both(shared, where, call, bad):
    with pytest.raises(UsageError) as error:
        call(shared, bad)
    assert str(error.value).startswith(f"{where}: has ")


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Event(kind="nod", track="a"), "events[0].kind: is 'nod'"),
        (Event(kind="play"), "events[0]: needs a track or an artist, and not both"),
        (Event(kind="ban", track="a", artist="b"), "events[0]: needs a track or an artist, and"),
        (Event(kind="like", artist="b"), "events[0].artist: is of no like; name a track"),
        (Event(kind="skip", track="a", outcome="finished"), "events[0].outcome: is of no skip"),
        (play("a", "skipped"), "events[0].outcome: is 'skipped'"),
        (play("a", ms_played=2**31), "events[0].ms_played: is 2147483648, not a number from 0"),
        (play("a", ms_played=-1), "events[0].ms_played: is -1, not a number from 0"),
        (play("a", at=datetime(2026, 1, 1)), "events[0].at: has no time zone; give UTC"),
    ],
)
def test_events_that_cannot_be_meant_are_refused(shared, event, line):
    with pytest.raises(UsageError) as error:
        shared.events.append("bad", "ann", "s", [event], [])
    assert str(error.value).startswith(line)
    assert shared.events.personal("ann", "s") == NOBODY


ODD = "\x01\t\n\x7f  ' \" % : ; -- é 音 🎻 \ufffe"


def test_odd_text_comes_back_as_it_was(store):
    store.events.append(ODD, ODD, ODD, [play(ODD), Event(kind="ban", artist=ODD)], [{"uri": ODD}])
    found = store.events.personal(ODD, ODD)
    assert (found.tracks, found.banned_artists) == ([ODD], [ODD])
    made = store.playlists.create(ODD, ODD, [ODD])
    assert store.playlists.get(made.id).title == ODD
    assert store.playlists.get(made.id).tracks == [ODD]


def test_the_longest_names_fit_into_the_indexes(store):
    chance = random.Random(0)
    name = "".join(chr(chance.randrange(0x21, 0x7F)) for _ in range(250))  # cannot be packed
    uri = "".join(chr(chance.randrange(0x4E00, 0x9FA5)) for _ in range(666)) + "xx"
    assert len(uri.encode()) == 2000
    ban = Event(kind="ban", artist=uri)
    store.events.append(
        name, name, name, [play(uri), Event(kind="like", track=uri), ban], [{"uri": uri}]
    )
    assert store.events.personal(name, name).liked == [uri]
    made = store.playlists.create(name, "", [uri])
    assert store.playlists.page(name, None, 1) == [made]
    with pytest.raises(UsageError, match=r"^listener: has 251 bytes, the limit is 250; shorten it"):
        store.events.personal(name + "x", None)


# Properties

TRACKS = st.sampled_from(["a", "b", "c"])
EVENTS = st.one_of(
    st.builds(play, TRACKS, st.sampled_from(["finished", "partial"])),
    st.builds(skip, TRACKS),
    st.builds(
        lambda kind, track: Event(kind=kind, track=track),
        st.sampled_from(["like", "unlike", "ban", "unban"]),
        TRACKS,
    ),
    st.builds(
        lambda kind, artist: Event(kind=kind, artist=artist),
        st.sampled_from(["ban", "unban"]),
        st.sampled_from(["X", "Y"]),
    ),
)
REQUESTS = st.lists(
    st.tuples(st.sampled_from(["s1", "s2", "s3"]), st.lists(EVENTS, max_size=6)), max_size=8
)
LISTENERS = iter(range(10**9))
FEW = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])


def model(log: list[tuple[str, Event]], session: str | None) -> PersonalData:
    """The expected PersonalData, by a search of the whole log for each field."""

    def holds(kind: str, about: object, where: str | None = None) -> bool:
        said = [
            event.kind
            for s, event in log
            if (event.track or event.artist) == about
            and event.kind in (kind, f"un{kind}")
            and where in (None, s)
        ]
        return bool(said) and said[-1] == kind

    def standing(kind: str, field: str) -> list[str]:
        order: list[str] = []
        for _, event in log:
            about = getattr(event, field)
            if about is not None and event.kind == f"un{kind}" and about in order:
                order.remove(about)
            if about is not None and event.kind == kind and about not in order:
                order.append(about)
        return [about for about in order if holds(kind, about)]

    tracks, outcomes = [], []
    here = [event for s, event in log if s == session]
    heard = {event.track for event in here if event.kind in ("play", "skip")}
    for i, event in enumerate(here):
        banned = event.track is not None and holds("ban", event.track, session)
        undone = [e.kind for e in here[i + 1 :] if e.track == event.track]
        again = [
            e.kind for e in here[:i] if e.track == event.track and event.kind in e.kind
        ]  # of the same sort, before
        first = not again or again[-1] != event.kind
        if event.kind in ("play", "skip"):
            said = event.outcome if event.kind == "play" else "skipped"
            outcome = Outcome.DISLIKED if banned else Outcome[str(said).upper()]
        elif event.track is None or event.track in heard or not first:
            continue
        elif event.kind == "ban" and "unban" not in undone:
            outcome = Outcome.DISLIKED
        elif event.kind == "like" and "unlike" not in undone and not banned:
            outcome = Outcome.FINISHED
        else:
            continue
        tracks.append(event.track)
        outcomes.append(outcome)
    return PersonalData(
        tracks=tracks,
        outcomes=outcomes,
        past=[
            event.track
            for s, event in log
            if event.kind == "play" and s != session and not holds("ban", event.track, s)
        ],
        banned_tracks=standing("ban", "track"),
        banned_artists=standing("ban", "artist"),
        liked=standing("like", "track"),
    )


@FEW
@given(REQUESTS)
def test_the_log_replayed_says_what_a_simple_model_says(shared, requests):
    listener = f"listener {next(LISTENERS)}"
    log: list[tuple[str, Event]] = []
    for number, (session, events) in enumerate(requests):
        shared.events.append(str(number), listener, session, events, [])
        log += [(session, event) for event in events]
    for session in ("s1", "s2", None):
        assert shared.events.personal(listener, session) == model(log, session)


@FEW
@given(REQUESTS, st.randoms(use_true_random=False))
def test_requests_that_repeat_in_any_order_are_stored_once(shared, requests, chance):
    ann, bob = (f"{name} {next(LISTENERS)}" for name in ("ann", "bob"))
    sent: list[int] = []
    for number in range(len(requests)):
        sent += [number, *chance.choices(range(number + 1), k=chance.randrange(3))]
    seen: set[int] = set()
    for number in sent:
        session, events = requests[number]
        assert shared.events.append(f"k{number}", ann, session, events, []) is (number not in seen)
        seen.add(number)
    for number, (session, events) in enumerate(requests):
        shared.events.append(f"k{number}", bob, session, events, [])
    for session in ("s1", None):
        assert shared.events.personal(ann, session) == shared.events.personal(bob, session)


# Several at once


def test_threads_that_send_the_same_request_store_it_once(store):
    def send(number: int) -> bool:
        key = number % 10
        return store.events.append(
            f"k{key}", "ann", "s", [play(f"t{key}")] * 2, [{"uri": f"t{key}"}]
        )

    with ThreadPoolExecutor(16) as pool:
        stored = list(pool.map(send, range(80)))
    assert sum(stored) == 10
    assert sorted(store.events.personal("ann", "s").tracks) == sorted(
        [f"t{n}" for n in range(10)] * 2
    )


def test_requests_that_name_the_same_tracks_never_wait_for_each_other_in_a_ring(store):
    together = threading.Barrier(2, timeout=30)

    def send(step: int) -> None:
        for batch in range(8):
            rows = [{"uri": f"{batch} {n}"} for n in range(100)][::step]
            together.wait()
            store.events.append(f"{batch}", f"listener {step}", "s", [play("a")], rows)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(send, (1, -1))) == [None, None]


def test_processes_write_to_one_log_at_once(address):
    with writers(address) as one, writers(address) as two:
        for child, word in ((one, "one"), (two, "two")):
            child.start(word)
        acknowledged = {word: child.finish(0.4) for child, word in ((one, "one"), (two, "two"))}
    assert all(len(keys) > 5 for keys in acknowledged.values())
    assert_whole(address, acknowledged)


def test_the_tables_are_made_once_when_many_open_a_new_log(address):
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(lambda _: Store.open(address), range(8)))
    for number, store in enumerate(stores):
        assert store.events.append(str(number), "ann", "s", [play("a")], [])
    assert len(stores[0].events.personal("ann", "s").tracks) == 8
    for store in stores:
        store.close()


# Killed


class Writers:
    """A process whose forks write until they are killed, see store_work."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdin
        assert process.stdout
        self._in, self._out = process.stdin, process.stdout
        self._pid = 0
        self._keys: list[str] = []

    def start(self, word: str) -> None:
        """Let a fork begin, and wait for the first key that it has stored."""
        self._in.write(f"{word}\n")
        self._in.flush()
        self._keys, self._pid = [], 0
        while not (self._keys and self._pid):
            self._take(self._out.readline())

    def _take(self, line: str) -> None:
        assert line, "the writer has died"
        if line.startswith("pid "):
            self._pid = int(line[4:])
        else:
            self._keys.append(line.strip())

    def finish(self, seconds: float) -> list[str]:
        """Kill the fork after some time; the keys that were acknowledged."""
        time.sleep(seconds)
        os.kill(self._pid, signal.SIGKILL)
        while (line := self._out.readline()) != "dead\n":
            self._take(line)
        return self._keys


@contextmanager
def writers(address: str) -> Iterator[Writers]:
    process = subprocess.Popen(
        [sys.executable, store_work.__file__, address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield Writers(process)
        assert process.stdin
        process.stdin.close()


def assert_whole(address: str, acknowledged: dict[str, list[str]]) -> None:
    """Every acknowledged request is there, and every one that is there is whole and in order."""
    store = Store.open(address)
    for session, keys in acknowledged.items():
        tracks = store.events.personal("listener", session).tracks
        stored = [track.rpartition(":")[0] for track in tracks[::3]]
        assert tracks == [event.track for key in stored for event in store_work.events(key)]
        assert stored[: len(keys)] == keys
        assert len(stored) <= len(keys) + 1
        for key in keys[-2:]:
            assert not store.events.append(key, "listener", session, store_work.events(key), [])
    store.close()


def test_a_writer_that_is_killed_fifty_times_loses_nothing_that_was_acknowledged(tmp_path):
    address = str(tmp_path / "log.sqlite")
    moments = random.Random(7)
    acknowledged: dict[str, list[str]] = {}
    with writers(address) as child:
        for number in range(50):
            child.start(f"w{number}")
            acknowledged[f"w{number}"] = child.finish(moments.uniform(0.0, 0.1))
            if number % 10 == 9:
                assert_whole(address, acknowledged)
    assert sqlite3.connect(address).execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_postgres_that_is_killed_loses_nothing_that_was_acknowledged(postgres):
    address = postgres.fresh()
    moments = random.Random(8)
    store = Store.open(address)
    acknowledged: dict[str, list[str]] = {}
    for number in range(5):
        session = f"w{number}"
        keys = acknowledged.setdefault(session, [])

        def write(session: str = session, keys: list[str] = keys) -> None:
            with suppress(StoreGone):
                while True:
                    key = f"{session}-{len(keys)}"
                    store.events.append(key, "listener", session, store_work.events(key), [])
                    keys.append(key)

        store.database._gone = None
        writer = threading.Thread(target=write)
        writer.start()
        while not keys and writer.is_alive():
            time.sleep(0.001)
        time.sleep(moments.uniform(0.0, 0.1))
        postgres.kill()
        writer.join()
        postgres.start()
        assert_whole(address, acknowledged)
    store.close()


# No room


def mounted(folder: Path, size: str) -> None:
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if (
        not hasattr(os, "geteuid")
        or os.geteuid()
        or subprocess.run(command, capture_output=True, check=False).returncode
    ):
        pytest.skip("only root, where mounts are allowed, can make a disk that is full")


@pytest.fixture
def small_disk(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Path]]:
    """Makes a small disk, outside of pytest's folders, which only root may enter."""
    folder = Path("/tmp", f"segue-small-disk-{os.getpid()}")
    folder.mkdir()

    def make(size: str) -> Path:
        mounted(folder, size)
        return folder

    yield make
    subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)
    folder.rmdir()


def fill(folder: Path) -> Path:
    """A file that takes all the room there is."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def assert_survives_a_full_disk(store: Store, folder: Path) -> None:
    assert store.events.append("before", "ann", "s", [play("a")], [])
    filler = fill(folder)
    stored = []

    def store_on_and_on() -> None:
        for number in range(500):
            big = [play(f"{number} {n} {'x' * 200}") for n in range(100)]
            store.events.append(f"big{number}", "ann", "big", big, [])
            stored.extend(event.track for event in big)

    with pytest.raises(StoreFull, match="the disk is full; make room"):
        store_on_and_on()
    for _ in range(2):  # reading goes on, at once; so does refusing
        assert store.events.personal("ann", "s").tracks == ["a"]
        with pytest.raises(StoreFull):
            store.events.append("again", "ann", "s2", [play("x" * 2000)] * 1000, [])
    assert store.events.personal("ann", "big").tracks == stored[-10_000:]
    filler.unlink()
    assert store.events.append("again", "ann", "s2", [play("x" * 2000)] * 1000, [])
    assert store.events.append("after", "ann", "s", [play("b")], [])
    assert store.events.personal("ann", "s").tracks == ["a", "b"]


def test_a_full_disk_refuses_events_and_keeps_those_before_in_sqlite(small_disk):
    folder = small_disk("24m")
    store = Store.open(str(folder / "log.sqlite"))
    assert_survives_a_full_disk(store, folder)
    store.close()


def test_a_full_disk_refuses_events_and_keeps_those_before_in_postgres(small_disk, postgres):
    folder = small_disk("40m")
    shutil.chown(folder, "postgres")
    postgres.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
    name, address = postgres.database("TABLESPACE small")
    store = Store.open(address)
    assert_survives_a_full_disk(store, folder)
    store.close()
    postgres.execute(f"DROP DATABASE {name}")
    postgres.execute("DROP TABLESPACE small")


def test_a_new_log_on_a_full_disk_is_one_clear_line(small_disk):
    folder = small_disk("1m")
    fill(folder)
    with pytest.raises(StoreFull, match=r"log.sqlite: the disk is full; make room"):
        Store.open(str(folder / "log.sqlite"))


def test_an_error_of_the_disk_is_told_from_a_full_one(small_disk, tmp_path):
    """SQLite calls both the same where a quota ends, or memory that is mapped."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = "SQLITE_IOERR_WRITE"  # type: ignore
    full = small_disk("1m")
    for folder in (full, tmp_path):
        (folder / "log.sqlite").touch()
    fill(full)
    with pytest.raises(StoreFull), telling(address_of(str(full / "log.sqlite"))):
        raise error
    with (
        pytest.raises(StoreGone, match=r"log\.sqlite: cannot be reached \("),
        telling(address_of(str(tmp_path / "log.sqlite"))),
    ):
        raise error


# Gone and back


def assert_gone_and_back(
    store: Store, clock: Clock, leave: Callable[[], None], come_back: Callable[[], None]
) -> None:
    store.events.append("1", "ann", "s", [play("a")], [])
    tries: list[float] = []
    connect = store.database.engine.connect
    store.database.engine.connect = lambda: (tries.append(clock.now), connect())[1]  # type: ignore
    leave()
    for call in (
        store.database.ping,
        lambda: store.events.append("2", "ann", "s", [play("b")], []),
        lambda: store.events.personal("ann", "s"),
        lambda: store.playlists.page(None, None, 1),
        store.uploads.all,
    ):
        with pytest.raises(StoreGone):
            call()
    assert len(tries) == 1  # the others were refused at once
    clock.now += BREAK_SECONDS
    with pytest.raises(StoreGone):
        store.database.ping()
    assert len(tries) == 2
    come_back()
    with pytest.raises(StoreGone):
        store.database.ping()
    assert len(tries) == 2
    clock.now += BREAK_SECONDS
    store.database.ping()
    assert store.events.append("2", "ann", "s", [play("b")], [])
    assert store.events.personal("ann", "s").tracks == ["a", "b"]


def test_a_postgres_that_stops_is_gone_and_back_when_it_starts(postgres, clock):
    store = Store.open(postgres.fresh(), clock=clock)
    assert_gone_and_back(store, clock, postgres.stop, postgres.start)
    store.close()


def test_an_sqlite_folder_that_goes_away_is_gone_until_it_comes_back(tmp_path, clock):
    folder, away = tmp_path / "log", tmp_path / "away"
    folder.mkdir()
    store = Store.open(str(folder / "log.sqlite"), clock=clock)
    assert_gone_and_back(store, clock, lambda: folder.rename(away), lambda: away.rename(folder))
    store.close()


def test_an_sqlite_file_that_is_removed_takes_no_event_with_it(tmp_path, clock):
    file = tmp_path / "log.sqlite"
    store = Store.open(str(file), clock=clock)
    store.events.append("1", "ann", "s", [play("a")], [])
    file.unlink()
    with pytest.raises(StoreGone, match=r"log.sqlite: cannot be reached \("):
        store.events.append("2", "ann", "s", [play("a")], [])
    assert not file.exists()
    store.close()


def test_an_sqlite_file_that_is_overwritten_is_broken_not_a_crash(tmp_path, clock):
    file = tmp_path / "log.sqlite"
    store = Store.open(str(file), clock=clock)
    store.events.append("1", "ann", "s", [play("a")], [])
    store.database.engine.dispose()  # no page of it is in memory any more
    file.write_bytes(random.Random(0).randbytes(9000))
    with pytest.raises(StoreGone, match=r"log.sqlite: is not an SQLite file"):
        store.database.ping()
    store.close()


def test_one_call_tries_again_and_those_beside_it_do_not_wait(tmp_path, clock):
    folder, away = tmp_path / "log", tmp_path / "away"
    folder.mkdir()
    store = Store.open(str(folder / "log.sqlite"), clock=clock)
    folder.rename(away)
    with pytest.raises(StoreGone):
        store.database.ping()
    clock.now += BREAK_SECONDS
    away.rename(folder)
    trying, answered = threading.Event(), threading.Event()
    connect = store.database.engine.connect

    def slow() -> object:
        trying.set()
        assert answered.wait(20)
        return connect()

    store.database.engine.connect = slow  # type: ignore
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(store.database.ping)
        assert trying.wait(60)
        with pytest.raises(StoreGone):
            store.database.ping()
        answered.set()
        first.result()
    store.database.ping()
    store.close()


def test_a_clock_that_is_put_back_does_not_keep_the_store_away(tmp_path, clock):
    folder, away = tmp_path / "log", tmp_path / "away"
    folder.mkdir()
    store = Store.open(str(folder / "log.sqlite"), clock=clock)
    folder.rename(away)
    with pytest.raises(StoreGone):
        store.database.ping()
    away.rename(folder)
    clock.now -= 3600
    store.database.ping()
    store.close()


def test_a_refusal_by_a_database_that_answers_is_not_taken_for_its_absence(store, clock):
    store.events.append("1", "ann", "s", [play("a")], [])
    with pytest.raises(KeyReused):
        store.events.append("1", "ann", "s", [play("b")], [])
    with pytest.raises(NoPlaylist):
        store.playlists.get("none")
    store.database.ping()


# Addresses and files of other kinds


def refusal(address: object) -> str:
    with pytest.raises(SegueError) as error:
        Store.open(str(address))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_files_that_are_no_log_are_refused_in_one_line_and_left_alone(tmp_path):
    noise = tmp_path / "noise.db"
    noise.write_bytes(random.Random(0).randbytes(9000))
    assert refusal(noise) == f"{noise}: is not an SQLite file; name another file"
    assert noise.read_bytes() == random.Random(0).randbytes(9000)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE songs (name)")
    connection.close()
    assert refusal(other) == f"{other}: is no feedback log: it holds other tables; name another"
    assert refusal(tmp_path) == f"{tmp_path}: is not a file; name a file"
    missing = tmp_path / "no" / "log.db"
    assert refusal(missing).startswith(f"{missing}: cannot be made (")


def test_a_database_of_something_else_is_refused(postgres):
    address = postgres.fresh()
    engine = sa.create_engine(address.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE songs (name text)"))
    engine.dispose()
    assert ": is no feedback log: it holds other tables; name another" in refusal(address)


def test_a_log_of_a_newer_segue_is_refused(store, address):
    with store.database.transaction() as connection:
        connection.execute(sa.text("UPDATE meta SET value = '2' WHERE name = 'schema'"))
    assert refusal(address).endswith("has version 2, this segue reads up to 1; use a newer segue")


def test_a_read_only_log_is_refused(small_disk):
    folder = small_disk("4m")
    Store.open(str(folder / "log.sqlite")).close()
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    line = refusal(folder / "log.sqlite")
    assert line == f"{folder}/log.sqlite: is read-only; give one that can be written"


def test_addresses_of_other_kinds_are_refused_without_their_passwords():
    known = "give a file, sqlite:///PATH or postgresql://USER@HOST/DATABASE"
    assert (
        refusal("mysql://me:secret@host/x") == f"mysql://...: is no database that is known; {known}"
    )
    assert "known" in refusal("sqlite://")
    line = refusal("postgresql://me:secret@host:port/x?password=secret")
    assert line.startswith("postgresql://...: is no connection string of PostgreSQL; write")
    assert "secret" not in line


def test_a_server_that_is_not_there_is_gone_without_its_password():
    line = refusal("postgresql://me:secret@127.0.0.1:1/x?sslpassword=secret")
    assert line.startswith("postgresql://me:***@127.0.0.1:1/x: cannot be reached (")
    assert "secret" not in line


@pytest.fixture
def guarded(postgres):
    """Connection string of a database whose owner has the password "a secret"; it is not in it."""
    name, address = postgres.database()
    postgres.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'a secret'")
    postgres.execute(f"ALTER DATABASE {name} OWNER TO {name}")
    rules = postgres.data / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local {name} {name} scram-sha-256\n{before}")
    postgres.execute("SELECT pg_reload_conf()")
    yield address.replace("postgres@", f"{name}@")
    rules.write_text(before)
    postgres.execute("SELECT pg_reload_conf()")


def test_the_password_may_be_in_a_file_of_any_mode(guarded, tmp_path, monkeypatch):
    secret = tmp_path / "secret"
    monkeypatch.setenv("PGPASSWORD_FILE", str(secret))
    secret.write_text("another")
    assert "cannot be reached" in refusal(guarded)
    secret.write_text("a secret\n")
    secret.chmod(0o644)
    store = Store.open(guarded)
    store.events.append("1", "ann", "s", [play("a")], [])
    store.close()
    # A password of the connection string comes first.
    assert "cannot be reached" in refusal(guarded.replace("@", ":another@", 1))


def test_a_file_of_the_password_that_cannot_be_read_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PGPASSWORD_FILE", str(tmp_path / "missing"))
    line = refusal("postgresql://me@127.0.0.1:1/x")
    assert line.startswith(f"{tmp_path}/missing: cannot be read (")
    assert line.endswith("name the password's file in PGPASSWORD_FILE")


def test_a_path_may_hold_anything(tmp_path):
    folder = tmp_path / "a ?#%&é"
    folder.mkdir()
    store = Store.open(f"sqlite:///{folder}/log.sqlite")
    store.events.append("1", "ann", "s", [play("a")], [])
    assert (folder / "log.sqlite").stat().st_mode & 0o777 == 0o600
    store.close()
    assert sorted(p.name for p in folder.iterdir()) == ["log.sqlite"]


# Durability and speed


def test_sqlite_is_asked_for_what_the_docs_promise(tmp_path):
    store = Store.open(str(tmp_path / "log.sqlite"))
    for pragma, value in [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)]:
        assert query(store, f"PRAGMA {pragma}") == [(value,)]
    store.close()


def test_postgres_waits_for_the_disk_even_where_its_default_is_not_to(postgres):
    name, address = postgres.database()
    for default, used in [("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")]:
        postgres.execute(f"ALTER DATABASE {name} SET synchronous_commit = {default}")
        store = Store.open(address)
        assert query(store, "SHOW synchronous_commit") == [(used,)]
        store.close()


def test_a_listener_is_found_by_indexes_alone(tmp_path):
    store = Store.open(str(tmp_path / "log.sqlite"))
    seen: list[tuple[str, object]] = []
    sa.event.listen(
        store.database.engine,
        "before_cursor_execute",
        lambda c, cursor, sql, parameters, *_: seen.append((sql, parameters)),
    )
    store.events.append("1", "ann", "s", [play("a")], [])
    store.events.personal("ann", "s")
    selects = [(sql, values) for sql, values in seen if sql.startswith("SELECT")]
    assert len(selects) == 3
    with store.database.transaction(reads=True) as connection:
        for sql, values in selects:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values).all()
            assert all("SCAN" not in step.detail for step in plan), sql
    store.close()


# Playlists and uploads


def test_playlists_are_made_read_changed_and_removed(store, clock):
    made = store.playlists.create("ann", "Mine", ["a", "b", "a"], [{"uri": "a", "title": "A"}])
    assert len(made.id) >= 16
    assert made.id.isalnum()
    assert (made.owner, made.title, made.tracks, made.version) == (
        "ann",
        "Mine",
        ["a", "b", "a"],
        1,
    )
    assert made.created == made.changed == datetime.fromtimestamp(clock.now, UTC)
    assert store.playlists.get(made.id) == made
    clock.now += 60
    changed = store.playlists.change(made.id, title="Ours", tracks=["b"], version=1)
    assert (changed.title, changed.tracks, changed.version) == ("Ours", ["b"], 2)
    assert (changed.created, changed.changed) == (
        made.created,
        datetime.fromtimestamp(clock.now, UTC),
    )
    assert store.playlists.get(made.id) == changed
    store.playlists.remove(made.id)
    for call in (
        lambda: store.playlists.get(made.id),
        lambda: store.playlists.remove(made.id),
        lambda: store.playlists.change(made.id, title="", tracks=[], version=2),
    ):
        with pytest.raises(NoPlaylist, match=f"there is no playlist '{made.id}'"):
            call()
    assert query(store, "SELECT uri, title FROM tracks") == [("a", "A")]


def test_of_changes_to_one_version_the_first_wins(store):
    made = store.playlists.create(None, "", [])

    def change(number: int) -> bool:
        try:
            store.playlists.change(made.id, title=str(number), tracks=[], version=1)
        except StaleVersion:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(change, range(16))) == 1
    assert store.playlists.get(made.id).version == 2
    with pytest.raises(StaleVersion, match=r"^playlist: has version 2, not 1; read it again$"):
        store.playlists.change(made.id, title="", tracks=[], version=1)


def test_playlists_are_listed_newest_first_page_by_page(store, clock):
    ids = []
    for number in range(7):
        clock.now += 1
        ids.append(store.playlists.create("ann" if number % 2 else None, str(number), []).id)
    first = store.playlists.page(None, None, 3)
    assert [one.title for one in first] == ["6", "5", "4"]
    store.playlists.remove(first[-1].id)
    assert [one.title for one in store.playlists.page(None, first[-1].id, 9)] == [
        "3",
        "2",
        "1",
        "0",
    ]
    assert [one.title for one in store.playlists.page("ann", None, 9)] == ["5", "3", "1"]
    assert store.playlists.page("nobody", None, 9) == []


def test_ids_of_playlists_cannot_be_guessed(store, monkeypatch):
    seen = []
    monkeypatch.setattr(
        store_playlists.secrets, "token_hex", lambda n: seen.append(n) or f"{len(seen):020x}"
    )
    one, two = (store.playlists.create(None, "", []).id for _ in range(2))
    assert one < two
    assert seen == [10, 10]


def test_uploads_come_back_in_order_of_arrival_once(store):
    rows = [{"uri": uri, "title": ODD, "duration_ms": 7} for uri in ("z", "a", "m")]
    uploads = [Upload(uri=row["uri"], file=f"{row['uri']}.flac", row=row) for row in rows]
    assert [store.uploads.add(upload) for upload in uploads] == [True] * 3
    assert not store.uploads.add(Upload(uri="a", file="b.flac", row={"uri": "a"}))
    found = store.uploads.all()
    assert [(one.uri, one.file, one.row["title"]) for one in found] == [
        (row["uri"], f"{row['uri']}.flac", ODD) for row in rows
    ]
    with pytest.raises(UsageError, match=r"row.uri: is not 'b'"):
        store.uploads.add(Upload(uri="b", file="b", row={"uri": "c"}))
    with pytest.raises(UsageError, match="tracks have no column 'genre'"):
        store.uploads.add(Upload(uri="b", file="b", row={"uri": "b", "genre": "jazz"}))
