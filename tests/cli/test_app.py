"""The command line: its shapes, its exit statuses, its one-line errors."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import defusedxml.ElementTree
import pytest
from support.optional import optional

from segue import __version__
from segue import train as segue_train
from segue.bundle import Bundle
from segue.cli import run
from segue.cli.app import app
from segue.data.dataset import Dataset
from segue.system.extras import EXTRAS, Extra, Library, install

VERBS = [
    *("ingest", "outcomes", "world", "describe", "recipe", "train", "evaluate", "tune", "add"),
    *("continue", "submit", "similar", "serve", "token", "doctor"),
]
SIZES = ["--tracks", "300", "--listeners", "20", "--sessions", "50", "--playlists", "240"]


class Ran(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.status == 0, self.err
        return json.loads(self.out)

    @property
    def line(self) -> str:
        """The one line of an error."""
        assert self.out == ""
        (line,) = self.err.splitlines()
        assert line.startswith("segue: ")
        return line


@pytest.fixture
def segue(capsys) -> Callable[..., Ran]:
    def ask(*arguments: object) -> Ran:
        capsys.readouterr()
        status = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Ran(status, out, err)

    return ask


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a dataset ``world`` and bundles ``popular`` and ``knn`` trained on it."""
    folder = tmp_path_factory.mktemp("cli")
    world = folder / "world"
    (folder / "knn.toml").write_text('recommender = "item-knn"\nconfig.x = 1\n', "utf-8")
    assert run(["world", "--dataset", str(world), *SIZES]) == 0
    for recipe, bundle in (("popularity", "popular"), ("item-knn", "knn")):
        train = ["train", recipe, str(world), "--bundle", str(folder / bundle)]
        assert run([*train, "--holdout", "challenge"]) == 0
    return folder


def first_track(segue, place) -> dict[str, Any]:
    """The most popular track."""
    return segue("continue", place / "popular", "--title", "x", "-n", 1, "--json").json["tracks"][0]


# Shapes


def test_ingest_gives_a_receipt_that_adds_up(segue, tmp_path):
    (tmp_path / "a.m3u8").write_text("#EXTM3U\n#EXTINF:10,A - One\na/1.mp3\nb/2.mp3\n", "utf-8")
    receipt = segue("ingest", "m3u", tmp_path, "--dataset", tmp_path / "d", "--json").json
    assert {"format", "read", "kept", "dropped", "dataset"} <= set(receipt)
    assert receipt["format"] == "m3u"
    assert receipt["dataset"] == str(tmp_path / "d")
    assert receipt["read"] == receipt["kept"] + sum(receipt["dropped"].values()) > 0
    assert segue("describe", tmp_path / "d", "--json").json["tracks"] == 2


def test_ingest_maps_columns(segue, tmp_path):
    (tmp_path / "p.csv").write_text("list,song\n1,a\n1,b\n2,a\n")
    ran = segue(
        "ingest", "csv", tmp_path / "p.csv", "--dataset", tmp_path / "d", "--json",
        "--map", "playlist=list", "--map", "track=song",
    )  # fmt: skip
    assert ran.json["kept"] == 3


def test_world_and_describe_agree_and_say_that_it_is_simulated(segue, tmp_path):
    world = segue("world", "--dataset", tmp_path / "w", *SIZES, "--seed", 3, "--json")
    assert world.json["simulated"]
    assert "simulated" in world.err
    counted = segue("describe", tmp_path / "w", "--json")
    assert "simulated" in counted.err
    names = ["tracks", "playlists", "playlist_tracks", "listeners", "sessions", "listens"]
    assert set(counted.json) >= {*names, "outcomes", "audio"}
    assert counted.json["tracks"] == world.json["tracks"] == 300
    assert counted.json["sessions"] == 50
    assert sum(counted.json["outcomes"].values()) == counted.json["listens"]


def test_train_says_what_it_cost(segue, place, tmp_path):
    ran = segue("train", "popularity", place / "world", "--bundle", tmp_path / "b", "--json")
    assert ran.json["bundle"] == str(tmp_path / "b")
    assert ran.json["recipe"] == "popularity"
    assert ran.json["seconds"] > 0
    assert ran.json["peak_rss_mb"] > 0
    assert ran.json["metrics"]["playlists"] == 240
    assert "simulated" in ran.err


def test_train_refuses_a_place_that_it_cannot_write_before_it_trains(segue, place, monkeypatch):
    monkeypatch.setattr("segue.operations.train.train", lambda *a, **k: pytest.fail("trained"))
    line = segue("train", "popularity", place / "world", "--bundle", place / "world").line
    assert "exists and has no manifest.json" in line
    assert "cannot write here" in segue(
        "train", "popularity", place / "world", "--bundle", "/proc/nowhere/b"
    ).line  # fmt: skip


def test_train_removes_the_checkpoints_of_all_parts_and_nothing_else(segue, place, tmp_path):
    for name in ("[b].checkpoint", "[b].checkpoint.base", "[b].checkpoints", "b.checkpoint.base"):
        (tmp_path / name).touch()
    train = ("train", "popularity", place / "world", "--bundle", tmp_path / "[b]")
    assert segue(*train).status == 0
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"[b]", "[b].checkpoints", "b.checkpoint.base"}


def test_train_takes_settings(segue, place, tmp_path):
    train = ("train", "item-knn", place / "world", "--bundle", tmp_path / "b")
    assert segue(*train, "--set", "beta=0.25").status == 0
    assert json.loads((tmp_path / "b" / "manifest.json").read_text())["config"]["beta"] == 0.25


def test_evaluate_compares_bundles_in_pairs(segue, place, tmp_path):
    optional("matplotlib")
    ran = segue(
        "evaluate", place / "knn", place / "popular", place / "world", "--protocol", "challenge",
        "--json", "--report", tmp_path / "r.html",
    )  # fmt: skip
    result = ran.json
    assert result["protocol"] == "challenge"
    assert result["queries"] > 0
    assert [m["bundle"] for m in result["models"]] == [
        str(place / "knn"), str(place / "popular"),
    ]  # fmt: skip
    for model in result["models"]:
        low, high = model["metrics"]["ndcg@500"]["ci95"]
        assert low < model["metrics"]["ndcg@500"]["mean"] < high
        assert model["slices"]
        assert model["seconds"] > 0
    assert {pair["metric"] for pair in result["paired"]} >= {"rprec", "ndcg@500", "clicks"}
    assert (tmp_path / "r.html").read_text("utf-8").lstrip().lower().startswith("<!doctype html")


def test_evaluate_refuses_rows_that_were_learned_from(segue, place, tmp_path):
    assert segue("train", "popularity", place / "world", "--bundle", tmp_path / "b").status == 0
    ran = segue("evaluate", tmp_path / "b", place / "world", "--protocol", "challenge")
    assert ran.status == 1
    assert "--holdout challenge" in ran.line


def test_continue_gives_tracks_with_scores_and_reasons(segue, place):
    seed = first_track(segue, place)
    result = segue("continue", place / "knn", "--track", seed["uri"], "-n", 7, "--json").json
    assert result["model"] == "item-knn"
    assert result["seed"] == 0
    assert len(result["tracks"]) == 7
    assert seed["index"] not in [track["index"] for track in result["tracks"]]
    for track in result["tracks"]:
        assert {"index", "uri", "title", "artist", "score", "reasons"} <= set(track)
        parts = sum(reason["amount"] for reason in track["reasons"])
        assert parts == pytest.approx(track["score"], rel=1e-3)
        assert track["reasons"][0]["uri"] == seed["uri"]


def test_similar_is_a_query_of_one_track(segue, place):
    seed = first_track(segue, place)
    asked = segue("continue", place / "knn", "--track", seed["uri"], "--json").json
    assert segue("similar", place / "knn", seed["uri"], "--json").json == asked


def test_format_json_is_json(segue, place):
    ask = ("continue", place / "popular", "--title", "x")
    assert segue(*ask, "--format", "json").json == segue(*ask, "--json").json


def test_submit_writes_a_submission(segue, tmp_path):
    uris = [f"spotify:track:{t:022d}" for t in range(600)]
    rows = [f"{t % 7},{uri}" for t, uri in enumerate(uris)]
    (tmp_path / "p.csv").write_text("\n".join(["playlist,track", *rows]))
    segue("ingest", "csv", tmp_path / "p.csv", "--dataset", tmp_path / "d")
    segue("train", "popularity", tmp_path / "d", "--bundle", tmp_path / "b")
    seeds = [{"track_uri": uris[3], "pos": 0}]
    challenge = {"playlists": [{"pid": 7, "tracks": seeds}, {"pid": 8, "name": "x", "tracks": []}]}
    (tmp_path / "c.json").write_text(json.dumps(challenge))
    out = tmp_path / "s.csv"
    ran = segue("submit", tmp_path / "b", tmp_path / "c.json", "--out", out, "--json")
    assert ran.json["playlists"] == 2
    lines = [line.replace(" ", "").split(",") for line in out.read_text().splitlines() if line]
    assert lines[0][0] == "team_info"
    answers = {pid: set(tracks) for pid, *tracks in lines[1:]}
    assert {pid: len(tracks) for pid, tracks in answers.items()} == {"7": 500, "8": 500}
    assert uris[3] not in answers["7"]


def test_doctor_finds_everything_and_it_works(segue):
    found = segue("doctor", "--json").json
    assert found["works"]
    assert {"popularity", "item-knn"} <= set(found["recommenders"])
    assert "challenge" in found["protocols"]
    assert {"python", "segue"} <= set(found["versions"])
    assert found["recipe_extras"]["wrmf"] == []
    assert found["recipe_extras"]["sasrec"] == ["deep"]
    assert found["recipe_extras"]["larp-full"] == ["audio", "deep", "larp"]


def test_doctor_names_the_command_that_a_recipe_needs(segue, monkeypatch):
    for extra in ("deep", "ranker"):
        gone = Extra(EXTRAS[extra].purpose, (Library("gone", "no_such_module", ("gone",)),))
        monkeypatch.setitem(EXTRAS, extra, gone)
    out = segue("doctor").out
    lines = {line[:20].strip(): line for line in out.splitlines()}
    assert "wrmf" in lines["recipes to train"]
    assert "sasrec" not in lines["recipes to train"]
    assert "sasrec" in lines["needs deep"]
    assert lines["needs deep"].endswith(f": {install('deep')}")
    assert lines["needs ranker"].endswith("two-stage: pip install 'segue[ranker]'")
    assert lines["needs deep + ranker"].endswith(f"vl6: {install('deep', 'ranker')}")


# Lists


def test_playlist_formats_are_files_that_players_read(segue, place):
    ask = ("continue", place / "popular", "--title", "Rock & Roll", "-n", 3, "--format")
    lines = segue(*ask, "m3u8").out.splitlines()
    assert lines[:2] == ["#EXTM3U", "#PLAYLIST:Rock & Roll"]
    assert len(lines) == 8
    root = defusedxml.ElementTree.fromstring(segue(*ask, "xspf").out)
    assert len(list(root.iter("{http://xspf.org/ns/0/}track"))) == 3
    playlist = json.loads(segue(*ask, "jspf").out)["playlist"]
    assert playlist["title"] == "Rock & Roll"
    assert len(playlist["track"]) == 3
    assert len(list(csv.reader(io.StringIO(segue(*ask, "csv").out)))) == 4


def test_bans_hold(segue, place):
    ask = ("continue", place / "popular", "--title", "x", "-n", 30, "--json")
    before = segue(*ask).json["tracks"]
    track, artist = before[0], before[5]["artist"]
    after = segue(*ask, "--ban", track["uri"], "--ban-artist", artist.upper()).json["tracks"]
    assert len(after) == 30
    assert track["uri"] not in [t["uri"] for t in after]
    assert artist not in [t["artist"] for t in after]


def test_the_list_stage_is_an_option(segue, place):
    ask = ("continue", place / "popular", "--title", "x", "-n", 30, "--json")
    spaced = segue(*ask, "--artist-spacing", 3, "--album-spacing", 5, "--one-recording").json
    for key, spacing in (("artist", 3), ("album", 5)):
        names = [track[key] for track in spaced["tracks"]]
        for place_, name in enumerate(names):
            assert name not in names[max(0, place_ - spacing) : place_]


def test_skipped_tracks_are_not_answered_and_not_a_reason(segue, place):
    top = segue("continue", place / "popular", "--title", "x", "-n", 2, "--json").json["tracks"]
    ask = ("continue", place / "knn", "--track", top[0]["uri"], "--skipped", top[1]["uri"])
    for track in segue(*ask, "--json").json["tracks"]:
        assert track["uri"] != top[1]["uri"]
        assert top[1]["uri"] not in [reason["uri"] for reason in track["reasons"]]


def test_tables_are_plain_where_there_is_no_terminal(segue, place):
    ran = segue("continue", place / "popular", "--title", "x", "-n", 3)
    assert len(ran.out.splitlines()) == 4
    assert ran.out.isascii()
    assert "ranked by popularity" in ran.err
    assert "\x1b" not in ran.out + ran.err


# Errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sing"], "wrong usage ("),
        (["sing"], "; see segue --help"),
        (["continue"], "wrong usage ("),
        (["continue"], "; see segue continue --help"),
        (["continue", "{knn}", "--louder"], "; see segue continue --help"),
        (["continue", "{knn}"], "nothing to go by; give a track or a title"),
        (["continue", "{knn}", "--title", " "], "nothing to go by"),
        (["continue", "{knn}", "--title", "x", "-n", "0"], "-n"),
        (["continue", "{knn}", "--title", "x", "-n", "many"], "-n"),
        (["continue", "{knn}", "--title", "x" * 10_000], "title of 10000 characters"),
        (["continue", "{knn}", "--track", "zzzz"], "no track matches 'zzzz'"),
        (["continue", "{knn}", "--track", "a"], "may be "),
        (["continue", "{knn}", "--track", ""], "empty track"),
        (["continue", "{knn}", "--title", "x", "--ban-artist", "zzzz"], "no artist is called"),
        (["continue", "{knn}", "--title", "x", "--ban-artist", ""], "no artist is called"),
        (["continue", "{knn}", "--title", "x", "--artist-spacing", "-1"], "--artist-spacing"),
        (["continue", "{knn}", "--title", "x", "--format", "mp3"], "no format 'mp3'"),
        (["continue", "{knn}", "--title", "x", "--format", "m3u8", "--json"], "at once"),
        (["similar", "{knn}", "zzzz"], "no track matches 'zzzz'"),
        (["train", "oracle", "{world}", "--bundle", "{new}"], "no recipe 'oracle'"),
        (["train", "item-knn", "{world}", "--bundle", "{new}", "--set", "x"], "--set"),
        (
            ["train", "item-knn", "{world}", "--bundle", "{new}", "--holdout", "x"],
            "no protocol is called 'x'",
        ),
        (["evaluate", "{world}", "--protocol", "challenge"], "a bundle and a dataset"),
        (["evaluate", "{knn}", "{world}", "--protocol", "x"], "no protocol is called 'x'"),
        (["ingest", "vinyl", "x", "--dataset", "{new}"], "no format 'vinyl'"),
        (["ingest", "csv", "x", "--dataset", "{new}", "--map", "uri"], "role=column"),
        (["world", "--dataset", "{new}", "--tracks", "1"], "tracks"),
        (
            ["train", "item-knn", "{world}", "--bundle", "{new}", "--set", "x=1"],
            "unknown setting x",
        ),
        (
            ["train", "item-knn", "{world}", "--bundle", "{new}", "--set", "beta=much"],
            "beta: expected a number, got text",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(segue, place, arguments, words):
    names = {name: str(place / name) for name in ("knn", "world", "new")}
    ran = segue(*(text.format(**names) for text in arguments))
    assert words in ran.line
    assert ran.status == 2
    assert not (place / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["continue", "{new}", "--title", "x"], "is not a bundle"),
        (["continue", "{world}", "--title", "x"], "is not a bundle"),
        (["describe", "{knn}"], "is not a dataset"),
        (["train", "item-knn", "{knn}", "--bundle", "{new}"], "is not a dataset"),
        (["train", "item-knn", "{world}", "--bundle", "{world}"], "it is not replaced"),
        (["ingest", "mpd", "{new}", "--dataset", "{new}"], "new"),
        (["train", "{knn}.toml", "{world}", "--bundle", "{new}"], "unknown setting x"),
        (
            ["train", "{knn}.toml", "{world}", "--bundle", "{new}", "--set", "beta=1"],
            "unknown setting",
        ),
        (["submit", "{knn}", "{new}", "--out", "{new}"], "new"),
    ],
)
def test_failure_is_one_line_and_status_1(segue, place, arguments, words):
    names = {name: str(place / name) for name in ("knn", "world", "new")}
    ran = segue(*(text.format(**names) for text in arguments))
    lines = [line for line in ran.err.splitlines() if "simulated" not in line]
    assert len(lines) == 1
    assert lines[0].startswith("segue: ")
    assert words in lines[0]
    assert ran.status == (2 if "no source" in lines[0] else 1)
    assert not (place / "new").exists()


def test_a_title_that_the_model_does_not_read_is_said(segue, place):
    track = first_track(segue, place)["uri"]
    plain = segue("continue", place / "knn", "--track", track)
    titled = segue("continue", place / "knn", "--track", track, "--title", "rock")
    assert titled.out == plain.out
    said = "segue: item-knn does not read titles: --title changes nothing"
    assert said in titled.err.splitlines()
    assert said not in plain.err.splitlines()
    named = segue(
        "continue", place / "knn", "--track", track, "--title", "rock", "--format", "m3u8"
    )
    assert "#PLAYLIST:rock" in named.out.splitlines()
    assert "segue: item-knn does not read titles: --title only names the list" in named.err


def test_facts_say_none_yes_and_no(segue, place, tmp_path):
    out = segue("train", "popularity", place / "world", "--bundle", tmp_path / "popular").out
    facts = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert (facts["holdout"], facts["simulated"]) == ("none", "yes")


def test_an_ambiguous_track_lists_candidates(segue, place):
    ran = segue("similar", place / "knn", "the")
    assert ran.status == 2
    assert ran.line.count("world:track:") == 5


@pytest.fixture(scope="module")
def songs(tmp_path_factory) -> Path:
    """A bundle that knows one song that is played much, a cover of it, and two of another name."""
    played = {("Killers", "Mr. Brightside"): 9, ("Cover", "Mr. Brightside"): 2}
    played |= {("Ann", "Jóga"): 3, ("Bob", "Jóga"): 3}
    rows = [
        {"playlist": str(p), "track": f"{artist} {title}", "artist": artist, "title": title}
        for (artist, title), count in played.items()
        for p in range(count)
    ]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    folder = tmp_path_factory.mktemp("songs") / "popular"
    dataset = Dataset.from_frame(columns, playlist="playlist", artist="artist", title="title")
    Bundle.save(segue_train("popularity", dataset), folder)
    return folder


def test_the_favourite_of_one_title_is_taken_and_the_others_are_named(segue, songs):
    ran = segue("similar", songs, "mr brightside")
    assert ran.status == 0
    assert "'mr brightside': taking Killers - Mr. Brightside; others are Cover" in ran.err
    assert segue("similar", songs, "cover mr brightside").err.count("taking") == 0


def test_a_playlist_file_is_continued(segue, songs, tmp_path, monkeypatch):
    text = "#EXTM3U\n#EXTINF:1,Killers - Mr. Brightside\na.mp3\n#EXTINF:1,No - One\nb.mp3\n"
    (tmp_path / "mine.m3u").write_text(text)
    ran = segue("continue", songs, "--playlist", tmp_path / "mine.m3u", "--json")
    assert "1 of 2 tracks are not in the catalog: No - One" in ran.err
    assert "Killers" not in {track["artist"] for track in ran.json["tracks"]}
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert segue("continue", songs, "--playlist", "-", "--json").json == ran.json
    assert segue("continue", songs, "--dataset", tmp_path).status == 2


def test_on_a_terminal_a_number_picks_the_track(segue, songs, monkeypatch):
    assert segue("similar", songs, "joga").status == 2
    numbers = iter([7, 2])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.prompt", lambda *_, **__: next(numbers))
    ran = segue("similar", songs, "joga")
    assert ran.status == 0, ran.err
    assert "1  Ann - Jóga" in ran.err
    assert "Bob" not in ran.out  # the track that is asked for is never answered
    assert "Ann" in ran.out


def test_an_unexpected_error_is_one_line_and_debug_shows_where(segue, place, monkeypatch):
    def fails(path: object) -> None:
        raise ZeroDivisionError("oh\nno")

    monkeypatch.setattr(Bundle, "load", fails)
    ran = segue("similar", place / "knn", "x")
    assert ran.status == 1
    assert ran.line == "segue: unexpected ZeroDivisionError: oh no; SEGUE_DEBUG=1 shows where"
    monkeypatch.setenv("SEGUE_DEBUG", "1")
    assert "Traceback" in segue("similar", place / "knn", "x").err


def test_an_interrupt_is_one_line_and_status_130(segue, place, monkeypatch):
    def interrupts(path: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Bundle, "load", interrupts)
    ran = segue("similar", place / "knn", "x")
    assert ran.status == 130
    assert ran.line == "segue: interrupted"


def test_control_characters_reach_no_terminal(segue, place):
    ran = segue("similar", place / "knn", "\x1b[31mred")
    assert "\x1b" not in ran.line


def test_control_characters_of_names_of_bundles_reach_no_terminal(segue, place, tmp_path):
    shutil.copytree(place / "popular", tmp_path / "a\x1b[31m\nb")
    asked = [tmp_path / "a\x1b[31m\nb", place / "world", "--protocol", "challenge", "-n", 5]
    ran = segue("evaluate", *asked)
    assert ran.status == 0
    assert "\x1b" not in ran.out


def test_a_list_longer_than_any_catalog_can_be_is_refused(segue, place):
    asked = [place / "popular", place / "world", "--protocol", "challenge", "-n", 10**30]
    assert segue("evaluate", *asked).line.endswith("fewer than 2^31")


# Processes


def test_a_reader_that_leaves_early_gets_no_traceback(place):
    read, write = os.pipe()
    os.close(read)
    asked = ["continue", str(place / "popular"), "--title", "x", "-n", "300", "--json"]
    ran = subprocess.run(
        [sys.executable, "-c", "from segue.cli import main; main()", *asked],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert "Exception" not in ran.stderr


def process(*arguments: str, code: str = "", **how: Any) -> subprocess.CompletedProcess[str]:
    """Segue as a process of its own; `code` runs before."""
    code += "\nfrom segue.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], text=True, check=False, timeout=60, **how
    )


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_closed_stream_takes_nothing_and_disturbs_nothing(place, closed):
    number = {"stdout": 1, "stderr": 2}[closed]
    asked = ["continue", str(place / "popular"), "--title", "x", "--json"]
    ran = process(*asked, capture_output=True, preexec_fn=lambda: os.close(number))
    assert ran.returncode == 0
    if closed == "stderr":
        assert json.loads(ran.stdout)
    else:
        assert "simulated" in ran.stderr


def test_data_is_utf_8_whatever_the_locale(tmp_path):
    (tmp_path / "a.m3u8").write_text("#EXTINF:10,日本 - 🎵\na.mp3\n", "utf-8")
    asked = ["ingest", "m3u", str(tmp_path), "--dataset", str(tmp_path / "日本"), "--json"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    ran = process(*asked, env=environment, capture_output=True, encoding="utf-8")
    assert json.loads(ran.stdout)["dataset"] == str(tmp_path / "日本")


def test_names_that_are_not_utf_8_are_taken_or_refused_in_one_line(segue, place, tmp_path):
    wild = tmp_path / os.fsdecode(b"d\xe9")
    trained = segue("train", "popularity", place / "world", "--bundle", wild, "--json")
    assert trained.json["bundle"] == str(tmp_path / "d?")
    assert segue("continue", wild, "--title", "x", "-n", 3, "--json").json["tracks"]
    for verb in (["describe", f"{wild}a"], ["world", "--dataset", f"{wild}a"]):
        assert "is a path that is not UTF-8; rename it" in segue(*verb).line
    for option in ("--track", "--ban-artist"):
        ran = segue("continue", place / "knn", "--title", "x", option, "\udcff")
        assert (ran.status, "unexpected" in ran.line) == (2, False)


def test_an_interrupt_while_modules_load_is_one_line(place):
    interrupts = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == NAME:
            sys.meta_path.remove(self)
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                if FAILS:
                    raise ImportError(name)
                raise
sys.meta_path.insert(0, Finder())
"""
    for name, fails in (("typer", False), ("pyarrow", False), ("pyarrow", True)):
        code = f"NAME, FAILS = {name!r}, {fails}\n{interrupts}"
        ran = process("describe", str(place / "world"), code=code, capture_output=True)
        assert (ran.returncode, ran.stderr) == (130, "segue: interrupted\n")


def test_every_verb_has_help_with_a_line_for_each_option():
    assert [command.name for command in app.registered_commands] == VERBS
    for verb in VERBS:
        assert run([verb, "--help"]) == 0


def test_no_arguments_show_help_and_are_wrong_usage(segue):
    ran = segue()
    assert ran.status == 2
    assert "Usage: segue" in ran.out
    assert segue("--help").status == 0
    assert segue("--version").out == f"segue {__version__}\n"
