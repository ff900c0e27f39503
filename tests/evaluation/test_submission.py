"""The official challenge set and submission: what is read, written, and rejected."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from support.evaluation_worlds import (
    plain_tracks,
    spotify_uri,
    train_bundle,
    write_dataset,
    write_world,
)

from segue.bundle import Bundle
from segue.errors import BundleError, DataError, UsageError
from segue.evaluation import submission as module
from segue.evaluation.submission import (
    ChallengeSet,
    check_submission,
    read_challenge_set,
    submit,
)

TEAM = {"team": "Hill Road", "email": "hill@example.org"}


def seed(number: int, pos: int, **more: Any) -> dict[str, Any]:
    return {
        "pos": pos,
        "track_uri": spotify_uri(number),
        "track_name": f"Title {number}",
        "artist_name": f"Artist {number % 50}",
        "artist_uri": "spotify:artist:x",
        "duration_ms": 1,
    } | more


PLAYLISTS: list[dict[str, Any]] = [
    {
        "pid": 1000002,
        "name": "genre 1",
        "num_holdouts": 9,
        "num_samples": 0,
        "num_tracks": 9,
        "tracks": [],
    },
    {
        "pid": 1000000,
        "num_holdouts": 3,
        "num_samples": 2,
        "num_tracks": 5,
        "tracks": [seed(7, 1), seed(1, 0)],
    },
    {
        "pid": 1000005,
        "name": "x" * 10_000,
        "num_holdouts": 4,
        "num_samples": 3,
        "num_tracks": 7,
        "tracks": [
            seed(1, 0, track_uri="spotify:track:" + "z" * 22),
            seed(1, 1, track_uri="spotify:track:" + "y" * 22, track_name="unheard of"),
            seed(13, 2),
        ],
    },
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("submission")
    trained = train_bundle(write_world(folder / "world"))
    trained.save(folder / "bundle")
    return Bundle.load(folder / "bundle")


@pytest.fixture
def challenge_path(tmp_path: Path) -> Path:
    path = tmp_path / "challenge_set.json"
    path.write_text(json.dumps({"date": "d", "version": "v1", "playlists": PLAYLISTS}))
    return path


def test_submission_is_what_the_bundle_answers(
    bundle: Bundle, challenge_path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "submission.csv"
    receipt = submit(bundle, challenge_path, out, **TEAM)
    lines = out.read_text().splitlines()
    assert lines[0] == "team_info,main,Hill Road,hill@example.org"
    assert [int(line.split(",")[0]) for line in lines[1:]] == [1000002, 1000000, 1000005]
    plays = bundle.catalog.plays
    ranking = sorted(range(len(plays)), key=lambda t: (-plays[t], t))
    for line, seeds in zip(lines[1:], [[], [7, 1], [1, 13]], strict=True):
        expected = [spotify_uri(t) for t in ranking if t not in seeds][:500]
        assert line.split(",")[1:] == expected
    # The first seed of the last playlist is known by its names, the second one not at all.
    assert (receipt.playlists, receipt.seeds, receipt.seeds_missing) == (3, 5, 1)
    assert receipt.served_by == {"popularity": 3}
    assert check_submission(out, read_challenge_set(challenge_path)) == []


def test_seeds_are_asked_in_order_of_position_and_long_titles_are_cut(
    bundle: Bundle, challenge_path: Path
) -> None:
    queries, missing = module.challenge_queries(read_challenge_set(challenge_path), bundle)
    assert queries.tracks.tolist() == [1, 7, 1, 13]
    assert queries.offsets.tolist() == [0, 0, 2, 4]
    assert [len(t) if t else t for t in queries.titles] == [7, None, 200]
    assert missing == 1


def test_gzip_is_read_and_written_the_same_each_time(
    bundle: Bundle, challenge_path: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "challenge_set.json.gz"
    packed.write_bytes(gzip.compress(challenge_path.read_bytes()))
    submit(bundle, packed, tmp_path / "a.csv.gz", **TEAM, track="creative")
    submit(bundle, challenge_path, tmp_path / "b.csv.gz", **TEAM, track="creative")
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    text = gzip.decompress((tmp_path / "a.csv.gz").read_bytes()).decode()
    assert text.startswith("team_info,creative,Hill Road,")
    assert check_submission(tmp_path / "a.csv.gz", read_challenge_set(packed)) == []


def test_header_without_a_track_is_the_form_of_the_later_challenge(
    bundle: Bundle, challenge_path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "submission.csv"
    submit(bundle, challenge_path, out, **TEAM, track=None)
    assert out.read_text().startswith("team_info,Hill Road,hill@example.org\n")
    assert check_submission(out, read_challenge_set(challenge_path)) == []


def _change(lines: list[str], at: int, old: str, new: str) -> list[str]:
    assert old in lines[at]
    return [*lines[:at], lines[at].replace(old, new, 1), *lines[at + 1 :]]


def _answer(lines: list[str], at: int, i: int) -> str:
    return lines[at].split(",")[1 + i]


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda ls: ls[1:], "line 1: the first line has to begin with team_info"),
        (lambda ls: ["team_info,side,A,b@c", *ls[1:]], "line 1: the track of the challenge is"),
        (lambda ls: ["team_info,A", *ls[1:]], "line 1: team_info has 1 fields"),
        (lambda ls: ["team_info,A,", *ls[1:]], "line 1: team_info has an empty field"),
        (lambda ls: ls[:-1], "playlist 1000005 is missing"),
        (lambda ls: [*ls, ls[-1]], "playlist 1000005 is there 2 times"),
        (lambda ls: [*ls, "12,a"], "line 5: '12' is not a playlist of the challenge"),
        (lambda ls: [*ls, "twelve,a"], "line 5: 'twelve' is not a playlist of the challenge"),
        (lambda ls: [*ls[:3], ls[3].rpartition(",")[0]], "line 4: playlist 1000005 has 499 tracks"),
        (
            lambda ls: _change(ls, 3, _answer(ls, 3, 5), _answer(ls, 3, 6)),
            "line 4: playlist 1000005 has 1 tracks twice",
        ),
        (
            lambda ls: _change(ls, 2, _answer(ls, 2, 9), spotify_uri(7)),
            f"line 3: playlist 1000000 has 1 of its seeds among the answers ({spotify_uri(7)})",
        ),
        (
            lambda ls: _change(ls, 1, _answer(ls, 1, 0), "spotify:track:short"),
            "line 2: playlist 1000002 has 1 answers that are not Spotify tracks ('spotify:track:s",
        ),
    ],
)
def test_checker_names_every_fault(
    spoil: Any, problem: str, bundle: Bundle, challenge_path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "submission.csv"
    submit(bundle, challenge_path, out, **TEAM)
    out.write_text("\n".join(spoil(out.read_text().splitlines())))
    problems = check_submission(out, read_challenge_set(challenge_path))
    assert len(problems) == 1
    assert problems[0].startswith(problem)


def test_checker_allows_comments_blank_lines_and_spaces(
    bundle: Bundle, challenge_path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "submission.csv"
    submit(bundle, challenge_path, out, **TEAM)
    lines = out.read_text().replace(",", ", ").splitlines()
    out.write_text("# mine\n\n" + "\n\n# more\n".join(lines))
    assert check_submission(out, read_challenge_set(challenge_path)) == []
    out.write_text("# nothing\n")
    assert check_submission(out, read_challenge_set(challenge_path))[0] == "has no team_info line"


def _without_pid(found: dict[str, Any]) -> None:
    del found["playlists"][1]["pid"]


def _text_position(found: dict[str, Any]) -> None:
    found["playlists"][1]["tracks"][0]["pos"] = "first"


def _same_pid(found: dict[str, Any]) -> None:
    found["playlists"][1]["pid"] = 1000002


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_without_pid, "challenge_set.json: $.playlists[1]: missing field pid"),
        (_text_position, "$.playlists[1].tracks[0].pos: expected a whole number, got text"),
        (_same_pid, "challenge_set.json: has playlist 1000002 2 times"),
        (lambda found: found["playlists"].clear(), "challenge_set.json: has no playlists"),
        (lambda found: found.clear(), "$: missing field playlists"),
    ],
)
def test_challenge_set_that_is_none_is_one_clear_line(
    spoil: Any, message: str, challenge_path: Path
) -> None:
    found = json.loads(challenge_path.read_text(encoding="utf-8"))
    spoil(found)
    challenge_path.write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_challenge_set(challenge_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_files_are_one_clear_line(
    challenge_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = challenge_path.read_bytes()
    challenge_path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="is not valid JSON"):
        read_challenge_set(challenge_path)
    with pytest.raises(DataError, match="cannot be read"):
        read_challenge_set(tmp_path / "none.json")
    packed = tmp_path / "c.json.gz"
    packed.write_bytes(gzip.compress(whole)[:-20])
    with pytest.raises(DataError, match="is not whole gzip"):
        read_challenge_set(packed)
    packed.write_bytes(whole)
    with pytest.raises(DataError, match="is not whole gzip"):
        read_challenge_set(packed)
    packed.write_bytes(gzip.compress(whole))
    monkeypatch.setattr(module, "_MOST_BYTES", 1000)
    with pytest.raises(DataError, match="once decompressed"):
        read_challenge_set(packed)
    with pytest.raises(DataError, match="cannot be read"):
        check_submission(tmp_path / "none.csv", ChallengeSet([]))
    (tmp_path / "s.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="is not UTF-8"):
        check_submission(tmp_path / "s.csv", ChallengeSet([]))


def test_nothing_is_written_where_the_bundle_cannot_do_it(
    challenge_path: Path, tmp_path: Path, bundle: Bundle
) -> None:
    out = tmp_path / "submission.csv"
    small = train_bundle(write_dataset(tmp_path / "s", [[0, 1]], ["x"], plain_tracks(501)))
    with pytest.raises(BundleError, match="catalog of 501 tracks is too small for 500 answers"):
        submit(small, challenge_path, out, **TEAM)
    files = [{"uri": f"file:{t}", "title": "t", "artist": "a"} for t in range(600)]
    other = train_bundle(write_dataset(tmp_path / "o", [[0, 1]], ["x"], files))
    with pytest.raises(BundleError, match="are not Spotify tracks"):
        submit(other, challenge_path, out, **TEAM)
    for wrong in ({"team": "a,b"}, {"team": " "}, {"email": "a\nb"}):
        with pytest.raises(UsageError, match="without commas"):
            submit(bundle, challenge_path, out, **(TEAM | wrong))
    assert list(tmp_path.glob("*submission*")) == []


@pytest.mark.parametrize(
    "content", [b'{"x": ' + b"[" * 100_000, b'{"playlists": [{"pid": 0, "name": "\xe9"}]}']
)
def test_a_challenge_set_that_nests_too_deep_or_is_not_utf_8_is_an_error(tmp_path, content):
    (tmp_path / "c.json").write_bytes(content)
    with pytest.raises(DataError, match="is not valid JSON"):
        read_challenge_set(tmp_path / "c.json")
