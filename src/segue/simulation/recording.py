"""Recordings of a simulated world: the sound of each track as a FLAC file."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segue.simulation.catalog import Music, generator
from segue.simulation.instruments import RATE, Float32
from segue.simulation.sound import make_style, render
from segue.system.extras import needs

AUDIO_FOLDER = "audio"


class Recording(NamedTuple):
    """A row of the table audio."""

    track: int
    file: str
    sha256: str
    duration_ms: int
    sample_rate: int
    channels: int


def refuse_without_encoder() -> None:
    """Find out before long work whether FLAC can be written.

    Raises:
        ConfigError: PyAV is missing.
    """
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise needs("sound", "audio", "PyAV", where="world", cause=error) from error


def flac(samples: Float32) -> bytes:
    """Mono sound of -1 to 1 as 16-bit FLAC; the same samples give the same bytes."""
    import av

    file = io.BytesIO()
    # Without bitexact the file would name the version of its encoder.
    with av.open(file, "w", format="flac", container_options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono", format="s16")
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        whole = np.rint(samples * np.float32(32_767)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(whole[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def record(
    folder: Path, music: Music, controls: Float32, seed: int, seconds: int
) -> Iterator[Recording]:
    """Write the sound of every track into a folder of `folder`, and say what was written.

    Args:
        folder: folder of the dataset.
        music: the tracks.
        controls: result of `sound_controls`. (tracks, controls)
        seed: seed of the world.
        seconds: length of each file.
    """
    (folder / AUDIO_FOLDER).mkdir()
    for track, artist in enumerate(music.track_artists.tolist()):
        style, rng = make_style(seed, artist), generator(seed, "piece", track)
        content = flac(render(controls[track], style, rng, seconds))
        name = f"{AUDIO_FOLDER}/{track:06d}.flac"
        (folder / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        yield Recording(track, name, digest, 1_000 * seconds, RATE, 1)
