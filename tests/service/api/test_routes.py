"""What the service answers: the contract of every list, feedback, playlists, search, metrics."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.optional import reason

pytest.importorskip("fastapi", reason=reason("fastapi"))

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.service_worlds import (
    TRACKS,
    Bundles,
    House,
    batched,
    problem,
    uri,
    uris,
)

from segue.data.schema import Outcome
from segue.queries import Query
from segue.reranking.list_stage import ListStage, continue_playlist
from segue.service.api.wire import MOST_LETTERS
from segue.service.web.views import _order

SERVED = ("wrmf", "two-stage", "audio", "item-knn", "content")
ONE_RECORDING = {0, 60}
"""Tracks of the library that are the same recording."""
FEW = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module", params=SERVED)
def house(
    request: pytest.FixtureRequest,
    bundles: Bundles,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[House]:
    with House(bundles.live(request.param), tmp_path_factory.mktemp("house")) as opened:
        yield opened


@pytest.fixture(scope="module")
def wrmf(bundles: Bundles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(bundles.live("wrmf"), tmp_path_factory.mktemp("house")) as opened:
        yield opened


# Lists

known = st.integers(0, TRACKS - 1).map(uri)
named = st.one_of(known, known, known, st.sampled_from(["nowhere:1", "é" * MOST_LETTERS]))
artists = st.sampled_from(["artist 0", "ARTIST 3", "artist 9", "nobody at all"])
wanted = {
    "n": st.integers(1, 80),
    "bans": st.fixed_dictionaries(
        {},
        optional={
            "tracks": st.lists(named, max_size=40),
            "artists": st.lists(artists, max_size=3),
        },
    ),
    "spacing": st.fixed_dictionaries(
        {}, optional={"artist": st.integers(0, 5), "album": st.integers(0, 5)}
    ),
    "adventure": st.sampled_from([0.0, 0.0, 0.3, 1.0]),
    "one_recording": st.booleans(),
}
titles = st.sampled_from(["metal mix", "jazz", "artist 3", "  ", "song 7", "zzz", "é"])
continues = st.fixed_dictionaries(
    {},
    optional={
        **wanted,
        "tracks": st.lists(named, max_size=70),
        "skipped": st.lists(named, max_size=5),
        "title": st.none() | titles,
    },
)
outcomes = st.sampled_from(["finished", "partial", "skipped", "disliked", "unknown"])
nexts = st.fixed_dictionaries(
    {},
    optional={
        **wanted,
        "listens": st.lists(
            st.fixed_dictionaries({"track": named}, optional={"outcome": outcomes}), max_size=30
        ),
    },
)
ROW = {uri(t): t for t in range(TRACKS)}


def heard(body: dict[str, Any]) -> list[str]:
    """uris of what a request says was heard."""
    listens = [listen["track"] for listen in body.get("listens", [])]
    return [*body.get("tracks", []), *body.get("skipped", []), *listens]


def banned(body: dict[str, Any]) -> set[int]:
    """Rows that a request bans."""
    bans = body.get("bans", {})
    names = {name.lower() for name in bans.get("artists", [])}
    rows = {ROW[track] for track in bans.get("tracks", []) if track in ROW}
    return (
        rows
        | {t for t in range(60) if f"artist {t // 6}" in names}
        | ({60} if "artist 0" in names else set())
    )


def available(body: dict[str, Any]) -> int:
    """How many tracks can be answered."""
    history = {ROW[track] for track in heard(body) if track in ROW}
    left = set(range(TRACKS)) - history - banned(body)
    if body.get("one_recording", True):
        both = left & ONE_RECORDING
        left -= both if history & ONE_RECORDING else set(sorted(both)[1:])
    return len(left)


def check(body: dict[str, Any], answer: dict[str, Any]) -> None:
    """What every list must be."""
    rows = [track["index"] for track in answer["tracks"]]
    assert [track["uri"] for track in answer["tracks"]] == [uri(row) for row in rows]
    assert len(rows) == len(set(rows)) == min(body.get("n", 20), available(body))
    assert not set(rows) & banned(body)
    assert not {uri(row) for row in rows} & set(heard(body))
    if body.get("one_recording", True):
        assert len(ONE_RECORDING & set(rows)) < 2
    if not body.get("adventure") and not any(body.get("spacing", {}).values()):
        order = [(-track["score"], track["index"]) for track in answer["tracks"]]
        assert order == sorted(order)
    said = [*heard(body), *body.get("bans", {}).get("tracks", [])]
    unknown = [track for track in said if track not in ROW]
    unknown += [name for name in body.get("bans", {}).get("artists", []) if "nobody" in name]
    assert answer["unknown"] == list(dict.fromkeys(unknown))


@FEW
@given(body=continues)
def test_a_continued_playlist_is_as_promised(house: House, body: dict[str, Any]) -> None:
    answered = house.post("/v1/continue", body)
    assert answered.status_code == 200, answered.text
    check(body, answered.json())
    assert house.post("/v1/continue", body).content == answered.content


@FEW
@given(body=nexts)
def test_the_next_tracks_of_a_session_are_as_promised(house: House, body: dict[str, Any]) -> None:
    answered = house.post("/v1/next", body)
    assert answered.status_code == 200, answered.text
    check(body, answered.json())
    assert house.post("/v1/next", body).content == answered.content


def test_what_is_similar_to_a_track_is_as_promised(house: House) -> None:
    for track, n in ((uri(3), 1), (uri(0), 61), (uri(61), 500), (uri(5), 20)):
        answered = house.ask("GET", f"/v1/similar/{track}", params={"n": n})
        check({"tracks": [track], "n": n}, answered.json())


def test_similar_to_a_track_that_is_not_there(wrmf: House) -> None:
    assert "'nowhere:1'" in problem(wrmf.ask("GET", "/v1/similar/nowhere:1"), 404)["detail"]


@FEW
@given(body=continues, shorter=st.integers(1, 80))
def test_a_shorter_list_is_the_beginning_of_a_longer_one(
    house: House, body: dict[str, Any], shorter: int
) -> None:
    safe = body | {"adventure": 0.0}  # how far adventure reaches depends on n
    longer = uris(house.post("/v1/continue", safe | {"n": 80}))
    assert uris(house.post("/v1/continue", safe | {"n": shorter})) == longer[:shorter]


STAGES = [{"artist": 1}, {"album": 3}, {"artist": 2, "album": 4}, {}]


@pytest.mark.parametrize("adventure", [0.0, 0.4, 1.0])
def test_spacing_and_adventure_are_those_of_the_list_stage(house: House, adventure: float) -> None:
    tracks = [0, 14, 25]
    for spacing in STAGES:
        body = {"spacing": spacing, "adventure": adventure, "n": 9}
        told = house.post("/v1/continue", body | {"tracks": [uri(t) for t in tracks]})
        stage = ListStage(
            one_recording=True,
            artist_spacing=spacing.get("artist", 0),
            album_spacing=spacing.get("album", 0),
            adventure=adventure,
        )
        query = Query(tracks=tracks, outcomes=[Outcome.FINISHED] * 3)
        slate = continue_playlist(house.service.bundles.live.recommender, query, 9, stage)
        assert [track["index"] for track in told.json()["tracks"]] == slate.tracks.tolist()


@FEW
@given(body=continues, pick=st.integers(0, 10_000))
def test_one_more_ban_never_shortens_a_list_while_tracks_remain(
    house: House, body: dict[str, Any], pick: int
) -> None:
    before = uris(house.post("/v1/continue", body))
    if not before:
        return
    gone = before[pick % len(before)]
    bans = body.get("bans", {})
    more = body | {"bans": bans | {"tracks": [*bans.get("tracks", []), gone]}}
    after = uris(house.post("/v1/continue", more))
    assert gone not in after
    assert len(after) == min(body.get("n", 20), available(more))
    assert len(after) >= len(before) - 1
    if available(more) >= body.get("n", 20):
        assert len(after) == len(before)


def many(seed: int, count: int = 24) -> list[tuple[str, str, Any]]:
    """Different questions of every kind."""
    rng = np.random.default_rng(seed)
    asked: list[tuple[str, str, Any]] = []
    for i in range(count):
        tracks = [uri(t) for t in rng.integers(0, TRACKS, rng.integers(0, 12)).tolist()]
        body: dict[str, Any] = {"n": int(rng.integers(1, 70))}
        if i % 3 == 0:
            body |= {"adventure": 0.5, "spacing": {"artist": 2}}
        if i % 4 == 1:
            body |= {"bans": {"tracks": [uri(i)], "artists": [f"artist {i % 10}"]}}
        if i % 5 == 2:
            asked.append(("GET", f"/v1/similar/{uri(i)}?n={body['n']}", None))
        elif i % 2:
            asked.append(("POST", "/v1/continue", body | {"tracks": tracks, "title": "metal mix"}))
        else:
            listens = [
                {"track": track, "outcome": ("finished", "skipped")[j % 2]}
                for j, track in enumerate(tracks)
            ]
            asked.append(("POST", "/v1/next", body | {"listens": listens}))
    return asked


def test_questions_that_come_together_are_answered_as_if_alone(house: House) -> None:
    asked = many(5)
    alone = [house.ask(method, path, json=body) for method, path, body in asked]
    sizes: list[int] = []
    real = house.service.recommendations.scorer.observe
    house.service.recommendations.scorer.observe = lambda level, size, took: sizes.append(size)
    together = batched(house, asked)
    house.service.recommendations.scorer.observe = real
    assert [one.content for one in together] == [one.content for one in alone]
    assert {one.status_code for one in alone} == {200}
    assert max(sizes) > 5


def test_what_is_unknown_is_told_and_the_rest_is_answered(wrmf: House) -> None:
    body = {
        "tracks": ["gone:1", uri(1), "gone:1"],
        "skipped": ["gone:2"],
        "bans": {"tracks": ["gone:3"], "artists": ["Nobody", "artist 1"]},
    }
    told = wrmf.post("/v1/continue", body).json()
    assert told["unknown"] == ["gone:1", "gone:2", "gone:3", "Nobody"]
    without = {"tracks": [uri(1)], "bans": {"artists": ["artist 1"]}}
    assert told["tracks"] == wrmf.post("/v1/continue", without).json()["tracks"]


@pytest.mark.parametrize("path", ["/v1/continue", "/v1/next"])
def test_who_says_nothing_is_answered_what_is_played_most(house: House, path: str) -> None:
    told = house.post(path, {"n": 10}).json()
    assert told["served_by"] == told["rung"] == "popularity"
    plays = house.service.bundles.live.catalog.plays
    order = sorted(range(TRACKS), key=lambda t: (-plays[t], t))
    assert [track["index"] for track in told["tracks"]] == [t for t in order if t != 60][:10]


def test_every_track_can_be_banned_and_then_nothing_is_left(house: House) -> None:
    told = house.post("/v1/continue", {"bans": {"tracks": list(ROW)}})
    assert uris(told) == []


def test_an_answer_says_why_and_from_what(wrmf: House) -> None:
    told = wrmf.post("/v1/continue", {"tracks": [uri(1), uri(2)], "n": 3}).json()
    assert told["version"] == wrmf.service.bundles.live.version
    assert (told["rung"], told["passed"], told["personal"]) == ("wrmf", [], False)
    assert told["simulated"] is True
    for track in told["tracks"]:
        assert {reason["uri"] for reason in track["reasons"]} == {uri(1), uri(2)}
        assert sum(reason["amount"] for reason in track["reasons"]) == pytest.approx(track["score"])


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"tracks": ["a", "b", 3]}, "$.tracks[2]"),
        ({"bans": {"artists": [""]}}, "$.bans.artists[0]"),
        ({"n": 0}, "$.n"),
        ({"n": 501}, "$.n"),
        ({"adventure": 1.5}, "$.adventure"),
        ({"spacing": {"artist": -1}}, "$.spacing.artist"),
        ({"title": "x" * 201}, "$.title"),
        ({"title": "two\nlines"}, "$.title"),
        ({"title": "a line\n"}, "$.title"),
        ({"tracks": ["x"] * 1001}, "$.tracks"),
        ({"listener": "with space"}, "$.listener"),
        ({"listener": "ada\n"}, "$.listener"),
        ({"seeds": []}, "$"),
    ],
)
def test_a_wrong_field_is_told_by_its_path(wrmf: House, body: Any, path: str) -> None:
    said = problem(wrmf.post("/v1/continue", body), 422)
    assert [fault["path"] for fault in said["errors"]] == [path]


def test_a_body_that_is_no_json(wrmf: House) -> None:
    kind = {"content-type": "application/json"}
    for text in (b"", b"{", b"\xff", b"[" * 100_000, b'{"n": NaN}', b'{"title": "\\ud800"}'):
        problem(wrmf.ask("POST", "/v1/continue", content=text, headers=kind), 400)
    problem(wrmf.ask("POST", "/v1/continue", content=b"{}"), 415)


def test_two_point_nought_is_a_whole_number(wrmf: House) -> None:
    kind = {"content-type": "application/json"}
    asked = b'{"n": 2.0, "spacing": {"artist": 1e0}, "adventure": 1.0}'
    assert len(uris(wrmf.ask("POST", "/v1/continue", content=asked, headers=kind))) == 2
    half = wrmf.ask("POST", "/v1/continue", content=b'{"n": 2.5}', headers=kind)
    assert problem(half, 422)["errors"][0]["path"] == "$.n"


# Feedback


def say(house: House, key: str, *events: dict[str, Any], listener: str = "ada", session: str = "s"):
    body = {"key": key, "listener": listener, "session": session, "events": list(events)}
    return house.post("/v1/feedback", body)


@pytest.fixture
def fresh(bundles: Bundles, tmp_path: Path) -> Iterator[House]:
    """Of wrmf, with an empty log."""
    with House(bundles.live("wrmf"), tmp_path) as opened:
        yield opened


ADA = {"listener": "ada", "session": "s", "n": 61}


def test_a_skip_changes_the_next_answer_of_the_session(fresh: House) -> None:
    say(fresh, "1", {"kind": "play", "track": uri(0), "outcome": "finished"})
    before = fresh.post("/v1/next", ADA)
    assert uri(0) not in uris(before)
    assert before.json()["personal"] is True
    say(fresh, "2", {"kind": "skip", "track": uri(14), "ms_played": 900})
    after = fresh.post("/v1/next", ADA)
    assert uri(14) not in uris(after)
    sent = [
        {"track": uri(0), "outcome": "finished"},
        {"track": uri(14), "outcome": "skipped"},
    ]
    assert (
        after.json()["tracks"]
        == fresh.post("/v1/next", {"listens": sent, "n": 61}).json()["tracks"]
    )
    finished = [sent[0], sent[1] | {"outcome": "finished"}]
    assert uris(after) != uris(fresh.post("/v1/next", {"listens": finished, "n": 61}))


def test_bans_count_in_every_session_until_they_are_taken_back(fresh: House) -> None:
    say(fresh, "1", {"kind": "ban", "track": uri(3)}, {"kind": "ban_artist", "artist": "Artist 2"})
    for session in ("s", "another", None):
        got = uris(fresh.post("/v1/continue", ADA | {"session": session}))
        assert uri(3) not in got
        assert not {uri(t) for t in range(12, 18)} & set(got)
    assert uri(3) in uris(fresh.post("/v1/continue", ADA | {"listener": "bob"}))
    say(
        fresh,
        "2",
        {"kind": "unban", "track": uri(3)},
        {"kind": "unban_artist", "artist": "Artist 2"},
    )
    assert {uri(3), uri(12)} <= set(uris(fresh.post("/v1/continue", ADA | {"session": None})))


def test_what_was_heard_in_other_sessions_is_the_past(bundles: Bundles, tmp_path: Path) -> None:
    with House(bundles.live("personal"), tmp_path) as house:
        heard = [{"kind": "play", "track": uri(t), "outcome": "finished"} for t in (40, 40, 22)]
        say(house, "1", *heard, session="morning")
        told = house.post("/v1/next", ADA | {"session": "evening"})
        assert told.json()["rung"] == "personal"
        assert uris(told)[:2] == [uri(40), uri(22)]
        assert not {uri(40), uri(22)} & set(
            uris(house.post("/v1/next", ADA | {"session": "morning"}))
        )
        assert house.post("/v1/next", {"listener": "bob"}).json()["rung"] == "popularity"


def test_feedback_comes_before_what_is_sent(fresh: House) -> None:
    say(fresh, "1", {"kind": "play", "track": uri(0), "outcome": "finished"})
    both = fresh.post("/v1/continue", ADA | {"tracks": [uri(14)]}).json()["tracks"]
    assert (
        both == fresh.post("/v1/continue", {"tracks": [uri(0), uri(14)], "n": 61}).json()["tracks"]
    )


def test_the_same_feedback_again_is_stored_once(fresh: House) -> None:
    event = {"kind": "like", "track": uri(1)}
    assert say(fresh, "1", event).json() == {"stored": 1, "duplicate": False}
    assert say(fresh, "1", event).json() == {"stored": 0, "duplicate": True}
    problem(say(fresh, "1", {"kind": "like", "track": uri(2)}), 409)
    assert say(fresh, "1", event, listener="bob").json()["stored"] == 1


def test_feedback_that_is_wrong_is_told_by_its_path(fresh: House) -> None:
    good = {"kind": "like", "track": uri(1)}
    for bad, path in (
        ({"kind": "hum", "track": "x"}, "$.events[1].kind"),
        ({"kind": "play"}, "$.events[1]"),
        ({"kind": "skip", "track": "x", "outcome": "finished"}, "$.events[1]"),
        ({"kind": "skip", "track": "x", "ms_played": -1}, "$.events[1].ms_played"),
        ({"kind": "ban", "track": "x", "at": "2026-01-01T00:00:00"}, "$.events[1].at"),
    ):
        assert problem(say(fresh, "1", good, bad), 422)["errors"][0]["path"] == path
    assert say(fresh, "1", good).json()["stored"] == 1


def test_tracks_that_the_catalog_lacks_are_stored_too(fresh: House) -> None:
    assert say(fresh, "1", {"kind": "skip", "track": "gone:1"}).json()["stored"] == 1
    told = fresh.post("/v1/next", ADA)
    assert told.json()["unknown"] == []
    assert len(uris(told)) == 61


# Search and tracks


def test_search_finds_by_words_and_by_uri(wrmf: House) -> None:
    def found(**asked: Any) -> list[str]:
        return uris(wrmf.ask("GET", "/v1/search", params=asked))

    assert set(found(q="artist 7 son", n=50)) == {uri(t) for t in (7, 21, 22, 23, *range(42, 48))}
    assert found(q=uri(7)) == [uri(7)]
    assert found(q="nothing like it") == []
    assert len(found(q="artist", n=4)) == 4
    plays = wrmf.service.bundles.live.catalog.plays
    assert found(n=1) == [uri(int(np.argmax(plays)))]
    for asked in ({"q": "a\nb"}, {"n": 0}, {"n": 501}, {"n": "x"}):
        said = problem(wrmf.ask("GET", "/v1/search", params=asked), 422)
        assert said["errors"][0]["path"] == f"query.{next(iter(asked))}"


def test_what_a_track_is_called(wrmf: House) -> None:
    told = wrmf.ask("GET", f"/v1/tracks/{uri(60)}").json()
    plays = int(wrmf.service.bundles.live.catalog.plays[60])
    assert told == {
        "uri": uri(60), "title": "song 0 (2011 Remaster)", "artist": "artist 0",
        "album": "album 0", "duration_ms": 100_000, "plays": plays, "playable": False,
    }  # fmt: skip
    problem(wrmf.ask("GET", "/v1/tracks/gone:1"), 404)
    problem(wrmf.ask("GET", f"/v1/tracks/{uri(60)}/audio"), 404)
    problem(wrmf.ask("GET", "/v1/nothing"), 404)


# Playlists


def test_a_playlist_is_kept_changed_exported_and_removed(fresh: House) -> None:
    body = {"title": "mine", "tracks": [uri(1), "gone:1", uri(1)], "listener": "ada"}
    made = fresh.post("/v1/playlists", body)
    assert made.status_code == 201
    at = made.headers["location"]
    kept = fresh.ask("GET", at).json()
    assert kept == made.json()
    assert {name: kept[name] for name in body} == body
    assert kept["version"] == 1
    change = {"title": "ours", "tracks": [uri(2)], "version": 1}
    assert fresh.ask("PUT", at, json=change).json()["version"] == 2
    problem(fresh.ask("PUT", at, json=change), 409)
    assert fresh.ask("GET", at).json()["tracks"] == [uri(2)]
    for form, kind in (
        ("m3u8", "application/vnd.apple.mpegurl"), ("xspf", "application/xspf+xml"),
        ("jspf", "application/json"), ("csv", "text/csv; charset=utf-8"),
    ):  # fmt: skip
        file = fresh.ask("GET", f"{at}/export", params={"format": form})
        assert file.headers["content-type"] == kind
        assert file.headers["content-disposition"] == f'attachment; filename="playlist.{form}"'
        assert "song 2" in file.text
    problem(fresh.ask("GET", f"{at}/export", params={"format": "exe"}), 422)
    assert fresh.ask("DELETE", at).status_code == 204
    for refused in (
        fresh.ask("GET", at), fresh.ask("DELETE", at), fresh.ask("PUT", at, json=change),
        fresh.ask("GET", f"{at}/export"),
    ):  # fmt: skip
        problem(refused, 404)


def test_playlists_come_page_by_page_newest_first(fresh: House) -> None:
    for i in range(5):
        owner = "bob" if i == 2 else "ada"
        fresh.post("/v1/playlists", {"title": str(i), "listener": owner})
    pages, after = [], None
    while True:
        asked = {"listener": "ada", "n": 2} | ({"after": after} if after else {})
        page = fresh.ask("GET", "/v1/playlists", params=asked).json()
        pages.append([one["title"] for one in page["playlists"]])
        after = page["after"]
        if after is None:
            break
    assert sorted(title for page in pages for title in page) == ["0", "1", "3", "4"]
    assert [len(page) for page in pages] == [2, 2]
    assert len(fresh.ask("GET", "/v1/playlists").json()["playlists"]) == 5


# Metrics


def counts(house: House) -> dict[str, float]:
    """Value of each line."""
    lines = house.ask("GET", "/metrics").text.splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {name: float(value) for name, value in pairs}


def test_metrics_move_with_what_happens(fresh: House) -> None:
    before = counts(fresh)
    assert before[f'segue_bundle{{version="{fresh.service.bundles.live.version}"}}'] == 1
    assert before["segue_catalog_tracks"] == TRACKS
    assert before["segue_log_up"] == 1
    assert before["segue_bundle_trained_timestamp_seconds"] > 1.7e9
    for _ in range(2):
        fresh.post("/v1/continue", {"tracks": [uri(1)]})
    fresh.post("/v1/continue", {"bans": {"tracks": list(ROW)}})
    fresh.post("/v1/continue", {"n": 0})
    say(fresh, "1", {"kind": "skip", "track": uri(1)}, {"kind": "ban_artist", "artist": "x"})
    say(fresh, "1", {"kind": "skip", "track": uri(1)}, {"kind": "ban_artist", "artist": "x"})
    fresh.ask("GET", f"/v1/tracks/{uri(1)}")
    after = counts(fresh)
    moved = {name: value - before.get(name, 0) for name, value in after.items()}
    at = "segue_request_seconds_count"
    for name, by in {
        'segue_answers_total{rung="wrmf"}': 2,
        'segue_answers_total{rung="popularity"}': 1,
        'segue_rungs_passed_total{rung="wrmf",why="knows nothing"}': 1,
        "segue_empty_answers_total": 1,
        'segue_feedback_events_total{kind="skip"}': 1,
        'segue_feedback_events_total{kind="ban"}': 1,
        'segue_batch_answers_count{rung="wrmf"}': 2,
        'segue_batch_seconds_count{rung="wrmf"}': 2,
        at + '{method="POST",route="/v1/continue",status="200"}': 3,
        at + '{method="POST",route="/v1/continue",status="422"}': 1,
        at + '{method="POST",route="/v1/feedback",status="200"}': 2,
        at + '{method="GET",route="/v1/tracks/{track:path}",status="200"}': 1,
    }.items():
        assert moved.get(name) == by, name


def test_a_client_cannot_make_up_labels(fresh: House) -> None:
    for i in range(30):
        fresh.ask("GET", f"/v1/tracks/made:up:{i}")
        fresh.ask("GET", f"/made/up/{i}")
        fresh.ask(f"MADEUP{i}", f"/v1/similar/{i}")
        fresh.post("/v1/continue", {"tracks": [f"made:up:{i}"], "listener": f"l{i}"})
    labels = set(re.findall(r'segue_\w+_count\{.*?(method="\w+",route="[^"]*")', fresh_text(fresh)))
    assert labels == {
        'method="GET",route="/v1/tracks/{track:path}"',
        'method="GET",route="none"',
        'method="other",route="/v1/similar/{track:path}"',
        'method="POST",route="/v1/continue"',
    }
    assert "made:up" not in fresh_text(fresh)


def fresh_text(house: House) -> str:
    return str(house.ask("GET", "/metrics", headers={"accept": "text/plain"}).text).split(
        'route="/metrics"'
    )[0]


def test_alerts_can_rely_on_the_names_of_metrics(fresh: House) -> None:
    kinds = dict(
        re.findall(r"# TYPE (segue_\w+(?<!_created)) (\w+)", fresh.ask("GET", "/metrics").text)
    )
    assert kinds == {
        "segue_answers_total": "counter",
        "segue_batch_answers": "histogram",
        "segue_batch_seconds": "histogram",
        "segue_bundle": "gauge",
        "segue_bundle_swaps_total": "counter",
        "segue_bundle_trained_timestamp_seconds": "gauge",
        "segue_catalog_tracks": "gauge",
        "segue_catalog_uploads": "gauge",
        "segue_empty_answers_total": "counter",
        "segue_feedback_events_total": "counter",
        "segue_log_full_total": "counter",
        "segue_log_up": "gauge",
        "segue_request_seconds": "histogram",
        "segue_rungs_passed_total": "counter",
    }


# Health


def test_health(fresh: House) -> None:
    assert fresh.ask("GET", "/health/live").json() == {"status": "live"}
    told = fresh.ask("GET", "/health/ready").json()
    live = fresh.service.bundles.live
    assert told["status"] == "ready"
    assert told["version"] == live.version
    assert told["rungs"] == ["wrmf", "content", "popularity"]
    assert told["log"] == "ok"
    assert told["uploads"] == 0
    assert json.dumps(told)


def test_rows_from_before_an_upload_are_compared_and_those_of_another_bundle_are_not() -> None:
    assert _order("wrmf-ab:3.1", "wrmf-ab.2") == {3: 1, 1: 2}
    assert _order("wrmf-ab.1:3", "wrmf-ab") == {3: 1}
    assert _order("wrmf-ab:3", "wrmf-cd") == {}
