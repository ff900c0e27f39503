"""Sound files for tests, encoded on the fly."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
from support.optional import optional

av = optional("av")

ENCODERS = {
    "wav": "pcm_s16le",
    "flac": "flac",
    "mp3": "libmp3lame",
    "opus": "libopus",
    "m4a": "aac",
    "ogg": "vorbis",
}
"""Codec of each ending."""

RATE = 48_000
"""Samples a second; Opus knows it too."""


def sweep(seconds: float, rate: int = RATE, channels: int = 1) -> npt.NDArray[np.float32]:
    """A tone that rises from 200 Hz to 2 kHz, so that each moment sounds like itself alone."""
    t = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * (200 * t + 1800 * t**2 / (2 * seconds))
    return np.tile((0.4 * np.sin(phase)).astype(np.float32), (channels, 1))


def encode(
    path: Path,
    samples: npt.NDArray[np.float32],
    rate: int = RATE,
    codec: str | None = None,
    tags: dict[str, str] | None = None,
) -> Path:
    """Write (channels, n) samples in the format that the path's ending or `codec` says."""
    if path.suffix == ".ogg":  # FFmpeg's own encoder of Vorbis is an experiment
        with soundfile.SoundFile(path, "w", rate, len(samples), "VORBIS") as file:
            for name, text in (tags or {}).items():
                setattr(file, name, text)
            file.write(samples.T)
        return path
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(samples)]
    with av.open(str(path), "w") as file:
        file.metadata.update(tags or {})
        stream = file.add_stream(codec or ENCODERS[path.suffix[1:]], rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate = rate
        stream.codec_context.open()
        fit = av.AudioResampler(
            stream.codec_context.format.name, layout, rate, stream.codec_context.frame_size or None
        )
        for piece in [*fit.resample(frame), *fit.resample(None)]:
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    return path


def wav_header(
    data_bytes: int, rate: int = 44_100, channels: int = 1, bits: int = 16, kind: int = 1
) -> bytes:
    """Of a WAV file that claims so much; `kind` 1 is whole numbers, 3 floats."""
    frame = channels * bits // 8
    return (
        b"RIFF"
        + struct.pack("<I", min(36 + data_bytes, 2**32 - 1))
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, kind, channels, rate, rate * frame, frame, bits)
        + b"data"
        + struct.pack("<I", data_bytes)
    )


def wav(path: Path, data: bytes, **header: int) -> Path:
    """Write a WAV file by hand."""
    path.write_bytes(wav_header(len(data), **header) + data)
    return path
