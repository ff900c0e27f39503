"""How fast sound becomes features: mel-spectrograms, decoding with them, a scan of a library.

``python -m benchmarks.mel [--json] [--quick]``

Each system makes the same log-mel-spectrograms of the same clips, one clip after the other, one
thread each, in turns in one process; "times real time" is seconds of sound a second of work. Then
files are decoded alone and decoded into mel-spectrograms, by as many processes as there are cores;
and a library of tracks of three minutes is scanned: tags and hash of the whole file, the features
of its excerpt, kept. With the real excerpts (SEGUE_TEST_DATA) all of this is of them, and their
embeddings say whether neighbours come from the same game; without, of made sound.
"""

from __future__ import annotations

import csv
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.run import asked, child, machine, show

REAL = Path(os.environ.get("SEGUE_TEST_DATA", Path(__file__).parents[2] / "shared/data")) / "audio"
ROUNDS = 5
MINUTES = 3
CODECS = {"flac": "flac", "mp3": "libmp3lame", "m4a": "aac"}
OURS = "segue"


def made_sound(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    """Notes of half a second that fade, over soft noise; (n,) float32."""
    random = np.random.default_rng(seed)
    n = round(seconds * rate)
    t = np.arange(n) / rate
    notes = 110 * 2 ** (random.integers(0, 36, (3, int(seconds * 2) + 1)) / 12)
    pitch = notes[:, (t * 2).astype(int)]
    sound = np.sin(2 * np.pi * np.cumsum(pitch, axis=1) / rate).sum(axis=0) * (1 - t * 2 % 1) / 4
    return np.asarray(sound + random.normal(0, 0.003, n), np.float32)


def write(path: Path, samples: np.ndarray, rate: int) -> None:
    """Encode a sound as the ending of its name says."""
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream(CODECS[path.suffix[1:]], rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        context = stream.codec_context
        context.open()
        fit = av.AudioResampler(context.format.name, "mono", rate, context.frame_size or None)
        for piece in [*fit.resample(frame), *fit.resample(None)]:
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))


def retitled(source: Path, target: Path, title: str) -> None:
    """Copy a sound file with another title, and so another hash."""
    import av

    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        new.metadata["title"] = title
        stream = new.add_stream_from_template(old.streams.audio[0])
        for packet in old.demux(old.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)


def sound_files(folder: Path, count: int) -> list[Path]:
    """Real excerpts, or made ones of 20 seconds."""
    if (REAL / "tracks.csv").is_file():
        return sorted((REAL / "clips").glob("*.ogg"))[:count]
    paths = [folder / f"{i:03d}.mp3" for i in range(count)]
    for i, path in enumerate(paths):
        if i < 10:
            write(path, made_sound(20, 22_050, i), 22_050)
        else:
            retitled(paths[i % 10], path, str(i))
    return paths


def _librosa(mel: Any) -> Callable[[np.ndarray], np.ndarray]:
    import librosa

    def run(samples: np.ndarray) -> np.ndarray:
        power = librosa.feature.melspectrogram(
            y=samples, sr=mel.rate, n_fft=mel.window, hop_length=mel.hop, n_mels=mel.bands
        )
        return np.log1p(np.float32(mel.compression) * power).T

    return run


def _torch(mel: Any) -> Callable[[np.ndarray], np.ndarray]:
    import torch

    from segue.audio.mel import filter_bank

    torch.set_num_threads(1)
    bank, window = torch.from_numpy(filter_bank(mel)), torch.hann_window(mel.window)

    def run(samples: np.ndarray) -> np.ndarray:
        bins = torch.stft(
            torch.from_numpy(samples),
            mel.window,
            mel.hop,
            window=window,
            pad_mode="constant",
            return_complex=True,
        )
        return torch.log1p(mel.compression * (bank @ bins.abs().square())).numpy().T

    return run


def _mel(folder: Path, count: int) -> list[dict[str, Any]]:
    """Systems in turns on the same clips; the fastest of some rounds of each."""
    from segue.audio.decode import decode
    from segue.audio.mel import BLOG, PAPER, log_mel

    clips = [decode(path, PAPER.rate).samples for path in sound_files(folder, count)]
    seconds = sum(map(len, clips)) / PAPER.rate
    rows = []
    for variant, mel in (("paper", PAPER), ("blog", BLOG)):
        systems: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            OURS: lambda samples, mel=mel: log_mel(samples, mel),
            "librosa": _librosa(mel),
            "torch.stft": _torch(mel),
        }
        right = [systems["librosa"](clip) for clip in clips]
        apart = {
            name: max(
                float(np.abs(run(clip) - one).max()) for clip, one in zip(clips, right, strict=True)
            )
            for name, run in systems.items()
        }
        times: dict[str, list[float]] = {name: [] for name in systems}
        for _ in range(ROUNDS):
            for name, run in systems.items():
                start = time.perf_counter()
                for clip in clips:
                    run(clip)
                times[name].append(time.perf_counter() - start)
        ours = min(times[OURS])
        rows += [
            {
                "variant": variant,
                "system": name,
                "times real time": round(seconds / min(times[name])),
                "ms per 30 s": 30_000 * min(times[name]) / seconds,
                "segue is times as fast": min(times[name]) / ours,
                "largest difference": apart[name],
            }
            for name in systems
        ]
    return rows


@dataclass(frozen=True)
class DecodeAlone:
    """Decodes what an extractor wants, and gives how much that is."""

    extractor: Any

    def __call__(self, path: Path) -> int:
        from segue.audio.decode import decode

        return len(decode(path, self.extractor.rate, self.extractor.excerpt).samples)


def _steady(work: Any, paths: list[Path]) -> float:
    """Files a second from the first result on: starting processes is left out."""
    from segue.audio.workers import run_files

    results = run_files(work, paths)
    next(results)
    start = time.perf_counter()
    return sum(1 for _ in results) / (time.perf_counter() - start)


def _pipeline(folder: Path, count: int) -> dict[str, Any]:
    """Decoding with and without mel-spectrograms in turns, on all cores; the fastest of each.

    Of the files in the folder, or else of the excerpts.
    """
    from benchmarks.mel import DecodeAlone as Alone  # workers know no __main__
    from segue.audio.extractors import MEL_PAPER
    from segue.audio.features import Analysis

    library = sorted(folder.iterdir())
    paths = library or sound_files(folder, count)
    alone, both = 0.0, 0.0
    for _ in range(ROUNDS):
        alone = max(alone, _steady(Alone(MEL_PAPER), paths))
        both = max(both, _steady(Analysis(MEL_PAPER, 240.0), paths))
    return {
        "of": f"tracks of {MINUTES} minutes" if library else "excerpts",
        "files": len(paths),
        "decode alone, files/s": alone,
        "decode + mel, files/s": both,
        "share": both / alone,
    }


def _library(folder: Path, count: int) -> dict[str, Any]:
    """Write tracks of three minutes, a third in each format, each with its own title."""
    for suffix in CODECS:
        first = folder / f"first.{suffix}"
        write(first, made_sound(60 * MINUTES, 44_100), 44_100)
        for i in range(count // len(CODECS)):
            retitled(first, folder / f"{i}.{suffix}", f"{suffix} {i}")
        first.unlink()
    return {}


def _scan(folder: Path, count: int) -> dict[str, Any]:
    """Tags and hashes into a dataset, then features of every file into a cache."""
    from segue.audio.extractors import MEL_PAPER
    from segue.audio.features import extract
    from segue.data.dataset import Dataset
    from segue.data.ingestion.ingest import ingest

    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        ingest("audio", [folder], Path(out) / "dataset")
        looked = time.perf_counter() - start
        files = Dataset.open(Path(out) / "dataset").audio_files()
        start = time.perf_counter()
        heard = len(extract(files, MEL_PAPER, cache=Path(out) / "cache"))
        listened = time.perf_counter() - start
    return {
        "tracks": heard,
        "tags and hash, tracks/s": len(files) / looked,
        "features, tracks/s": heard / listened,
        "tracks an hour": round(3600 * heard / (looked + listened)),
    }


def _neighbours(folder: Path, count: int) -> dict[str, Any]:
    """Whether the nearest other excerpt, by its embedding, is of the same package."""
    from segue.audio.extractors import MUSICNN
    from segue.audio.features import extract
    from segue.audio.files import AudioFile
    from segue.system.files import sha256

    with (REAL / "tracks.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:count]
    files = [AudioFile(i, REAL / r["clip"], sha256(REAL / r["clip"])) for i, r in enumerate(rows)]
    start = time.perf_counter()
    features = extract(files, MUSICNN, cache=folder)
    seconds = time.perf_counter() - start
    made = features.load(range(len(features)))
    made -= made.mean(axis=0)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    near = made @ made.T
    np.fill_diagonal(near, -2)
    packages = np.array([rows[track]["package"] for track in features.tracks])
    same = packages[:, None] == packages
    pairs = len(same) * (len(same) - 1)
    return {
        "clips": len(features),
        "failed": sum(features.failed.values()),
        "clips/s": len(features) / seconds,
        "precision@1": float((packages[near.argmax(axis=1)] == packages).mean()),
        "chance": float((same.sum() - len(same)) / pairs),
    }


CHILDREN: dict[str, Callable[..., Any]] = {
    "mel": lambda folder, count: {"rows": _mel(folder, count)},
    "pipeline": _pipeline,
    "library": _library,
    "scan": _scan,
    "neighbours": _neighbours,
}
ALONE = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}


def _of(name: str, folder: str, count: int, **environment: str) -> dict[str, Any]:
    return child("benchmarks.mel", "--child", name, folder, count, **environment)


def benchmark(*, quick: bool) -> dict[str, Any]:
    """All figures as one object."""
    part = 10 if quick else 1
    with tempfile.TemporaryDirectory() as folder:
        rows = _of("mel", folder, 100 // part, **ALONE)["rows"]
    with tempfile.TemporaryDirectory() as folder:
        pipeline = [_of("pipeline", folder, 300 // part)]
    with tempfile.TemporaryDirectory() as folder:
        _of("library", folder, 300 // part)
        pipeline.append(_of("pipeline", folder, 300 // part))
        scan = _of("scan", folder, 300 // part)
    result: dict[str, Any] = {
        "machine": machine(),
        "ratio": min(r["segue is times as fast"] for r in rows if r["system"] != OURS),
        "rows": rows,
        "pipeline": pipeline,
        "scan": scan,
    }
    if (REAL / "tracks.csv").is_file() and not quick:
        with tempfile.TemporaryDirectory() as folder:
            result["neighbours"] = _of("neighbours", folder, 345)
    return result


def main() -> None:
    """The command line."""
    args = asked(__doc__, CHILDREN)
    if args is None:
        return
    result = benchmark(quick=args.quick)
    if args.json:
        print(json.dumps(result, indent=2))
        return
    show("Log-mel-spectrograms, clip by clip, one thread", result["rows"], result["machine"], "")
    show("Decoding and features, a process a core", result["pipeline"])
    show(f"Scan of a library, tracks of {MINUTES} minutes", [result["scan"]])
    if "neighbours" in result:
        show("musicnn embeddings of the real excerpts", [result["neighbours"]])


if __name__ == "__main__":
    main()
