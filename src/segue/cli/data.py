"""Verbs that write, change and describe datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segue.cli.output import (
    SIMULATED,
    Json,
    Seed,
    emit,
    facts,
    given_settings,
    number,
    overrides,
    say,
    table,
)
from segue.errors import UsageError
from segue.system.files import shown

DatasetOut = Annotated[
    Path, typer.Option("--dataset", metavar="DIR", help="Dataset folder to write or replace.")
]

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the format."),
]


def ingest(
    format: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help="Name of the format: one of those above.",
        ),
    ],
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...", help="Files, folders or zip archives; for feedback, the log."
        ),
    ],
    dataset: DatasetOut,
    mapping: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="ROLE=COLUMN",
            help="For csv and parquet: the column to read for a role.",
        ),
    ] = None,
    add: Annotated[
        bool, typer.Option("--add", help="For audio: attach sound files to an existing dataset.")
    ] = False,
    base: Annotated[
        Path | None,
        typer.Option(
            "--with", metavar="DIR", help="For feedback: the dataset to combine with the log."
        ),
    ] = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Convert logs, playlists or sound files to a dataset.

    Formats: mpd mssd lfm-1k lfm-2b taste-profile spotify-history scrobbler-log listenbrainz
    scrobbles youtube-music apple-music itunes tidal rekordbox traktor m3u xspf jspf audio csv
    parquet feedback.
    """
    columns = {}
    for text in mapping or ():
        role, sign, column = text.partition("=")
        if not (role and sign and column):
            raise UsageError(f"{text!r} is not role=column", where="--map")
        columns[role] = column
    changed = overrides(settings)
    with given_settings():
        if add:
            from segue.operations.attach_audio import attach_audio

            if format != "audio":
                raise UsageError(f"{format} cannot be added to a dataset", where="--add")
            if base is not None:
                raise UsageError("goes with feedback, --add with audio", where="--with")
            receipt = attach_audio(
                list(map(Path, sources)), dataset, settings=changed, progress=True
            )
        else:
            from segue.data.ingestion.ingest import ingest as read

            receipt = read(
                format,
                sources,
                dataset,
                base=base,
                columns=columns,
                settings=changed,
                progress=True,
            )
    if json:
        fields = ("format", "unit", "read", "kept", "dropped", "notes", "settings")
        emit({name: getattr(receipt, name) for name in fields} | {"dataset": shown(dataset)})
        return
    rows = {f"{receipt.unit} read": receipt.read, "kept": receipt.kept}
    rows |= {f"dropped: {reason}": n for reason, n in receipt.dropped.items()}
    facts(rows | receipt.notes | {"dataset": dataset})


def outcomes(
    dataset: Annotated[
        Path, typer.Argument(metavar="DIR", help="Dataset folder; the verb changes it in place.")
    ],
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Recompute outcomes and sessions of a dataset."""
    from segue.data.rederive import derive_again

    with given_settings():
        before, after = derive_again(dataset, overrides(settings))
    if json:
        emit(
            {
                "dataset": shown(dataset),
                "before": before["outcomes"],
                "after": after["outcomes"],
                "sessions": after["sessions"],
            }
        )
        return
    table(
        ("", "before", "after"),
        [
            (name, number(old), number(new))
            for name, old, new in (
                ("sessions", before["sessions"], after["sessions"]),
                *((f"listens {o}", n, after["outcomes"][o]) for o, n in before["outcomes"].items()),
            )
        ],
        numeric=("before", "after"),
    )


def world(
    dataset: DatasetOut,
    tracks: Annotated[int | None, typer.Option(help="Tracks in the catalog.")] = None,
    listeners: Annotated[int | None, typer.Option(help="Listeners.")] = None,
    sessions: Annotated[int | None, typer.Option(help="Sessions in all.")] = None,
    playlists: Annotated[int | None, typer.Option(help="Playlists.")] = None,
    outliers: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Share of each playlist that is random tracks."),
    ] = None,
    audio: Annotated[
        bool, typer.Option("--audio", help="Synthesize each track as a FLAC file.")
    ] = False,
    audio_seconds: Annotated[
        int | None, typer.Option(help="Length of each sound file in seconds.")
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Simulate a listening world with known ground truth."""
    from segue.simulation import World, make_world

    sizes = {
        "tracks": tracks,
        "listeners": listeners,
        "sessions": sessions,
        "playlists": playlists,
        "outliers": outliers,
        "audio": audio,
        "audio_seconds": audio_seconds,
    }
    with given_settings():
        made = World.make({name: size for name, size in sizes.items() if size is not None})
    info = make_world(dataset, made, seed=seed, progress=True)
    say(SIMULATED)
    result = {**info.rows, "simulated": True, "seed": seed, "dataset": shown(dataset)}
    if json:
        emit(result)
    else:
        facts(result)


def describe(
    dataset: Annotated[Path, typer.Argument(metavar="DIR", help="Dataset folder.")],
    json: Json = False,
) -> None:
    """Check a dataset and count its rows."""
    from segue.data.dataset import Dataset

    opened = Dataset.open(dataset)
    counts = opened.describe()
    if opened.info.simulated:
        say(SIMULATED)
    if json:
        emit(counts | {"simulated": opened.info.simulated, "fingerprint": opened.info.fingerprint})
        return
    outcomes = counts.pop("outcomes")
    facts(counts | {f"listens {name}": n for name, n in outcomes.items() if n})
    print()
    table(
        ("read from", "unit", "read", "kept", "dropped"),
        [
            (s.format, s.unit, f"{s.read:,}", f"{s.kept:,}", f"{s.read - s.kept:,}")
            for s in opened.info.sources
        ],
        numeric=("read", "kept", "dropped"),
    )
