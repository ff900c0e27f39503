"""Decodes sound files to samples: any of the `CONTAINERS`, one channel, any rate, by FFmpeg."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segue.errors import DataError
from segue.system.extras import needs
from segue.system.files import shown

Float32 = npt.NDArray[np.float32]

CONTAINERS = ("wav", "flac", "mp3", "ogg", "mov", "aac", "aiff")
"""Accepted formats by FFmpeg's names: no playlists, images or network streams."""

LONGEST_MINUTES = 240.0

_ESTIMATED = ("mp3", "aac")
"""Formats whose length may be an estimate."""
_MOST_CHANGE = 2
"""Between the bits a second of an MP3's first frame and those that its length gives. Beyond that
its packets are counted: the number of frames in its header may be wrong."""
_MIN_SHARE = 0.9
"""A file with less than this share of its announced length is truncated."""
_RATES = range(1_000, 1_000_001)
_MOST_CHANNELS = 64
_LOUDEST = 1e6
_BEFORE_SECONDS = 0.5
"""Decoded before an excerpt and dropped: MP3, AAC and Opus need the preceding frames."""
_BLOCK = 1 << 16


class AudioError(DataError):
    """An unusable sound file.

    Args:
        reason: one of the reasons in `docs/reference/audio.md`.
        path: path of the file.
    """

    def __init__(self, reason: str, path: Path | str | None = None) -> None:
        super().__init__(reason, where=None if path is None else shown(path))
        self.reason = reason


@dataclass(frozen=True)
class Excerpt:
    """The analysed part of a track: the middle, or all of a shorter track."""

    seconds: float = 30.0


@dataclass(frozen=True)
class Sound:
    """Decoded sound."""

    samples: Float32
    """One channel, the mean of all; mostly within -1 ... 1. (n,)"""
    rate: int
    """Sample rate of `samples`, in Hz."""
    duration_ms: int
    """Length of the whole file."""
    sample_rate: int
    """Sample rate of the file, in Hz."""
    channels: int
    """Number of channels of the file."""


def decode(
    path: Path, rate: int, excerpt: Excerpt | None = None, longest_minutes: float = LONGEST_MINUTES
) -> Sound:
    """The samples of a file, or of an excerpt of it.

    An excerpt is read by seeking. Damaged packets are skipped, as in players.

    Args:
        path: path of the file.
        rate: sample rate of the result, in Hz.
        excerpt: None decodes the whole file.
        longest_minutes: a longer file is refused.

    Raises:
        AudioError: the file is unusable; see `AudioError.reason`.
        ConfigError: PyAV is not installed.
    """
    with _opened(path) as file:
        promised = file.seconds
        if promised is not None and promised > 60 * longest_minutes:
            raise AudioError("too long", path)
        start, stop = _span(promised, excerpt)
        short = promised is not None and excerpt is not None and promised <= excerpt.seconds
        if short and file.kind in _ESTIMATED and excerpt is not None:
            stop = excerpt.seconds  # it may hold more than it says
        samples, last = file.read(rate, start, stop, longest_minutes)
        seconds = last if short or excerpt is None or promised is None else promised
        missed = len(samples) < _MIN_SHARE * rate * (stop - start) and not short
        if excerpt is not None and (missed or (short and last >= excerpt.seconds)):
            # The announced length is wrong, or seeking failed: measure the length.
            _, seconds = file.read(rate, np.inf, np.inf, longest_minutes)
            start, stop = _span(seconds, excerpt)
            samples, _ = file.read(rate, start, stop, longest_minutes, seek=False)
        if not len(samples):
            raise AudioError("no sound in it", path)
        if promised and file.kind not in _ESTIMATED and seconds < _MIN_SHARE * promised:
            raise AudioError("truncated", path)
        if not np.abs(samples).max() <= _LOUDEST:  # NaN is not
            raise AudioError("not finite", path)
        return Sound(samples, rate, round(1000 * seconds), file.rate, file.channels)


def probe(path: Path, longest_minutes: float = LONGEST_MINUTES) -> tuple[int | None, int, int]:
    """Check by its head whether a file is sound.

    Returns:
        length in milliseconds, or None if the head lacks it; samples per second; channels.

    Raises:
        AudioError, ConfigError: as `decode`.
    """
    with _opened(path) as file:
        if file.seconds is not None and file.seconds > 60 * longest_minutes:
            raise AudioError("too long", path)
        if next(file.frames(), None) is None:
            raise AudioError("no sound in it", path)
        ms = None if file.seconds is None else round(1000 * file.seconds)
        return ms, file.rate, file.channels


def _span(seconds: float | None, excerpt: Excerpt | None) -> tuple[float, float]:
    """Start and end of an excerpt in a file of so many seconds."""
    if excerpt is None:
        return 0.0, np.inf
    if seconds is None or seconds <= excerpt.seconds:
        return 0.0, excerpt.seconds if seconds is None else seconds
    start = (seconds - excerpt.seconds) / 2
    return start, start + excerpt.seconds


class _File:
    """An open sound file."""

    def __init__(self, container: Any, path: Path) -> None:
        self._container, self._path = container, path
        if not container.streams.audio:
            raise AudioError("no sound in it", path)
        self._stream = container.streams.audio[0]
        context = self._stream.codec_context
        if context is None:
            raise AudioError("unknown codec", path)
        context.thread_count = 1  # files are decoded beside each other
        self.kind: str = container.format.name.partition(",")[0]
        self.rate: int = context.sample_rate or 0
        self.channels: int = context.channels
        if not self.channels:
            raise AudioError("no channels", path)
        if self.channels > _MOST_CHANNELS:
            raise AudioError("too many channels", path)
        if self.rate not in _RATES:
            raise AudioError("strange sample rate", path)
        micros = container.duration
        self.seconds = None if micros is None or micros <= 0 else micros / 1e6
        """Announced length; it may be wrong."""
        if self.kind == "mp3":
            rate = 8 * os.path.getsize(path) / (self.seconds or 1e-3)
            first = context.bit_rate or rate
            if not first / _MOST_CHANGE <= rate <= first * _MOST_CHANGE:
                self.seconds = self._measured()

    def _measured(self) -> float | None:
        """Length by its packets, None without any."""
        packets = self._container.demux(self._stream)
        count = sum(packet.duration or 0 for packet in packets)
        self._container.seek(0)
        return float(count * (self._stream.time_base or 0)) or None

    def frames(self) -> Iterator[Any]:
        """Decode frames from the present position on, without undecodable ones."""
        from av.error import EOFError as EndOfFile
        from av.error import InvalidDataError

        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                yield from packet.decode()
            except EndOfFile:
                return
            except InvalidDataError:
                continue

    def read(
        self, rate: int, start: float, stop: float, longest_minutes: float, *, seek: bool = True
    ) -> tuple[Float32, float]:
        """The samples from `start` to `stop`, and where decoding ended, in seconds.

        Args:
            start: infinity keeps nothing, and only finds the end.
            seek: False decodes from the start of the file to keep exact count of time.
        """
        from_start = not (seek and _BEFORE_SECONDS < start < np.inf)
        origin = (self._stream.start_time or 0) * (self._stream.time_base or 0)
        to = 0.0 if from_start else start - _BEFORE_SECONDS
        self._container.seek(int((float(origin) + to) * 1e6))
        mixer: _Mixer | None = None
        parts: list[Float32] = []
        first = now = 0.0 if from_start else None
        longest, step = 60 * longest_minutes, 0.0
        for frame in self.frames():
            if now is None:
                first = now = 0.0 if frame.time is None else max(frame.time - float(origin), 0.0)
            now += frame.samples * (step or 1 / frame.sample_rate)
            if now > longest:
                raise AudioError("too long", self._path)
            if now <= start:
                first = now
                continue
            if mixer is None or not mixer.take(frame, parts):
                if mixer is not None:
                    mixer.finish(parts)
                mixer, step = _Mixer(frame, rate), 1 / frame.sample_rate
                mixer.take(frame, parts)
            if now >= stop:
                break
        if mixer is not None:
            mixer.finish(parts)
        samples = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        if np.isfinite(stop) and first is not None:
            skipped = max(round((start - first) * rate), 0)
            samples = samples[skipped : skipped + round((stop - start) * rate)]
        return samples, now or 0.0


@contextmanager
def _opened(path: Path) -> Iterator[_File]:
    """Open a sound file; every failure becomes an `AudioError`."""
    try:
        import av
        from av.error import FFmpegError
    except ImportError as error:
        raise needs("reading sound", "audio", "PyAV", cause=error) from error
    options = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}
    try:
        if not os.stat(path).st_size:
            raise AudioError("empty file", path)
        # "file:" keeps a name from being taken for an address.
        name = f"file:{os.path.abspath(path)}"
        more = _tags_may_be_anything(av.__version__)
        with av.open(name, "r", options=options, **more) as container:
            yield _File(container, path)
    except AudioError:
        raise
    except MemoryError as error:
        raise AudioError("needs too much memory", path) from error
    except PermissionError as error:
        raise AudioError("no permission", path) from error
    except FileNotFoundError as error:
        raise AudioError("no such file", path) from error
    except FFmpegError as error:
        raise AudioError("not audio", path) from error
    except OSError as error:
        raise AudioError("cannot be read", path) from error


def _tags_may_be_anything(version: str) -> dict[str, Any]:
    """Options of PyAV to open files with tags that are not UTF-8; from 19 on it needs none."""
    return {"metadata_errors": "replace"} if int(version.split(".")[0]) < 19 else {}


class _Mixer:
    """Makes frames of one kind one channel of float32 at a rate, in blocks.

    The mix is the mean of the channels, whatever they are called, in floating point.
    """

    def __init__(self, frame: Any, rate: int) -> None:
        from av.error import ArgumentError
        from av.filter import Graph

        self._refused = ArgumentError
        self._waiting = 0
        count = frame.layout.nb_channels
        mean = "+".join(f"{1 / count:.17g}*c{i}" for i in range(count))
        self._graph = Graph()
        self._graph.threads = 1  # as of the decoder
        source = self._graph.add_abuffer(
            sample_rate=frame.sample_rate,
            format=frame.format.name,
            layout=frame.layout.name,
            time_base=frame.time_base,
        )
        chain = [source, self._graph.add("aformat", "sample_fmts=fltp")]
        if count > 1:
            chain.append(self._graph.add("pan", f"mono|c0={mean}"))
        if frame.sample_rate != rate:
            chain.append(self._graph.add("aresample", str(rate)))
        chain.append(self._graph.add("aformat", "sample_fmts=flt:channel_layouts=mono"))
        chain.append(self._graph.add("asetnsamples", f"n={_BLOCK}:p=0"))
        chain.append(self._graph.add("abuffersink"))
        self._graph.link_nodes(*chain).configure()

    def take(self, frame: Any, blocks: list[Float32]) -> bool:
        """Take a frame in, and add the blocks that are ready; False if it is of another kind."""
        try:
            self._graph.push(frame)
        except self._refused:
            return False
        self._waiting += frame.samples
        if self._waiting >= _BLOCK:  # asking before there is a block costs time
            self._waiting = 0
            self._pull(blocks)
        return True

    def finish(self, blocks: list[Float32]) -> None:
        """Add the blocks that are left."""
        self._graph.push(None)
        self._pull(blocks)

    def _pull(self, blocks: list[Float32]) -> None:
        from av.error import BlockingIOError as NotYet
        from av.error import EOFError as AllOut

        with suppress(NotYet, AllOut):
            while True:
                blocks.append(self._graph.pull().to_ndarray()[0])
