"""Sound files that become tracks of a service that runs."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.optional import reason

pytest.importorskip("fastapi", reason=reason("fastapi"))

from support.service_worlds import (
    SECONDS,
    TRACKS,
    Bundles,
    House,
    problem,
    sound,
    uri,
    uris,
)
from support.sounds import encode, sweep, wav, wav_header

from segue.service.serving import uploads
from segue.service.serving.limits import ServiceSettings
from segue.service.storage.store import Store, StoreGone

TAKING = ("wrmf", "two-stage", "audio")
BY = {"title": "New", "artist": "Artist 3"}
LIKE = {uri(t) for t in range(18, 24)}
"""Tracks of artist 3."""


@pytest.fixture(autouse=True)
def heard_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are listened to in this process, except where bad ones are: it takes a second less."""

    def run(work: Any, paths: Any, *, limits: Any) -> Iterator[tuple[int, Any]]:
        for at, path in enumerate(paths):
            yield at, work(path)

    if "bad_house" not in request.fixturenames:
        monkeypatch.setattr(uploads, "run_files", run)


@pytest.fixture
def house(bundles: Bundles, tmp_path: Path) -> Iterator[House]:
    with House(bundles.live("wrmf"), tmp_path / "house") as opened:
        yield opened


def kept(house: House) -> list[str]:
    """Files in the folder of uploads, hidden ones too."""
    folder = house.service.uploads.folder
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@pytest.mark.parametrize("name", TAKING)
def test_an_uploaded_track_is_recommended_from_the_next_answer_on(
    bundles: Bundles, tmp_path: Path, name: str
) -> None:
    with House(bundles.live(name), tmp_path) as house:
        before = house.service.bundles.live.version
        told = house.upload(sound(tmp_path), **BY)
        assert told.status_code == 201, told.text
        placed = told.json()
        new = placed["track"]["uri"]
        assert new.startswith("upload:")
        assert (placed["new"], placed["door"]) == (True, "text")
        about = {"title": "New", "artist": "artist 3", "plays": 0, "playable": True}
        assert about.items() <= placed["track"].items()
        assert placed["track"]["duration_ms"] == pytest.approx(300, abs=5)
        # Who plays its artist is answered it: the rarest of what fits first.
        asked = {"tracks": sorted(LIKE)[:4], "n": 8}
        for body in (asked | {"adventure": 1}, asked | {"n": 61}):
            answered = house.post("/v1/continue", body)
            assert new in uris(answered)
            assert answered.json()["version"] == placed["version"] == f"{before}.1"
        similar = uris(house.ask("GET", f"/v1/similar/{new}", params={"n": 6}))
        assert {uri(t) for t in range(12, 24)} > set(similar)  # of its genre
        assert uris(house.ask("GET", "/v1/search", params={"q": "new artist"})) == [new]
        banned = {"n": 61, "bans": {"artists": ["artist 3"]}}
        assert new not in uris(house.post("/v1/continue", banned))
        assert house.ask("GET", "/health/ready").json()["uploads"] == 1
        assert "segue_catalog_uploads 1.0" in house.ask("GET", "/metrics").text


def test_tags_tell_what_the_request_does_not(house: House, tmp_path: Path) -> None:
    file = sound(tmp_path, "a.flac", title="Tagged", artist="artist 4", album="Album")
    track = house.upload(file, title="Said").json()["track"]
    assert (track["title"], track["artist"], track["album"]) == ("Said", "artist 4", "Album")


@pytest.mark.parametrize(
    "name", ["07 Blue Monday.wav", "New Order - Blue_Monday.wav", r"..\C:\music/Blue Monday.wav"]
)
def test_what_has_no_title_is_called_after_the_file_that_was_sent(
    house: House, tmp_path: Path, name: str
) -> None:
    found = uploads.listen(house.service.bundles.live, sound(tmp_path), house.service.settings)
    row = uploads.row_of(house.service.bundles.live, found, {"artist": "Said", "file": name})
    assert (row["title"], row["artist"]) == ("Blue Monday", "Said")
    told = house.upload(sound(tmp_path, "Blue Monday.wav"), artist="artist 3")
    assert told.json()["track"]["title"] == "Blue Monday"


def test_the_name_of_a_file_tells_its_artist_where_nothing_else_does(
    house: House, tmp_path: Path
) -> None:
    track = house.upload(sound(tmp_path, "Artist 3 - New.wav")).json()["track"]
    assert (track["title"], track["artist"]) == ("New", "artist 3")


def test_its_sound_can_be_played(house: House, tmp_path: Path) -> None:
    file = sound(tmp_path)
    at = house.upload(file, **BY).json()["track"]["uri"]
    whole = house.ask("GET", f"/v1/tracks/{at}/audio")
    assert whole.content == file.read_bytes()
    assert whole.headers["content-type"] in ("audio/x-wav", "audio/wav", "audio/vnd.wave")
    part = house.ask("GET", f"/v1/tracks/{at}/audio", headers={"range": "bytes=4-9"})
    assert (part.status_code, part.content) == (206, file.read_bytes()[4:10])


def test_the_same_file_again_is_the_same_track(house: House, tmp_path: Path) -> None:
    file = sound(tmp_path)
    first = house.upload(file, **BY).json()
    files = kept(house)
    again = house.upload(file.rename(tmp_path / "b.wav"), title="Another", artist="artist 5")
    assert again.status_code == 200
    assert again.json() == first | {"new": False, "door": None}
    assert kept(house) == files
    assert len(files) == 1


def test_a_recording_that_the_catalog_has_is_not_taken_in(house: House, tmp_path: Path) -> None:
    file = sound(tmp_path, seconds=101.0)  # track 0 has 100 s
    told = house.upload(file, title="Song 0 - remastered", artist="Artist 0")
    assert told.status_code == 200
    assert told.json()["track"]["uri"] == uri(0)
    assert kept(house) == []


def test_the_same_file_twice_at_once_is_one_track(house: House, tmp_path: Path) -> None:
    file = sound(tmp_path).read_bytes()

    async def both() -> Any:
        import asyncio

        one = {"files": {"file": ("a.wav", file)}, "data": BY}
        ask = lambda: house._ask("POST", "/v1/tracks", ("127.0.0.1", 1), **one)  # noqa: E731
        return await asyncio.gather(ask(), ask(), ask())

    told = house.run(both())
    assert sorted(one.status_code for one in told) == [200, 200, 201]
    assert len({one.json()["track"]["uri"] for one in told}) == 1
    assert len(kept(house)) == 1


def test_a_name_leads_nowhere(house: House, tmp_path: Path) -> None:
    data = sound(tmp_path).read_bytes()
    for name in ("../../evil.wav", "/etc/evil.wav", "a.%00sh", ".bashrc", "a.wav/..", "x" * 300):
        told = house.ask("POST", "/v1/tracks", files={"file": (name, data)}, data=BY)
        assert told.status_code in (200, 201)
    (only,) = kept(house)
    assert only.startswith(
        house.ask("GET", "/v1/search", params={"q": "new"}).json()["tracks"][0]["uri"][7:]
    )


@pytest.mark.parametrize("name", TAKING)
def test_a_restart_keeps_what_was_uploaded(bundles: Bundles, tmp_path: Path, name: str) -> None:
    asked = {"tracks": sorted(LIKE)[:4], "n": 61}
    with House(bundles.live(name), tmp_path) as house:
        new = house.upload(sound(tmp_path), **BY).json()["track"]["uri"]
        before = house.post("/v1/continue", asked)
        assert new in uris(before)
    with House(bundles.live(name), tmp_path) as house:
        assert house.post("/v1/continue", asked).content == before.content
        assert house.ask("GET", f"/v1/tracks/{new}/audio").status_code == 200


def test_another_bundle_keeps_what_was_uploaded(
    house: House, bundles: Bundles, tmp_path: Path
) -> None:
    new = house.upload(sound(tmp_path), **BY).json()["track"]["uri"]
    asked = {"tracks": sorted(LIKE)[:4], "n": 61}
    for name in ("two-stage", "audio", "wrmf"):
        swapped = house.post("/v1/admin/bundle", {"path": str(bundles.path(name))})
        assert swapped.json()["tracks"] == TRACKS + 1
        assert new in uris(house.post("/v1/continue", asked))
    house.post("/v1/admin/bundle", {"rollback": True})
    assert new in uris(house.post("/v1/continue", asked))
    assert house.ask("GET", "/v1/admin/bundle").json()["recipe"] == "audio"


def test_going_back_takes_what_was_uploaded_since(
    house: House, bundles: Bundles, tmp_path: Path
) -> None:
    house.post("/v1/admin/bundle", {"path": str(bundles.path("audio"))})
    new = house.upload(sound(tmp_path), **BY).json()["track"]["uri"]
    house.post("/v1/admin/bundle", {"rollback": True})
    assert house.ask("GET", f"/v1/tracks/{new}").status_code == 200
    assert len(uris(house.post("/v1/continue", {"tracks": [uri(18)], "n": 500}))) == TRACKS - 1


def test_a_bundle_that_takes_no_tracks_refuses_them_and_loses_none(
    house: House, bundles: Bundles, tmp_path: Path
) -> None:
    first = sound(tmp_path)
    new = house.upload(first, **BY).json()["track"]["uri"]
    files = kept(house)
    house.post("/v1/admin/bundle", {"path": str(bundles.path("item-knn"))})
    assert house.ask("GET", f"/v1/tracks/{new}").status_code == 404
    for file in (first, sound(tmp_path, "b.wav", 0.4)):
        said = problem(house.upload(file, **BY), 409)
        assert "serve a bundle of audio" in said["detail"]
    assert kept(house) == files
    house.post("/v1/admin/bundle", {"rollback": True})
    assert new in uris(house.post("/v1/continue", {"tracks": [uri(18)], "n": 61}))


def test_what_could_not_be_read_at_the_start_comes_when_the_log_is_back(
    bundles: Bundles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = sound(tmp_path)
    with House(bundles.live("wrmf"), tmp_path) as house:
        new = house.upload(file, **BY).json()["track"]["uri"]

    def gone(*_: Any) -> Any:
        raise StoreGone("is away")

    monkeypatch.setattr(Store, "open", gone)
    with House(bundles.live("wrmf"), tmp_path) as house:
        assert house.ask("GET", "/health/ready").json()["status"] == "degraded"
        assert house.ask("GET", f"/v1/tracks/{new}").status_code == 404
        # What was acknowledged is not lost when it comes again meanwhile.
        problem(house.upload(file, **BY), 503)
        assert len(kept(house)) == 1
        monkeypatch.undo()
        house.service.log._tried = -SECONDS
        for _ in range(1000):
            if house.ask("GET", "/health/ready").json()["uploads"]:
                break
        assert new in uris(house.post("/v1/continue", {"tracks": sorted(LIKE)[:4], "n": 61}))


def test_lower_rungs_answer_those_who_heard_an_upload(
    bundles: Bundles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with House(bundles.live("two-stage"), tmp_path) as house:
        new = house.upload(sound(tmp_path), **BY).json()["track"]["uri"]
        body = {"tracks": [new, uri(18)], "title": "jazz mix", "n": 9, "bans": {"tracks": [new]}}

        def broken(*_: Any) -> Any:
            raise ZeroDivisionError

        for level in house.service.bundles.live.levels[:-1]:
            told = house.post("/v1/continue", body)
            assert told.json()["rung"] == level.name
            assert len(uris(told)) == 9
            monkeypatch.setattr(level.recommender, "recommend", broken)


# What is no track


def test_nothing_tells_the_place_of_who_is_unknown(house: House, tmp_path: Path) -> None:
    for said in ({"title": "New"}, {"title": "New", "artist": "Nobody"}):
        told = problem(house.upload(sound(tmp_path), **said), 422)
        assert told["errors"][0]["path"] == "artist"
        assert "name a known artist" in told["detail"]
    assert kept(house) == []


def samples(path: Path, value: float) -> Path:
    data = np.zeros(10_000, "<f4")
    data[500:] = value
    return wav(path, data.tobytes(), bits=32, kind=3)


def sparse(path: Path, hours: float) -> Path:
    """A WAV of silence as long as that, which takes no room on this disk."""
    size = round(hours * 3600 * 8_000)
    with path.open("wb") as file:
        file.write(wav_header(size, rate=8_000, bits=8))
        file.truncate(44 + size)
    return path


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def truncated(path: Path) -> Path:
    whole = encode(path, sweep(3.0)).read_bytes()
    return written(path, whole[: len(whole) // 3])


def zipped(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.wav", wav_header(50 << 20) + bytes(50 << 20))
    return path


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/etc/passwd\n#EXT-X-ENDLIST\n"
BAD: dict[str, Callable[[Path], Path]] = {
    "empty.mp3": lambda path: written(path, b""),
    "text.mp3": lambda path: written(path, b"not music\n" * 1000),
    "noise.mp3": lambda path: written(path, np.random.default_rng(1).bytes(20_000)),
    "page.wav": lambda path: written(path, b"<html><script>alert(1)</script></html>"),
    "playlist.m3u8": lambda path: written(path, PLAYLIST),
    "playlist.mp3": lambda path: written(path, b"ffconcat version 1.0\nfile '/etc/passwd'\n"),
    "truncated.flac": truncated,
    "header.wav": lambda path: wav(path, b""),
    "no channels.wav": lambda path: wav(path, bytes(1000), channels=0),
    "channels.wav": lambda path: wav(path, bytes(65 * 200), channels=65),
    "rate.wav": lambda path: wav(path, bytes(1000), rate=2_000_000_000),
    "nan.wav": lambda path: samples(path, np.nan),
    "infinite.wav": lambda path: samples(path, np.inf),
    "long.wav": lambda path: sparse(path, 1.1),
    "bomb.zip": zipped,
    "bomb.wav": zipped,
    "bomb.gz": lambda path: written(path, gzip.compress(bytes(50 << 20))),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_no_sound_is_refused_and_leaves_nothing(
    bad_house: House, tmp_path: Path, name: str
) -> None:
    said = problem(bad_house.upload(BAD[name](tmp_path / name), **BY), 422)
    assert [fault["path"] for fault in said["errors"]] == ["file"]
    assert str(bad_house.service.uploads.folder) not in said["detail"]
    assert kept(bad_house) == []
    assert len(bad_house.service.bundles.live.catalog) == TRACKS


@pytest.fixture(scope="module")
def bad_house(bundles: Bundles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(bundles.live("wrmf"), tmp_path_factory.mktemp("bad")) as opened:
        yield opened


def test_a_form_that_is_wrong_is_told_by_its_field(bad_house: House) -> None:
    file = {"file": ("a.wav", io.BytesIO(b""))}
    for more, path in (
        ({"data": BY}, "body.file"),
        ({"files": file, "data": {"title": "x" * 1000}}, "body.title"),
        ({"files": file, "data": {"artist": "two\nlines"}}, "body.artist"),
    ):
        told = problem(bad_house.ask("POST", "/v1/tracks", **more), 422)
        assert [fault["path"] for fault in told["errors"]] == [path]
    kind = {"content-type": "multipart/form-data"}
    problem(bad_house.ask("POST", "/v1/tracks", content=b"x", headers=kind), 400)


def test_the_length_of_an_upload_is_a_setting(bad_house: House, tmp_path: Path) -> None:
    bad_house.service.uploads.settings = ServiceSettings(upload_minutes=0.001)
    said = problem(bad_house.upload(sound(tmp_path), **BY), 422)
    assert "too long" in said["detail"]
    assert kept(bad_house) == []
    bad_house.service.uploads.settings = ServiceSettings()
    assert bad_house.upload(sound(tmp_path), **BY).status_code == 201


def test_uploads_beyond_those_that_may_wait_are_refused_and_leave_nothing(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segue.service.serving.upload_intake.MOST_ARRIVING", 0)
    refused = house.upload(sound(tmp_path), **BY)
    assert "wait" in problem(refused, 503)["detail"]
    assert refused.headers["retry-after"]
    assert kept(house) == []


def test_what_a_killed_process_left_half_written_is_gone_at_the_next_start(
    bundles: Bundles, tmp_path: Path
) -> None:
    with House(bundles.live("wrmf"), tmp_path) as house:
        folder = house.service.uploads.folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".arriving-half.flac").write_bytes(b"fLaC")
    with House(bundles.live("wrmf"), tmp_path) as house:
        assert kept(house) == []


def test_a_file_that_is_there_is_not_listened_to_again(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = house.upload(sound(tmp_path), **BY)
    assert first.status_code == 201
    monkeypatch.setattr(uploads, "listen", None)  # it would fail
    again = house.upload(sound(tmp_path), **BY)
    assert again.status_code == 200
    assert again.json()["track"] == first.json()["track"]
