"""The page, in a real browser against a real `segue serve`; and without script, over plain HTTP."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
from support.optional import reason

pytest.importorskip("fastapi", reason=reason("fastapi"))

import httpx
import soundfile
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from support.browser import NoBrowser, Server, begin, click, open_browser, settled, sized
from support.reader_cases import ingested

from segue.data.dataset import Dataset
from segue.models.two_stage.features.columns import FEATURES
from segue.operations.answers import NamedReason, NamedTrack
from segue.service.access.tokens import Tokens
from segue.service.api import wire
from segue.service.run import TOKENS
from segue.service.serving.metrics import Metrics
from segue.service.web import health as pages_health
from segue.service.web import views
from segue.simulation import genre_words, truth

WORLD = {"tracks": 300, "playlists": 800, "sessions": 2000, "listeners": 150, "audio-seconds": 3}
TRAINED = (
    "wrmf.factors=16", "wrmf.alpha=10",
    "wrmf.skip_confidence=200", "wrmf.title_weight=1", "wrmf.artist_weight=0.3",
)  # fmt: skip
STYLE = Path(views.__file__).with_name("static") / "page.css"


class Shop(NamedTuple):
    """A service that runs, and what is true of its world."""

    address: str
    world: Path
    genres: np.ndarray
    words: list[list[str]]
    token: str
    report: str

    def api(self, path: str, **body: object) -> dict:
        answer = httpx.post(f"{self.address}/v1/{path}", json=body, timeout=60)
        answer.raise_for_status()
        return answer.json()


def segue(*arguments: str) -> None:
    command = [sys.executable, "-c", "from segue.cli import main; main()", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a world that sounds and a bundle, made once for all workers of a run."""
    base = tmp_path_factory.getbasetemp()
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    folder = base.parent / f"page-{run}" if run else base / "page"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w", encoding="utf-8") as lock:
        if run:  # workers share the folder
            fcntl = pytest.importorskip("fcntl", reason="workers share a world by flock")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "bundle").is_dir():
            world, sizes = str(folder / "world"), (f"--{k}={v}" for k, v in WORLD.items())
            segue("world", "--dataset", world, "--audio", "--seed=1", *sizes)
            settings = [word for text in TRAINED for word in ("--set", text)]
            segue("train", "audio-linear", world, "--bundle", str(folder / "bundle"), *settings)
    return folder


@pytest.fixture(scope="session")
def shop(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    token = Tokens(folder / TOKENS).new("Ada Lovelace")
    report = "<!DOCTYPE html><html><head><style>h1{color:#0a0b0c}</style></head><h1>R</h1></html>"
    (folder / "report.html").write_text(report)
    world = trained / "world"
    server = Server(
        [
            str(trained / "bundle"), "--sounds", str(world), "--data", str(folder),
            "--report", str(folder / "report.html"),
        ],
        folder / "said",
    )  # fmt: skip
    yield Shop(
        server.address, world, truth(world)["track_genres"], genre_words(world), token, report
    )
    server.stop()


@pytest.fixture(scope="session")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="session")
def opened(downloads: Path) -> Iterator[webdriver.Chrome]:
    try:
        browser = open_browser(downloads=downloads)
    except NoBrowser as error:
        pytest.skip(str(error))
    yield browser
    browser.quit()


@pytest.fixture
def browser(opened: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """A browser; a test fails where its console has an error, also one of the page's policy."""
    opened.get("about:blank")
    opened.get_log("browser")
    yield opened
    sized(opened, 1280, 900)
    assert opened.get_log("browser") == []


def texts(browser: webdriver.Chrome, selector: str) -> list[str]:
    return [one.text for one in browser.find_elements(By.CSS_SELECTOR, selector)]


def listed(browser: webdriver.Chrome, what: str = "uri") -> list[str]:
    rows = browser.find_elements(By.CSS_SELECTOR, "#rows > li")
    return [row.get_attribute(f"data-{what}") for row in rows]


def row_of(uri: str) -> int:
    return int(uri.rsplit(":", 1)[1])


def genre(shop: Shop, at: int = 0) -> tuple[int, str]:
    """A genre with many tracks, and its name in two words."""
    number = int(np.argsort(-np.bincount(shop.genres), kind="stable")[at])
    return number, shop.words[number][1]


# In the browser


def test_a_title_becomes_what_comes_next_with_reasons(browser, shop):
    number, words = genre(shop)
    begin(browser, shop.address, words)
    assert texts(browser, "h1") == [words]
    assert len(listed(browser)) == 20
    assert np.mean([shop.genres[row_of(uri)] == number for uri in listed(browser)]) > 0.7
    assert all(words.split()[0] in text for text in texts(browser, "#rows .because"))
    assert "made-up world" in texts(browser, ".note")[0]
    assert "Answered by audio." in browser.find_element(By.CSS_SELECTOR, ".next").text


def test_a_skipped_track_and_its_like_go_down(browser, shop):
    _, words = genre(shop, 1)
    begin(browser, shop.address, words, adds=2)
    id = browser.current_url.split("/playlists/")[1].split("?")[0]
    tracks = httpx.get(f"{shop.address}/v1/playlists/{id}").json()["tracks"]
    asked = {
        "tracks": tracks, "title": words, "n": 100, "spacing": {"artist": 2}, "listener": "me",
        "session": id,
    }  # fmt: skip
    before = [track["uri"] for track in shop.api("continue", **asked)["tracks"]]
    shown = listed(browser)
    assert before[:20] == shown
    skipped, place = shown[1], browser.find_elements(By.CSS_SELECTOR, "#rows .name")[1].text
    click(browser, "#skip-2")
    assert skipped not in listed(browser)
    assert any(line.endswith("gone") for line in texts(browser, ".left li")), place
    after = [track["uri"] for track in shop.api("continue", **asked)["tracks"]]
    places = {uri: at for at, uri in enumerate(after)}
    latents = truth(shop.world)["track_latents"]
    apart = {
        uri: float(((latents[row_of(uri)] - latents[row_of(skipped)]) ** 2).sum())
        for uri in before
        if uri != skipped
    }
    nearest = sorted(apart, key=apart.get)
    moves = {uri: before.index(uri) - places.get(uri, 100) for uri in apart}
    assert np.mean([moves[uri] for uri in nearest[:15]]) < -3
    assert np.mean([moves[uri] for uri in nearest[-30:]]) > 0
    # What the rows say is what happened.
    for row in browser.find_elements(By.CSS_SELECTOR, "#rows > li"):
        uri, said = row.get_attribute("data-uri"), row.find_element(By.CLASS_NAME, "place").text
        now, was = listed(browser).index(uri), before.index(uri) if uri in before else None
        if was is None or was >= 20:
            assert "new" in said
        elif was != now:
            assert f"{'▲' if was > now else '▼'} {abs(was - now)}" in said


def test_an_uploaded_file_is_placed_and_recommended(browser, shop, tmp_path):
    number, _ = genre(shop)
    rows = np.flatnonzero(shop.genres == number)
    like = next(file for file in Dataset.open(shop.world).audio_files() if file.track == rows[0])
    samples, rate = soundfile.read(like.path)
    soundfile.write(tmp_path / "mine.wav", 0.7 * samples, rate)
    browser.get(shop.address)
    browser.find_element(By.ID, "file").send_keys(str(tmp_path / "mine.wav"))
    click(browser, ".upload summary")
    browser.find_element(By.CSS_SELECTOR, ".upload [name=title]").send_keys("Home recording")
    click(browser, ".upload button")
    assert texts(browser, "h1") == ["Home recording"]
    assert "Its sound told its place" in texts(browser, ".flash")[0]
    spot = browser.find_element(By.CSS_SELECTOR, ".spot.this")
    assert "Home recording, this track" in spot.get_attribute("aria-label")
    assert spot.find_elements(By.TAG_NAME, "path")  # uploads are diamonds
    near = listed_near(browser)
    assert np.mean(shop.genres[[row_of(uri) for uri in near]] == number) > 0.6
    uri = browser.current_url.split("/tracks/")[1].split("?")[0].replace("%3A", ":")
    kept = shop.api("playlists", title="", tracks=near[:3], listener="me")
    browser.get(f"{shop.address}/playlists/{kept['id']}")
    assert uri in listed(browser)  # and the map tells it from others
    assert browser.find_elements(By.CSS_SELECTOR, f".spot.next[href='/tracks/{quoted(uri)}'] path")
    browser.get(f"{shop.address}/tracks/{quoted(uri)}")
    click(browser, "button.main")
    assert texts(browser, ".have b") == ["Home recording"]
    assert all("Home recording" in text for text in texts(browser, "#rows .because"))


def quoted(uri: str) -> str:
    return uri.replace(":", "%3A")


def listed_near(browser: webdriver.Chrome) -> list[str]:
    links = browser.find_elements(By.CSS_SELECTOR, ".next .rows .name")
    return [one.get_attribute("href").rsplit("/", 1)[1].replace("%3A", ":") for one in links]


def test_what_does_not_work_is_said_beside_what_was_filled_in(browser, shop, tmp_path):
    (tmp_path / "a.wav").write_text("no sound")
    browser.get(shop.address)
    browser.find_element(By.ID, "file").send_keys(str(tmp_path / "a.wav"))
    click(browser, ".upload summary")
    browser.find_element(By.CSS_SELECTOR, ".upload [name=title]").send_keys("Mine")
    click(browser, ".upload button")
    assert texts(browser, "#wrong")[0].startswith("file: ")
    assert "file: " in browser.find_element(By.ID, "news").get_attribute("textContent")
    there = browser.find_element(By.CSS_SELECTOR, ".upload [name=title]")
    assert there.get_attribute("value") == "Mine"
    (told,) = browser.get_log("browser")  # the status itself is what the console tells
    assert "422" in told["message"]


def test_a_banned_artist_is_gone_until_the_ban_is_undone(browser, shop):
    begin(browser, shop.address, genre(shop)[1])
    artist = listed(browser, "artist")[0]
    click(browser, "#rows summary")
    click(browser, "#rows details[open] button[value^='ban-artist']")
    assert artist not in listed(browser, "artist")
    assert f"Nothing by {artist} will come again." in texts(browser, ".flash")[0]
    assert artist in texts(browser, ".said")[0]
    begin(browser, shop.address, genre(shop)[1])
    assert artist not in listed(browser, "artist")  # it holds in every playlist
    click(browser, ".said button")
    assert artist in listed(browser, "artist")
    assert not browser.find_elements(By.CSS_SELECTOR, ".said")


def test_an_exported_playlist_is_read_back(browser, shop, downloads, tmp_path):
    begin(browser, shop.address, genre(shop)[1], adds=3)
    wanted = [
        one.text.replace("\n", " ") for one in browser.find_elements(By.CSS_SELECTOR, ".have .name")
    ]
    browser.find_element(By.LINK_TEXT, "M3U8").click()
    file = downloads / "playlist.m3u8"
    WebDriverWait(browser, 30).until(lambda _: file.is_file())
    (tmp_path / "in").mkdir()
    file.rename(tmp_path / "in" / file.name)
    _, dataset = ingested("m3u", tmp_path / "in")
    assert dataset.titles == [genre(shop)[1]]
    read = dataset.tracks.to_pylist()
    assert [f"{row['title']} {row['artist']}" for row in read] == wanted


def test_a_playlist_is_built_by_search_and_put_in_order(browser, shop):
    tracks = Dataset.open(shop.world).tracks.to_pylist()[:2]
    begin(browser, shop.address, "")
    for track in tracks:
        box = browser.find_element(By.ID, "q")
        box.send_keys(f"{track['artist']} {track['title']}" + Keys.ENTER)
        settled(browser)
        chosen = "button[name=track]" if track is tracks[0] else ".side button[value^='add']"
        click(browser, chosen)
    names = [track["title"] for track in tracks]
    assert texts(browser, ".have b") == names
    click(browser, "#down-1")
    assert texts(browser, ".have b") == names[::-1]
    click(browser, "#remove-1")
    assert texts(browser, ".have b") == names[:1]
    click(browser, ".flash button")  # undo
    assert texts(browser, ".have b") == names


def test_the_main_path_works_by_keyboard_alone(browser, shop):
    def press(*keys: str) -> None:
        for key in keys:
            browser.switch_to.active_element.send_keys(key)
            settled(browser)

    def tab_to(id: str) -> None:
        for _ in range(60):
            if browser.switch_to.active_element.get_attribute("id") == id:
                return
            press(Keys.TAB)
        pytest.fail(f"no way to #{id}")

    browser.get(shop.address)
    tab_to("title")
    press(*genre(shop)[1], Keys.ENTER)
    tab_to("add-1")
    first, second = listed(browser)[:2]
    press(Keys.ENTER)
    assert first not in listed(browser)
    assert browser.switch_to.active_element.get_attribute("id") == "add-1"  # it stays where it was
    tab_to("skip-1")
    press(Keys.ENTER)
    assert second not in listed(browser)
    third = listed(browser)[1]
    press(Keys.ARROW_DOWN, "s")
    assert third not in listed(browser)
    assert "Skipped" in browser.find_element(By.ID, "news").get_attribute("textContent")


def test_adventure_changes_the_list_and_stays_in_the_address(browser, shop):
    begin(browser, shop.address, genre(shop)[1])
    before = listed(browser)
    browser.find_element(By.ID, "adventure").send_keys(Keys.END)
    settled(browser)
    WebDriverWait(browser, 30).until(lambda _: "adventure=1" in browser.current_url)
    rare = listed(browser)
    assert rare != before
    click(browser, "#skip-20")
    assert "adventure=1" in browser.current_url
    assert browser.find_element(By.ID, "adventure").get_attribute("value") == "1"


def test_music_plays_on_while_the_list_changes_and_its_end_is_told(browser, shop):
    begin(browser, shop.address, genre(shop)[1])
    click(browser, "#rows .play")
    playing = listed(browser)[0]
    time = "return document.getElementById('audio').currentTime"
    WebDriverWait(browser, 30).until(lambda _: browser.execute_script(time) > 0)
    click(browser, "#add-5")
    assert browser.execute_script("return !document.getElementById('audio').paused")
    heard = "Heard "
    WebDriverWait(browser, 30).until(lambda _: heard in " ".join(texts(browser, ".flash")))
    settled(browser)
    assert playing not in listed(browser)
    source = "return document.getElementById('audio').src"
    assert quoted(listed(browser)[0]) in browser.execute_script(source)  # the next one


def test_the_page_is_dark_where_that_is_preferred(browser, shop):
    shade = "return getComputedStyle(document.documentElement).backgroundColor"
    browser.get(shop.address)
    light = browser.execute_script(shade)
    scheme = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    dark = browser.execute_script(shade)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert sum(map(int, re.findall(r"\d+", light))) > 600
    assert sum(map(int, re.findall(r"\d+", dark))) < 150


def test_pages_fit_a_narrow_screen(browser, shop):
    sized(browser, 360, 800)
    begin(browser, shop.address, genre(shop)[1], adds=1)
    click(browser, "#skip-1")
    playlist = browser.current_url
    track = browser.find_element(By.CSS_SELECTOR, ".name").get_attribute("href")
    for page in (playlist, track, shop.address, f"{shop.address}/health"):
        browser.get(page)
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= 360, page


def test_the_report_is_shown_with_its_own_style(browser, shop):
    browser.get(f"{shop.address}/health")
    browser.find_element(By.LINK_TEXT, "the report").click()
    colour = browser.find_element(By.TAG_NAME, "h1").value_of_css_property("color")
    assert re.findall(r"\d+", colour)[:3] == ["10", "11", "12"]


# Without script


class Controls(HTMLParser):
    """Forms of a page with their fields and buttons; and what is not labelled."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[dict] = []
        self.labels: set[str] = set()
        self.fields: list[dict] = []
        self._in_label = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        it = dict(attrs)
        if tag == "form":
            self.forms.append({"action": it["action"], "fields": {}, "buttons": []})
        elif tag == "label":
            self._in_label = True
            self.labels.add(it.get("for", ""))
        elif tag == "input":
            if it.get("type") == "hidden":
                self.forms[-1]["fields"][it["name"]] = it["value"]
            elif not self._in_label:
                self.fields.append(it)
        elif tag == "button" and "value" in it:
            self.forms[-1]["buttons"].append((it["name"], it["value"]))

    def handle_endtag(self, tag):
        self._in_label = self._in_label and tag != "label"

    def press(self, start: str) -> tuple[str, dict]:
        """What the first button sends whose value begins so."""
        for form in self.forms:
            for name, value in form["buttons"]:
                if value.startswith(start):
                    return form["action"], form["fields"] | {name: value}
        raise AssertionError(f"no button {start!r}")


@pytest.fixture
def plain(shop: Shop) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shop.address, follow_redirects=True, timeout=60) as client:
        yield client


def pressed(plain: httpx.Client, page: httpx.Response, start: str) -> httpx.Response:
    action, data = Controls(page.text).press(start)
    return plain.post(action, data=data)


def uris(page: httpx.Response) -> list[str]:
    return re.findall(r'<li data-uri="([^"]*)"', page.text)


def test_the_main_path_works_without_script(plain, shop):
    page = plain.post("/playlists", data={"title": genre(shop)[1]})
    assert page.history[0].status_code == 303  # so that going back asks nothing again
    first, second = uris(page)[:2]
    page = pressed(plain, page, "add ")
    assert first not in uris(page)
    page = pressed(plain, page, "skip ")
    assert second not in uris(page)
    assert "does not come again here" in page.text
    assert "▼" in page.text
    page = pressed(plain, page, "ban ")
    assert "will not come again" in page.text
    page = pressed(plain, page, "unban ")
    assert "may come again" in page.text
    link = re.search(r'href="(/v1/playlists/[^"]*format=m3u8)"', page.text)[1]
    assert plain.get(link).text.startswith("#EXTM3U")
    sound = re.search(r'href="(/v1/tracks/[^"]*/audio)"', page.text)[1]
    assert plain.get(sound).headers["content-type"] in ("audio/flac", "audio/x-flac")


def test_a_playlist_is_renamed_and_removed(plain):
    page = plain.post("/playlists", data={"title": "first"})
    path = page.url.path
    page = plain.post(path, data={"do": "rename", "title": "<script>alert(1)</script>"})
    assert "&lt;script&gt;alert(1)" in page.text
    assert "<script>alert(1)" not in page.text
    assert plain.post(path, data={"do": "delete"}).url.path == "/"
    assert plain.get(path).status_code == 404


def test_a_long_playlist_shows_its_end(plain, shop):
    tracks = Dataset.open(shop.world).tracks["uri"].to_pylist()[:205]
    kept = shop.api("playlists", title="long", tracks=[*tracks, "elsewhere:1"], listener="me")
    page = plain.get(f"/playlists/{kept['id']}")
    assert "The last 200 of 206 tracks." in page.text
    assert page.text.count('value="remove ') == 200
    assert "not in this catalog" in page.text
    page = pressed(plain, page, "remove elsewhere")
    assert len(plain.get(f"/v1/playlists/{kept['id']}").json()["tracks"]) == 205


def test_every_page_of_content_has_its_twin_for_programs(plain, shop):
    page = plain.post("/playlists", data={"title": genre(shop)[1]})
    some = [page.text, plain.get("/").text, plain.get("/health").text]
    some += [plain.get(f"/tracks/{quoted(uris(page)[0])}").text]
    for text in some:
        twin = re.search(r'rel="alternate" type="application/json" href="([^"]*)"', text)[1]
        answer = plain.get(twin.replace("&amp;", "&"))
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"


def test_every_field_has_a_label(plain, shop):
    page = plain.post("/playlists", data={"title": genre(shop)[1]})
    for text in (page.text, plain.get("/").text, plain.get(f"{page.url.path}?q=the").text):
        controls = Controls(text)
        assert controls.fields
        assert {field.get("id") for field in controls.fields} <= controls.labels


def test_errors_of_pages_are_pages(plain, tmp_path):
    (tmp_path / "a.wav").write_text("no sound")
    cases = [
        (plain.get("/playlists/none"), 404, "no playlist"),
        (plain.get("/tracks/none"), 404, "no track"),
        (plain.post("/playlists", data={}), 422, "Say something"),
        (plain.post("/playlists", data={"title": "x" * 201}), 422, "$.title"),
        (plain.post("/playlists", data={"title": "a\x00b"}), 422, "$.title"),
        (plain.get("/playlists/none?adventure=2"), 422, "adventure"),
        (plain.post("/upload", data={"title": "x"}), 422, "Choose a sound file"),
        (plain.post("/upload", files={"file": (tmp_path / "a.wav").open("rb")}), 422, "file:"),
        (plain.get("/static/../secret"), 404, ""),
        (plain.get("/static/secret"), 404, "no such file"),
    ]
    for answer, status, text in cases:
        assert answer.status_code == status, answer.text
        if text:
            assert answer.headers["content-type"].startswith("text/html")
            assert text in answer.text
            assert "That did not work" in answer.text


def test_what_a_form_says_that_is_nothing_is_refused(plain):
    page = plain.post("/playlists", data={"title": "first"})
    for do in ("fly me", "skip", "ban-artist ", ""):
        assert plain.post(page.url.path, data={"do": do}).status_code == 422, do


def test_feedback_of_the_page_is_that_of_the_token(shop):
    headers = {"Authorization": f"Bearer {shop.token}"}
    with httpx.Client(base_url=shop.address, headers=headers, follow_redirects=True) as client:
        page = client.post("/playlists", data={"title": "mine"})
        id = page.url.path.rsplit("/", 1)[1]
        assert client.get(f"/v1/playlists/{id}").json()["listener"] == "Ada%20Lovelace"
        assert page.url.path in client.get("/").text
    assert page.url.path not in httpx.get(f"{shop.address}/").text


def test_the_report_has_a_policy_of_its_own(plain, shop):
    answer = plain.get("/report")
    assert answer.text == shop.report
    policy = answer.headers.get_list("content-security-policy")
    assert len(policy) == 1
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in policy[0]
    assert "unsafe" not in plain.get("/").headers["content-security-policy"]


def test_pages_go_on_without_the_log(trained, tmp_path):
    gone = "postgresql://nobody@127.0.0.1:1/none"
    server = Server(
        [str(trained / "bundle"), "--log", gone, "--data", str(tmp_path)], tmp_path / "said"
    )
    try:
        with httpx.Client(base_url=server.address, timeout=60) as client:
            start = client.get("/", params={"q": "the"})
            assert start.status_code == 200
            assert "The log cannot be reached" in start.text
            assert 'name="track"' in start.text  # what was found
            track = re.search(r'href="(/tracks/[^"]*)"', start.text)[1]
            assert "What goes with it" in client.get(track).text
            assert "cannot be used" in client.get("/health").text
            refused = client.post("/playlists", data={"title": "x"})
            assert refused.status_code == 503
            assert "That did not work" in refused.text
    finally:
        server.stop()


# What is said


def named(index: int) -> NamedTrack:
    return NamedTrack(index, f"u{index}", f"T{index}", "A", None, None, 0.0, [])


def answered(*rows: int, version: str = "v", **more: object) -> wire.ContinueResponse:
    told = {"served_by": "audio", "level": "audio", "passed": [], "personal": True} | more
    tracks = [named(row) for row in rows]
    return wire.ContinueResponse(
        version=version, simulated=False, unknown=[], tracks=tracks, **told
    )


class _Catalog:
    def __len__(self) -> int:
        return 10

    def label(self, row: int) -> str:
        return f"A - T{row}"


class _Service:
    uploads = SimpleNamespace(sounds=frozenset({"u1"}))
    bundles = SimpleNamespace(live=SimpleNamespace(catalog=_Catalog()))


def test_moves_are_told_against_the_order_before():
    rows = views.rows(_Service(), answered(3, 1, 5, 2), 3, "v:1.2.3.4")
    assert [(row.track.index, row.move, row.new) for row in rows.shown] == [
        (3, 2, False), (1, -1, False), (5, None, True),
    ]  # fmt: skip
    assert rows.left == [("A – T2", 2, 4), ("A – T4", 4, None)]
    assert rows.order == "v:3.1.5"
    assert [row.playable for row in rows.shown] == [False, True, False]


@pytest.mark.parametrize("was", ["", "w:1.2.3", "v:", "v:99999999999", "v:x.-1.²"])
def test_an_order_that_says_nothing_moves_nothing(was):
    rows = views.rows(_Service(), answered(3, 1), 2, was)
    assert [(row.move, row.new) for row in rows.shown] == [(None, False)] * 2
    assert rows.left == []


def test_reasons_are_told_with_their_share_of_what_speaks_for_a_track():
    reasons = [
        NamedReason("track", "A - One", "u1", 0.6),
        NamedReason("title", "folk", None, 0.3),
        NamedReason("track", "B - Two", "u2", -5.0),
        NamedReason("rest", None, None, 0.1),
    ]
    assert views.parts(reasons, "a") == [
        views.Part("", "A – One", 60),
        views.Part("the title word", "“folk”", 30),
    ]
    features = [NamedReason("feature", name, None, 1.0) for name in ("same-album", "album-heard")]
    assert views.parts(features, "a") == [views.Part("its album", "", None)]
    assert views.parts([NamedReason("rest", None, None, -1.0)], "a") == []
    itself = [NamedReason("track", "Ann - One", "a", 1.0)]
    assert views.parts(itself, "a") == [views.Part("earlier plays of it", "", 100)]


def test_a_lower_rung_is_said_plainly():
    assert views.served(answered(1)) == "Answered by audio."
    passed = [wire.FilteredResponse(level="audio", why="over budget")]
    told = answered(1, served_by="content", level="content", passed=passed)
    assert views.served(told) == "Answered by content: audio would have taken too long."
    told = answered(
        1, served_by="popularity", level="popularity",
        passed=[wire.FilteredResponse(level="audio", why="knows nothing")],
    )  # fmt: skip
    assert "Nothing here to go by" in views.served(told)
    passed = [
        wire.FilteredResponse(level=level, why="knows nothing")
        for level in ("two-stage", "content")
    ]
    told = answered(1, served_by="title", level="title", passed=passed)
    assert views.served(told) == ("Answered by title: two-stage, content knew nothing of this.")


def test_requests_are_counted_by_route():
    metrics = Metrics()
    for seconds, status in [(0.004, 200)] * 99 + [(4, 503)]:
        metrics.seconds.labels("/a", "GET", status).observe(seconds)
    (one,) = pages_health.requests(metrics)
    assert (one.name, one.count, one.failed) == ("GET /a", 100, 1)
    assert one.mean == pytest.approx((99 * 4 + 4000) / 100)
    assert one.within == 5
    metrics.seconds.labels("/a", "GET", 200).observe(60)
    assert pages_health.requests(metrics)[0].within == 10_000


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_stand_out_from_what_is_behind_them(theme):
    blocks = re.findall(r":root \{(.*?)\}", STYLE.read_text(), re.DOTALL)
    colours = dict(re.findall(r"--([a-z-]+): (#\w+)", " ".join(blocks[: 1 + (theme == "dark")])))

    def light(name: str) -> float:
        digits = colours[name][1:]
        digits = digits if len(digits) == 6 else "".join(2 * one for one in digits)
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for front, back in [
        *((front, back) for front in ("ink", "quiet", "accent") for back in ("paper", "sheet")),
        ("up", "paper"), ("down", "paper"), ("warm", "paper"), ("accent", "soft"),
        ("ink", "soft"), ("warm", "warm-soft"), ("on-accent", "accent"),
    ]:  # fmt: skip
        bright, dim = sorted((light(front), light(back)), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= 4.5, (theme, front, back)


@pytest.mark.parametrize("name", [feature.name for feature in FEATURES])
def test_every_feature_of_the_second_stage_has_words(name):
    name = name.replace("model", "wrmf")
    (part,) = views.parts([NamedReason("feature", name, None, 1.0)], "a")
    assert part.words != name.replace("-", " ")
