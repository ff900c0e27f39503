"""What is wrong with a value: found by its type, and not by what msgspec says."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct
from support.reader_cases import ingested, playlist, slice_text, track, write_slice

from segue.data.readers.mpd import _Playlist, _RawSlice
from segue.errors import ConfigError, DataError
from segue.recipe import load_recipe
from segue.system.mismatch import CUT_OFF, NOT_UTF8, json_fault, mismatch_in, mismatch_of


class Inner(Struct, forbid_unknown_fields=True):
    uri: Annotated[str, Meta(min_length=1, max_length=5, pattern="^[a-z]+$")]
    n: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0


class Like(Struct, tag_field="kind", tag="like"):
    track: str


class Ban(Struct, tag_field="kind", tag="ban"):
    artist: str


class Whole(Struct):
    tracks: Annotated[list[Inner], Meta(max_length=3)]
    share: Annotated[float, Meta(gt=0, lt=1)] | None = None
    mode: Literal["fast", "slow"] = "fast"
    many: str | list[str] | None = None
    at: Annotated[datetime, Meta(tz=True)] | None = None
    rows: dict[str, int] = {}
    event: Like | Ban | None = None
    pair: tuple[int, str] | None = None
    flag: bool = False
    anything: Any = None
    renamed: int = msgspec.field(default=0, name="otherName")


GOOD = {
    "tracks": [{"uri": "abc", "n": 3}],
    "share": 0.5,
    "mode": "slow",
    "many": ["x"],
    "at": "2026-01-01T00:00:00Z",
    "rows": {"x": 1},
    "event": {"kind": "ban", "artist": "x"},
    "pair": [1, "a"],
    "flag": True,
    "anything": [{}],
    "otherName": 4,
    "not known": 1,
}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"tracks": 3}, "$.tracks: expected a list, got a whole number"),
        ({"tracks": None}, "$.tracks: expected a list, got nothing"),
        ({"tracks": [{"uri": "a"}, 3.5]}, "$.tracks[1]: expected an object, got a number"),
        ({"tracks": [{}]}, "$.tracks[0]: missing field uri"),
        ({"tracks": [{"uri": "a", "ur": 1}]}, "$.tracks[0]: unknown field ur"),
        ({"tracks": [{"uri": True}]}, "$.tracks[0].uri: expected text, got true or false"),
        ({"tracks": [{"uri": ""}]}, "$.tracks[0].uri: expected text of length >= 1"),
        ({"tracks": [{"uri": "abcdef"}]}, "$.tracks[0].uri: expected text of length <= 5"),
        ({"tracks": [{"uri": "A"}]}, "$.tracks[0].uri: expected text that matches ^[a-z]+$"),
        ({"tracks": [{"uri": "a", "n": -1}]}, "$.tracks[0].n: expected a whole number >= 0"),
        (
            {"tracks": [{"uri": "a", "n": 2**31}]},
            "$.tracks[0].n: expected a whole number <= 2147483647",
        ),
        ({"tracks": [{"uri": "a", "n": True}]}, "$.tracks[0].n: expected a whole number, got"),
        ({"tracks": [{"uri": "a"}] * 4}, "$.tracks: expected a list of length <= 3"),
        ({"share": 1}, "$.share: expected a number < 1"),
        ({"share": 0}, "$.share: expected a number > 0"),
        ({"share": "x"}, "$.share: expected a number or nothing, got text"),
        ({"mode": "medium"}, "$.mode: unknown value 'medium'; it may be 'fast', 'slow'"),
        ({"many": ["a", 3]}, "$.many[1]: expected text, got a whole number"),
        ({"many": 3}, "$.many: expected text or a list or nothing, got a whole number"),
        ({"at": "yesterday"}, "$.at: expected a time as 2026-01-31T12:00:00Z"),
        ({"at": "2026-01-01T00:00:00"}, "$.at: expected a time with its zone"),
        ({"rows": {"x": "y"}}, "$.rows.x: expected a whole number, got text"),
        ({"event": {"track": "x"}}, "$.event: missing field kind"),
        ({"event": {"kind": "hum"}}, "$.event.kind: unknown value 'hum'; it may be 'like', 'ban'"),
        ({"event": {"kind": "like"}}, "$.event: missing field track"),
        ({"pair": [1]}, "$.pair: expected a list of length 2"),
        ({"pair": [1, 2]}, "$.pair[1]: expected text, got a whole number"),
        ({"flag": 1}, "$.flag: expected true or false, got a whole number"),
        ({"otherName": "x"}, "$.otherName: expected a whole number, got text"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(change: dict[str, Any], line: str) -> None:
    value = GOOD | change
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(value, Whole)
    assert str(mismatch_of(value, Whole)).startswith(line)
    assert str(mismatch_in(json.dumps(value).encode(), Whole)).startswith(line)


def test_the_whole_has_no_path() -> None:
    assert str(mismatch_of([], Whole)) == "expected an object, got a list"
    assert str(mismatch_of({}, Whole)) == "missing field tracks"
    assert mismatch_of({}, Whole).where == "$"


def test_what_fits_all_the_same_is_no_reason_to_fail() -> None:
    msgspec.convert(GOOD, Whole)
    assert str(mismatch_of(GOOD, Whole)) == "is not of this form"


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 2**33)
    | st.floats(-2, 2)
    | st.text("aB\n", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["tracks", "uri", "n", "many", "share", "kind", "track", "event", "mode"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(VALUES, st.sampled_from(sorted(GOOD)))
def test_it_finds_a_mismatch_exactly_where_msgspec_refuses(value: Any, name: str) -> None:
    for whole in (value, GOOD | {name: value}):
        try:
            msgspec.convert(whole, Whole)
        except msgspec.ValidationError:
            assert str(mismatch_of(whole, Whole)) != "is not of this form"
        else:
            assert str(mismatch_of(whole, Whole)) == "is not of this form"


def test_what_is_no_json_behind_a_mismatch_is_told() -> None:
    assert mismatch_in(b'{"tracks": 3, ', Whole).kind == "json"


# Text that is no JSON

DOCUMENT = {
    "a": [1, -2.5e-7, True, False, None, 'é"\\ ሴ 😀', {"b": []}, {}],
    "é": "ü",
}


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("indent", [None, 1])
def test_json_that_ends_anywhere_is_cut_off(ascii_only: bool, indent: int | None) -> None:
    whole = json.dumps(DOCUMENT, ensure_ascii=ascii_only, indent=indent).encode()
    for end in range(len(whole)):
        assert json_fault(whole[:end]) == CUT_OFF, whole[:end]


@pytest.mark.parametrize(
    "text",
    [
        b"pid,track\n", b"no", b"<playlist/>", b'{"a": xyz}', b"[1,,2]", b'{"a" 1}', b"[] x",
        b"[NaN]", b"\xef\xbb\xbf[]", b"\x89PNG", b"\xff", b"x\xff", b'["\x01"]',
    ],
)  # fmt: skip
def test_other_text_is_not_cut_off(text: bytes) -> None:
    assert json_fault(text) is None


def test_text_of_another_encoding_is_not_utf8() -> None:
    assert json_fault('{"a": "ü"}'.encode("latin-1")) == NOT_UTF8


# Another library, other words


class Reworded(msgspec.ValidationError):
    """What msgspec raises, in the words of a version to come."""

    def __str__(self) -> str:
        return "Das passt nicht"


class RewordedDecode(msgspec.DecodeError):
    """The same of what is no JSON."""

    def __str__(self) -> str:
        return "Das ist kein JSON"


class Reworder:
    """A decoder whose errors have another text."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder

    def decode(self, content: Any) -> Any:
        try:
            return self._decoder.decode(content)
        except msgspec.ValidationError:
            raise Reworded from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise RewordedDecode from None


@pytest.fixture
def reworded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every error of msgspec has another text, in the reader of MPD and in settings."""
    for name, kind in (("_raw_slice", _RawSlice), ("_playlist", _Playlist)):
        decoder = Reworder(msgspec.json.Decoder(kind))
        monkeypatch.setattr(f"segue.data.readers.mpd.{name}", decoder)
    monkeypatch.setattr("segue.data.readers.mpd._slice", Reworder(msgspec.json.Decoder(int)))
    convert = msgspec.convert

    def converted(*args: Any, **named: Any) -> Any:
        try:
            return convert(*args, **named)
        except msgspec.ValidationError:
            raise Reworded from None

    monkeypatch.setattr(msgspec, "convert", converted)


@pytest.mark.usefixtures("reworded")
def test_reasons_do_not_hang_on_the_words_of_msgspec(tmp_path: Any) -> None:
    write_slice(
        tmp_path / "mpd",
        0,
        playlist(0, "a"),
        {"pid": 1, "tracks": [track("a", track_uri=5)]},
        {"pid": 2},
    )
    receipt, _ = ingested("mpd", tmp_path / "mpd")
    assert receipt.dropped == {"invalid field tracks[].track_uri": 1, "missing field tracks": 1}


@pytest.mark.usefixtures("reworded")
@pytest.mark.parametrize(
    ("content", "line"),
    [
        (slice_text(playlist(0, "a"))[:-9].encode(), "ends early: the JSON is cut off"),
        (slice_text(playlist(0, "é")).replace("\\u00e9", "é").encode("latin-1"), "is not UTF-8"),
        (b'{"playlists": 3}', "$.playlists: expected a list, got a whole number"),
        (b"pid", "is not JSON"),
    ],
)
def test_a_damaged_file_does_not_hang_on_the_words_of_msgspec(
    tmp_path: Any, content: bytes, line: str
) -> None:
    path = tmp_path / "mpd.slice.0-999.json"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        ingested("mpd", path)
    assert str(caught.value).startswith(f"{path}: {line}")


@pytest.mark.usefixtures("reworded")
def test_settings_do_not_hang_on_the_words_of_msgspec() -> None:
    with pytest.raises(ConfigError, match=r"unknown setting factor; the nearest is factors$"):
        load_recipe("wrmf", ["factor=3"])
    with pytest.raises(ConfigError, match=r"factors: expected a whole number, got text$"):
        load_recipe("wrmf", ["factors=many"])
