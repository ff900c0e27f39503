"""Verbs that recommend tracks from a bundle."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segue.cli.output import SIMULATED, Json, emit, facts, say, table
from segue.data.playlist_export import one_line
from segue.errors import AmbiguousTrackError, UsageError
from segue.system.files import shown

if TYPE_CHECKING:
    from segue.bundle import Bundle
    from segue.catalog.catalog import Catalog
    from segue.operations.playlist_seeds import PlaylistSeeds
    from segue.queries import Query, Slate

BundleIn = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Trained recommender.")]
Count = Annotated[int, typer.Option("-n", min=1, help="Number of tracks.")]
_NEAR, _LISTED = 3, 9
TRACK = "a uri, or words of artist and title"


def continue_(
    bundle: BundleIn,
    tracks: Annotated[
        list[str] | None,
        typer.Option("--track", metavar="T", help=f"A played track, the oldest first: {TRACK}."),
    ] = None,
    playlist: Annotated[
        str | None,
        typer.Option(
            metavar="P",
            help="A playlist to continue: a file, - for standard input, or one of --dataset.",
        ),
    ] = None,
    dataset: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Dataset that has the playlist.")
    ] = None,
    skipped: Annotated[
        list[str] | None,
        typer.Option("--skipped", metavar="T", help=f"A track skipped after those: {TRACK}."),
    ] = None,
    title: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Title of the playlist.")
    ] = None,
    past: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Dataset with the earlier plays of one listener."),
    ] = None,
    ban: Annotated[
        list[str] | None,
        typer.Option("--ban", metavar="T", help=f"A track to leave out: {TRACK}."),
    ] = None,
    ban_artist: Annotated[
        list[str] | None,
        typer.Option(
            "--ban-artist", metavar="A", help="An artist to leave out: the full name, or the uri."
        ),
    ] = None,
    n: Count = 20,
    one_recording: Annotated[
        bool,
        typer.Option("--one-recording", help="List each recording once, even under several uris."),
    ] = False,
    artist_spacing: Annotated[
        int, typer.Option(min=0, metavar="K", help="Repeat no artist within K places.")
    ] = 0,
    album_spacing: Annotated[
        int, typer.Option(min=0, metavar="K", help="Repeat no album within K places.")
    ] = 0,
    cold_quota: Annotated[
        float,
        typer.Option(min=0, max=1, metavar="SHARE", help="Minimum share of tracks without plays."),
    ] = 0.0,
    adventure: Annotated[
        float,
        typer.Option(
            min=0, max=1, metavar="A", help="Preference for rare tracks, from 0 (off) to 1."
        ),
    ] = 0.0,
    format: Annotated[
        str, typer.Option(help="One of table, json, m3u8, xspf, jspf or csv.")
    ] = "table",
    json: Json = False,
) -> None:
    """Continue a playlist or session from tracks, title or history."""
    from segue.bundle import Bundle
    from segue.data.playlist_export import PLAYLIST_FORMATS
    from segue.operations.recommend import long_term_history, query_of
    from segue.reranking.list_stage import ListStage, continue_playlist

    if json and format not in ("table", "json"):
        raise UsageError(f"--json and --format {format} at once", do="give one of them")
    formats = ["table", "json", *PLAYLIST_FORMATS]
    if format not in formats:
        raise UsageError(f"no format {format!r}", do=f"formats are: {', '.join(formats)}")
    loaded = Bundle.load(bundle)
    long_term: list[int] = []
    if past:
        from segue.data.dataset import Dataset

        long_term = long_term_history(Dataset.open(past), loaded.catalog)
        if not long_term:
            say(f"{shown(past)}: nothing of this past is in the catalog: --past changes nothing")
    seeds = _seeds(playlist, dataset, loaded.catalog)
    title = title if title is not None or seeds is None else seeds.title
    query = query_of(
        loaded.catalog,
        tracks=[*(seeds.tracks if seeds else ()), *(tracks or ())],
        skipped=skipped or (),
        title=title,
        bans=ban or (),
        banned_artists=ban_artist or (),
        past=long_term,
        find=partial(_find, loaded.catalog),
    )
    stage = ListStage(one_recording, artist_spacing, album_spacing, cold_quota, adventure)
    slate = continue_playlist(loaded.recommender, query, n, stage)
    if title and not loaded.recommender.reads_titles:
        does = "only names the list" if format in PLAYLIST_FORMATS else "changes nothing"
        say(f"{loaded.manifest.recommender} does not read titles: --title {does}")
    if long_term and not loaded.recommender.reads_past:
        say(f"this {loaded.manifest.recommender} does not read the past: --past changes nothing")
    if loaded.manifest.simulated:
        say(SIMULATED)
    if format in PLAYLIST_FORMATS:
        rows = loaded.catalog.table.take(slate.tracks).to_pylist()
        print(PLAYLIST_FORMATS[format](title or "Continued by segue", rows), end="")
        return
    _show(loaded, query, slate, json or format == "json")


def similar(
    bundle: BundleIn,
    track: Annotated[str, typer.Argument(metavar="TRACK", help=f"{TRACK}.".capitalize())],
    n: Count = 20,
    json: Json = False,
) -> None:
    """Find tracks similar to one track."""
    from segue.bundle import Bundle
    from segue.operations.recommend import query_of
    from segue.reranking.list_stage import continue_playlist

    loaded = Bundle.load(bundle)
    query = query_of(loaded.catalog, tracks=[track], find=partial(_find, loaded.catalog))
    slate = continue_playlist(loaded.recommender, query, n)
    if loaded.manifest.simulated:
        say(SIMULATED)
    _show(loaded, query, slate, json)


def submit(
    bundle: BundleIn,
    challenge_set: Annotated[
        Path, typer.Argument(metavar="CHALLENGE", help="challenge_set.json, plain or gzipped.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.csv", help="Submission to write.")],
    team: Annotated[str, typer.Option(help="Team name for the first line.")] = "segue",
    email: Annotated[
        str, typer.Option(help="Contact address for the first line.")
    ] = "segue@example.org",
    json: Json = False,
) -> None:
    """Write a submission to the Million Playlist challenge."""
    from segue.bundle import Bundle
    from segue.evaluation.submission import submit as write

    loaded = Bundle.load(bundle)
    receipt = write(loaded, challenge_set, out, team=team, email=email, progress=True)
    if loaded.manifest.simulated:
        say(SIMULATED)
    if json:
        emit(receipt)
        return
    rows = {"submission": receipt.submission, "playlists": receipt.playlists}
    rows |= {"seeds": receipt.seeds, "seeds not in the catalog": receipt.seeds_missing}
    facts(rows | {f"served by {model}": n for model, n in receipt.served_by.items()})


def _seeds(name: str | None, dataset: Path | None, catalog: Catalog) -> PlaylistSeeds | None:
    """The playlist that is asked for; says which of its tracks the catalog lacks."""
    if name is None:
        if dataset is not None:
            raise UsageError("--dataset without --playlist", do="name a playlist of the dataset")
        return None
    from segue.operations.playlist_seeds import seeds_of_dataset, seeds_of_file

    if dataset is not None:
        from segue.data.dataset import Dataset

        seeds = seeds_of_dataset(Dataset.open(dataset), name, catalog)
    elif name == "-":
        seeds = seeds_of_file("standard input", catalog, sys.stdin.buffer.read())
    else:
        seeds = seeds_of_file(name, catalog)
    lost, known = len(seeds.missing), len(seeds.tracks)
    if lost:
        near = ", ".join(seeds.missing[:_NEAR]) + ", ..." * (lost > _NEAR)
        say(f"{lost:,} of {lost + known:,} tracks are not in the catalog: {near}")
    return seeds


def _find(catalog: Catalog, text: str) -> int:
    """The track that a text means; says so where others are near, and asks on a terminal."""
    try:
        row, others = catalog.names.find(text)
    except AmbiguousTrackError as error:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        return _pick(catalog, text, error.candidates)
    if others:
        near = "; ".join(label for label, _ in catalog.labels(others[:_NEAR]))
        more = f" and {len(others) - _NEAR:,} more" if len(others) > _NEAR else ""
        say(f"{text!r}: taking {catalog.label(row)}; others are {near}{more}")
    return row


def _pick(catalog: Catalog, text: str, rows: list[int]) -> int:
    """Ask which of several tracks is meant."""
    listed = rows[:_LISTED]
    say(f"{text!r} may be {len(rows):,} tracks:")
    for place, (label, uri) in enumerate(catalog.labels(listed), start=1):
        print(f"  {place}  {one_line(label)}  ({uri})", file=sys.stderr)
    while True:
        number: int = typer.prompt("which one", type=int, err=True)
        if 1 <= number <= len(listed):
            return listed[number - 1]


def _show(loaded: Bundle, query: Query, slate: Slate, json: bool) -> None:
    from segue.operations.answers import MOST_REASONS, answer

    recommendations = answer(loaded, query, slate, MOST_REASONS if json else None)
    if json:
        emit(recommendations)
        return
    table(
        ("", "artist", "title", "score", "because"),
        [
            (
                str(place),
                track.artist or "",
                track.title or track.uri,
                f"{track.score:.4g}",
                track.because,
            )
            for place, track in enumerate(recommendations.tracks, start=1)
        ],
        numeric=("", "score"),
    )
    say(f"{len(recommendations.tracks)} tracks, ranked by {recommendations.model}")
