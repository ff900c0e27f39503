"""Write a simulated world to disk, and read its truth back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from segue.data.receipt import DatasetInfo, Receipt
from segue.data.writer import DatasetWriter, writing_dataset
from segue.errors import ConfigError, DataError
from segue.simulation.catalog import FACTORS, Music, generator, make_music
from segue.simulation.names import (
    Lexicon,
    artist_names,
    make_lexicon,
    playlist_titles,
    song_titles,
)
from segue.simulation.playlists import draw_playlists
from segue.simulation.recording import record, refuse_without_encoder
from segue.simulation.sessions import (
    SPAN_MS,
    START_MS,
    Listeners,
    draw_sessions,
    make_listeners,
)
from segue.simulation.sound import sound_controls
from segue.system.mismatch import mismatch_of
from segue.system.progress import Advance, task

TRUTH_FILE = "truth.safetensors"
TRUTH_FORMAT = "segue-world-1"
_HEADER = "world"

Tensors = dict[str, npt.NDArray[Any]]

# Fixed, because each chunk has a random generator of its own.
_TRACKS_AT_ONCE = 1 << 16
_PLAYLISTS_AT_ONCE = 1 << 12
_SESSIONS_AT_ONCE = 1 << 14

_AUDIO_SECONDS = 10
_PARTS = "tracks, playlists and sessions"


class World(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Sizes of a simulated world."""

    tracks: Annotated[int, Meta(ge=200, le=2_000_000, description="tracks in the catalog")] = 2_000
    listeners: Annotated[
        int, Meta(ge=0, le=1_000_000, description="listeners; some may have no session")
    ] = 500
    sessions: Annotated[
        int, Meta(ge=0, le=1_000_000, description="sessions in all, of 10 to 20 listens")
    ] = 10_000
    playlists: Annotated[int, Meta(ge=0, le=1_000_000, description="playlists")] = 1_000
    outliers: Annotated[
        float,
        Meta(ge=0, le=1, description="share of each playlist that is random tracks"),
    ] = 0.0
    audio: Annotated[bool, Meta(description="whether each track gets a sound file")] = False
    audio_seconds: Annotated[
        int, Meta(ge=3, le=60, description="length of each sound file in seconds")
    ] = _AUDIO_SECONDS

    @classmethod
    def make(cls, sizes: Mapping[str, Any]) -> Self:
        """Sizes checked against their bounds.

        Raises:
            ConfigError: an unknown size, a value of a wrong type or out of bounds, sessions
                without listeners, or seconds of sound without sound.
        """
        try:
            world = msgspec.convert(dict(sizes), cls)
        except msgspec.ValidationError as error:
            known = ", ".join(field.name for field in msgspec.structs.fields(cls))
            wrong = str(mismatch_of(dict(sizes), cls)).removeprefix("$.")
            raise ConfigError(wrong, where="world", do=f"sizes are: {known}") from error
        if world.sessions and not world.listeners:
            raise ConfigError(
                f"{world.sessions} sessions and no listeners",
                where="world",
                do="give at least 1 listener, or 0 sessions",
            )
        if world.audio_seconds != _AUDIO_SECONDS and not world.audio:
            raise ConfigError(
                f"{world.audio_seconds} seconds of sound and no sound",
                where="world",
                do="ask for audio, or for no seconds of it",
            )
        return world


def make_world(
    dataset: Path | str, world: World | None = None, *, seed: int = 0, progress: bool = False
) -> DatasetInfo:
    """Simulate a world and write it as a dataset, with its truth beside the tables.

    The same sizes and seed give the same bytes in every file.

    Args:
        dataset: folder to write; replaced as a whole if it holds a dataset.
        world: sizes.
        seed: random seed, from 0.
        progress: whether to report progress on stderr.

    Raises:
        ConfigError: sizes or seed are out of bounds, or sound is asked for and PyAV is missing.
        DataError: the folder cannot be written.
    """
    world = World.make(msgspec.structs.asdict(world or World()))
    if seed < 0:
        raise ConfigError(f"seed is {seed}", where="world", do="give 0 or more")
    if world.audio:
        refuse_without_encoder()
    total = world.tracks + world.playlists + world.sessions
    with writing_dataset(dataset) as writer:
        music = make_music(world.tracks, seed)
        lexicon = make_lexicon(generator(seed, "words"), len(music.genre_latents))
        people = make_listeners(music, seed, world.listeners, world.sessions)
        with task("making world", total, _PARTS, show=progress) as advance:
            made = _Making(writer, music, lexicon, seed, advance)
            made.tracks()
            tensors: Tensors = {
                "genre_latents": music.genre_latents,
                "artist_latents": music.artist_latents,
                "artist_genres": music.artist_genres,
                "track_latents": music.track_latents,
                "track_artists": music.track_artists,
                "track_genres": music.track_genres,
                "track_popularity": music.track_popularity,
                "listener_latents": people.points,
                "listener_genres": people.genres,
                **made.playlists(world.playlists, world.outliers),
                **made.listens(people),
            }
        if world.audio:
            with task("making sound", world.tracks, "tracks", show=progress) as advance:
                tensors |= made.sound(world.audio_seconds, advance)
        header = _Header(format=TRUTH_FORMAT, seed=seed, genre_words=lexicon.words)
        # One entry, because safetensors writes several in any order.
        packed = save(tensors, {_HEADER: msgspec.json.encode(header).decode()})
        (writer.folder / TRUTH_FILE).write_bytes(packed)
        return writer.finish([made.receipt], simulated=True)


class _Making:
    """A world on its way to disk: each table in a method, rows counted in `receipt`."""

    def __init__(
        self, writer: DatasetWriter, music: Music, lexicon: Lexicon, seed: int, advance: Advance
    ) -> None:
        self._writer, self._music, self._lexicon = writer, music, lexicon
        self._seed, self._advance = seed, advance
        self.receipt = Receipt(format="world", unit="rows", notes={"seed": seed})

    def tracks(self) -> None:
        """Write the catalog."""
        music, rng = self._music, generator(self._seed, "names")
        artists = artist_names(rng, len(music.artist_latents))
        artist_of_album = np.zeros(music.track_albums.max() + 1, np.int64)
        artist_of_album[music.track_albums] = music.track_artists
        albums = song_titles(self._lexicon, rng, music.artist_genres[artist_of_album])
        for start in range(0, len(music.shelf), _TRACKS_AT_ONCE):
            rows = range(start, min(start + _TRACKS_AT_ONCE, len(music.shelf)))
            chunk = slice(rows.start, rows.stop)
            artist = music.track_artists[chunk].tolist()
            album = music.track_albums[chunk].tolist()
            self._writer.add(
                "tracks",
                {
                    "uri": [f"world:track:{t:06d}" for t in rows],
                    "title": song_titles(self._lexicon, rng, music.track_genres[chunk]),
                    "artist": [artists[a] for a in artist],
                    "artist_uri": [f"world:artist:{a:06d}" for a in artist],
                    "album": [albums[a] for a in album],
                    "album_uri": [f"world:album:{a:06d}" for a in album],
                    "duration_ms": music.durations_ms[chunk],
                },
            )
            self.receipt.keep(len(rows))
            self._advance(len(rows))

    def sound(self, seconds: int, advance: Advance) -> Tensors:
        """Write the sound files; returns their part of the truth."""
        controls = sound_controls(self._music, self._seed)
        recordings = record(self._writer.folder, self._music, controls, self._seed, seconds)
        for recording in recordings:
            self._writer.add("audio", {name: [v] for name, v in recording._asdict().items()})
            self.receipt.keep()
            advance(1)
        return {"track_sound": controls}

    def playlists(self, count: int, outliers: float) -> Tensors:
        """Write playlists with this share of outliers; returns their part of the truth."""
        latents = np.empty((count, FACTORS), np.float32)
        genres = np.empty((count, 2), np.int32)
        planted = [np.zeros(0, np.bool_)]
        for chunk, start in enumerate(range(0, count, _PLAYLISTS_AT_ONCE)):
            rows = range(start, min(start + _PLAYLISTS_AT_ONCE, count))
            drawn = draw_playlists(self._music, self._seed, chunk, len(rows), outliers)
            latents[start : rows.stop], genres[start : rows.stop] = drawn.points, drawn.genres
            planted.append(drawn.outliers)
            rng = generator(self._seed, "titles", chunk)
            changed = START_MS + rng.integers(0, SPAN_MS, len(rows))
            self._writer.add_playlists(
                {
                    "uri": [f"world:playlist:{p:06d}" for p in rows],
                    "title": playlist_titles(self._lexicon, rng, drawn.genres),
                    "followers": rng.pareto(1.2, len(rows)).clip(0, 1_000_000).astype(np.int32),
                    "modified_at": changed.astype("datetime64[ms]"),
                },
                drawn.lengths,
                drawn.tracks,
            )
            self.receipt.keep(len(rows) + len(drawn.tracks))
            self._advance(len(rows))
        tensors: Tensors = {"playlist_latents": latents, "playlist_genres": genres}
        return tensors | ({"playlist_outliers": np.concatenate(planted)} if outliers else {})

    def listens(self, people: Listeners) -> Tensors:
        """Write listeners and their listens; returns the sessions' part of the truth."""
        listeners, sessions = len(people.points), len(people.owners)
        for start in range(0, listeners, _TRACKS_AT_ONCE):
            rows = range(start, min(start + _TRACKS_AT_ONCE, listeners))
            self._writer.add("listeners", {"uri": [f"world:listener:{u:06d}" for u in rows]})
        self.receipt.keep(listeners)
        latents = np.empty((sessions, FACTORS), np.float32)
        genres = np.empty(sessions, np.int32)
        for chunk, start in enumerate(range(0, sessions, _SESSIONS_AT_ONCE)):
            rows = range(start, min(start + _SESSIONS_AT_ONCE, sessions))
            drawn = draw_sessions(
                self._music, people, self._seed, chunk, slice(rows.start, rows.stop)
            )
            latents[start : rows.stop], genres[start : rows.stop] = drawn.points, drawn.genres
            of = np.repeat(np.arange(len(rows)), drawn.lengths)
            first = np.cumsum(drawn.lengths) - drawn.lengths
            self._writer.add(
                "listens",
                {
                    "listener": people.owners[start + of],
                    "session": (start + of).astype(np.int32),
                    "position": (np.arange(len(of)) - first[of]).astype(np.int32),
                    "track": drawn.tracks,
                    "time": drawn.times_ms.astype("datetime64[ms]"),
                    "outcome": drawn.outcomes,
                    "plays": np.ones(len(of), np.int32),
                    "ms_played": drawn.ms_played,
                },
            )
            self.receipt.keep(len(of))
            self._advance(len(rows))
        return {"session_latents": latents, "session_genres": genres}


class _Header(msgspec.Struct, kw_only=True):
    """Header of the truth file."""

    format: str
    seed: int
    genre_words: list[list[str]]


def truth(dataset: Path | str) -> Tensors:
    """Ground truth of a simulated world; `docs/reference/world.md` lists the tensors.

    Raises:
        DataError: the folder holds no simulated world, or its truth is damaged.
    """
    file = Path(dataset) / TRUTH_FILE
    _read_header(file)
    return load_file(file)


def genre_words(dataset: Path | str) -> list[list[str]]:
    """Words of each genre: its name, the name in two words, and two words of its fans.

    Raises:
        DataError: as `truth`.
    """
    return _read_header(Path(dataset) / TRUTH_FILE).genre_words


def _read_header(file: Path) -> _Header:
    if not file.is_file():
        raise DataError(
            "is not there: not a simulated world", where=file, do="make one with segue world"
        )
    try:
        with safe_open(file, "numpy") as opened:
            header = msgspec.json.decode((opened.metadata() or {})[_HEADER], type=_Header)
    except (SafetensorError, OSError, KeyError, msgspec.MsgspecError) as error:
        raise DataError(f"is damaged ({error})", where=file, do="make the world again") from error
    if header.format != TRUTH_FORMAT:
        raise DataError(
            f"has format {header.format}, this segue reads {TRUTH_FORMAT}",
            where=file,
            do="make the world again",
        )
    return header
