"""Who answers when the best model cannot, fails, or has no time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.optional import reason

pytest.importorskip("fastapi", reason=reason("fastapi"))

import httpx
from support.service_worlds import (
    LOCAL,
    SECONDS,
    SETTINGS,
    TRACKS,
    Bundles,
    House,
    batched,
    problem,
    uri,
    uris,
)

from segue.data.schema import Outcome
from segue.models.base.recommender import POPULARITY
from segue.queries import Query
from segue.reranking.list_stage import ListStage
from segue.service.serving.batching import PendingQuery
from segue.service.serving.fallback import FallbackLevel

TWO_STAGES = ["two-stage", "first stage", "content", "title", "popularity"]
LEVELS = {
    "wrmf": ["wrmf", "content", "popularity"],
    "two-stage": TWO_STAGES,
    "audio": ["audio", "content", "popularity"],
    "item-knn": ["item-knn", "content", "popularity"],
    "content": ["content", "popularity"],
    "personal": ["personal", "content", "popularity"],
    "popularity": ["popularity"],
}
Way = list[tuple[str, str]]


@pytest.fixture
def houses(bundles: Bundles, tmp_path: Path) -> Iterator[Any]:
    """Opens a service of a bundle, with settings."""
    opened = []

    def open_one(name: str, **settings: Any) -> House:
        house = House(bundles.live(name), tmp_path / str(len(opened)), settings)
        opened.append(house.__enter__())
        return house

    yield open_one
    for house in opened:
        house.__exit__()


def way(house: House, body: dict[str, Any], n: int = 5) -> tuple[Way, str]:
    """Rungs that did not answer and why; and the one that did."""
    told = house.post("/v1/continue", body | {"n": n})
    assert len(uris(told)) == n
    passed = [(one["rung"], one["why"]) for one in told.json()["passed"]]
    return passed, told.json()["rung"]


def break_level(monkeypatch: pytest.MonkeyPatch, house: House, *names: str) -> None:
    """Let fallback levels fail at everything."""

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("a secret of the model")

    for level in house.service.bundles.live.levels:
        if level.name in names:
            monkeypatch.setattr(level.recommender, "recommend", broken)


def test_each_kind_of_bundle_has_its_rungs(bundles: Bundles) -> None:
    assert set(LEVELS) == set(SETTINGS)
    for name, levels in LEVELS.items():
        live = bundles.live(name)
        assert [level.name for level in live.levels] == levels
        assert set(live.seconds) == set(levels)
        assert all(seconds > 0 for seconds in live.seconds.values())


def test_sound_upon_two_stages_has_their_rungs(
    bundles: Bundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = {"sound": "none", "tower": "mean", "base": "two-stage"}
    monkeypatch.setitem(SETTINGS, "audio", both | {"two_stage": SETTINGS["two-stage"]})
    bundles = Bundles(bundles.path("wrmf").parent / "both")
    assert [level.name for level in bundles.live("audio").levels] == ["audio", *TWO_STAGES[1:]]


def test_a_rung_that_knows_nothing_leaves_it_to_the_next(houses: Any) -> None:
    house = houses("wrmf")
    assert way(house, {"tracks": [uri(1)]}) == ([], "wrmf")
    # Nobody has played track 5, but its artist is known.
    told = house.post("/v1/continue", {"tracks": [uri(5)], "n": 6})
    assert told.json()["passed"] == [{"rung": "wrmf", "why": "knows nothing"}]
    assert told.json()["served_by"] == told.json()["rung"] == "content"
    assert set(uris(told)[:5]) == {uri(t) for t in range(5)}
    # Of track 61 nobody knows anything.
    nothing = [("wrmf", "knows nothing"), ("content", "knows nothing")]
    assert way(house, {"tracks": [uri(61)]}) == (nothing, "popularity")
    assert way(house, {}) == (nothing, "popularity")


def test_words_of_a_title_find_names_where_no_model_reads_titles(houses: Any) -> None:
    house = houses("item-knn")
    told = house.post("/v1/continue", {"title": "Remasters: REMASTER!", "n": 6})
    assert told.json()["rung"] == "content"
    assert uris(told)[0] == uri(60)


def test_a_title_of_two_stages_is_answered_by_their_model_of_titles(
    houses: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = houses("two-stage")
    body = {"title": "disco mix", "n": 5}
    told = house.post("/v1/continue", body).json()
    assert (told["rung"], told["served_by"], told["passed"]) == ("two-stage", "title", [])
    disco = {f"artist {t}" for t in (4, 5)}
    assert {track["artist"] for track in told["tracks"]} <= disco
    break_level(monkeypatch, house, "two-stage", "first stage")
    again = house.post("/v1/continue", body).json()
    assert (again["rung"], again["served_by"]) == ("title", "title")
    assert [one["rung"] for one in again["passed"]] == TWO_STAGES[:3]
    assert {track["artist"] for track in again["tracks"]} <= disco


def test_a_level_that_fails_leaves_it_to_the_next_and_the_log_says_so(
    houses: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house = houses("two-stage")
    best = house.post("/v1/continue", {"tracks": [uri(1)]})
    for broken in range(1, 4):
        break_level(monkeypatch, house, TWO_STAGES[broken - 1])
        told = house.post("/v1/continue", {"tracks": [uri(1)]})
        assert told.json()["passed"][0] == {"rung": "two-stage", "why": "failed"}
        assert told.json()["rung"] not in TWO_STAGES[:broken]
        assert "secret" not in told.text
        assert f"fallback level {TWO_STAGES[broken - 1]} failed" in caplog.text
    monkeypatch.undo()
    assert house.post("/v1/continue", {"tracks": [uri(1)]}).content == best.content


def test_popularity_answers_whatever_fails(houses: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, levels in LEVELS.items():
        house = houses(name)
        break_level(monkeypatch, house, *levels[:-1])
        passed, level = way(house, {"tracks": [uri(1)], "title": "jazz"})
        assert level == POPULARITY
        assert [one for one, _ in passed] == levels[:-1]


def test_when_even_popularity_fails_that_is_a_problem_and_the_next_is_answered(
    houses: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = houses("popularity")
    break_level(monkeypatch, house, POPULARITY)
    said = problem(house.post("/v1/continue", {}), 500)
    assert "secret" not in said["detail"]
    monkeypatch.undo()
    assert way(house, {}) == ([], POPULARITY)


def test_one_bad_question_spoils_no_other_in_its_batch(
    houses: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = houses("wrmf")
    model = house.service.bundles.live.recommender
    asked = [("POST", "/v1/continue", {"tracks": [uri(t)]}) for t in range(1, 5)]
    alone = [house.ask(method, path, json=body) for method, path, body in asked]
    real = model.recommend

    def fails_at_two(queries: Any, n: int) -> Any:
        if 2 in queries.tracks:
            raise ZeroDivisionError
        return real(queries, n)

    monkeypatch.setattr(model, "recommend", fails_at_two)
    together = batched(house, asked)
    assert [one.json()["rung"] for one in together] == ["wrmf", "content", "wrmf", "wrmf"]
    others = (0, 2, 3)
    assert [together[at].content for at in others] == [alone[at].content for at in others]


def test_what_cannot_even_be_planned_is_a_problem_and_the_next_is_answered(
    houses: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = houses("wrmf")

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(house.service.recommendations.scorer, "_pick", broken)
    problem(house.post("/v1/continue", {}), 500)
    monkeypatch.undo()
    assert way(house, {"tracks": [uri(1)]}) == ([], "wrmf")


def test_too_small_a_budget_takes_a_lower_rung_and_says_so(houses: Any) -> None:
    house = houses("two-stage", budget_ms=0.0001)
    passed, level = way(house, {"tracks": [uri(1)], "title": "jazz"})
    assert level == "popularity"
    assert passed == [(name, "over budget") for name in TWO_STAGES[:-1]]


def test_a_rung_that_was_slow_once_is_tried_again(houses: Any) -> None:
    house = houses("wrmf", budget_ms=1000)
    answering, name = house.service.recommendations.scorer, house.service.bundles.live.name
    answering._seconds[name, "wrmf"] = 2.0
    over = []
    while way(house, {"tracks": [uri(1)]})[0] == [("wrmf", "over budget")]:
        over.append(answering._seconds[name, "wrmf"])
        assert len(over) < 500
    assert over == sorted(over, reverse=True)
    assert len(over) > 100
    assert answering._seconds[name, "wrmf"] < over[-1]  # it has been measured again


def test_a_batch_is_planned_as_a_whole(houses: Any) -> None:
    """Ten questions of 0.11 s each do not all fit into a second."""
    house = houses("wrmf")
    live, answering = house.service.bundles.live, house.service.recommendations.scorer
    loop = asyncio.new_event_loop()
    stage, done = ListStage(), loop.create_future()
    asks = [PendingQuery(live, Query(), 5, stage, 1.0, done, loop) for _ in range(10)]
    answering._seconds = {(live.name, "wrmf"): 0.11, (live.name, "content"): 0.01}
    planned = 0.0
    for ask in asks:
        planned = answering._pick(ask, planned)
    loop.close()
    # The ninth would begin after 0.88 s, and may take half of the 0.12 s that are left.
    assert [live.levels[ask.level].name for ask in asks] == ["wrmf"] * 8 + ["content"] * 2
    assert planned == pytest.approx(0.9)


def test_time_in_which_another_computes_is_not_the_rungs_own(
    houses: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = houses("wrmf")
    took: list[float] = []
    monkeypatch.setattr(
        house.service.recommendations.scorer,
        "observe",
        lambda level, size, seconds: took.append(seconds),
    )
    ticks = [0.0]
    monkeypatch.setattr(house.service.recommendations.scorer, "clock", lambda: ticks[0])

    class Busy:
        """A lock for which others made it wait."""

        def __enter__(self) -> None:
            ticks[0] += 100

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr("segue.service.serving.batching.scoring", Busy())
    way(house, {"tracks": [uri(1)]})
    assert took == [0.0]


def test_more_questions_than_may_wait_are_refused(
    houses: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = houses("wrmf", waiting=2)
    answering, begun, go = (
        house.service.recommendations.scorer,
        threading.Event(),
        threading.Event(),
    )
    real = answering._answer

    def waits(asks: Any) -> None:
        begun.set()
        go.wait(SECONDS)
        real(asks)

    monkeypatch.setattr(answering, "_answer", waits)

    async def ask_nine() -> list[httpx.Response]:
        ask = lambda: asyncio.ensure_future(house._ask("POST", "/v1/next", LOCAL, json={}))  # noqa: E731
        asked = [ask()]
        while not begun.is_set():
            await asyncio.sleep(0.001)
        asked += [ask() for _ in range(8)]
        while sum(one.done() for one in asked) < 6:
            await asyncio.sleep(0.001)
        go.set()
        return list(await asyncio.gather(*asked))

    found = house.run(ask_nine())
    assert sorted(one.status_code for one in found) == [200] * 3 + [503] * 6
    for one in found:
        if one.status_code == 503:
            problem(one, 503)
            assert one.headers["retry-after"] == "1"


def test_a_rung_reads_nothing_of_tracks_that_it_has_not(bundles: Bundles) -> None:
    level = FallbackLevel("small", bundles.live("wrmf").recommender)
    assert level.tracks == TRACKS
    fits = Query(tracks=[1, 61], bans=[2])
    assert level.reads(fits) is fits
    more = Query(
        tracks=[1, 62, 3],
        outcomes=[Outcome.SKIPPED, Outcome.FINISHED, Outcome.PARTIAL],
        title="jazz",
        bans=[2, 99],
        past=[100, 4],
    )
    assert level.reads(more) == Query(
        tracks=[1, 3],
        outcomes=[Outcome.SKIPPED, Outcome.PARTIAL],
        title="jazz",
        bans=[2],
        past=[4],
    )
    assert level.reads(Query(tracks=[99, 1])).outcomes == [Outcome.UNKNOWN]
