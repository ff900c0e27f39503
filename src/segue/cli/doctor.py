"""The verb that checks the installation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from segue.cli.output import Json, emit, facts, say

if TYPE_CHECKING:
    from segue.operations.doctor import ExtraState


def doctor(json: Json = False) -> None:
    """List the installed parts and check that they work."""
    from segue.operations.doctor import examine

    report = examine()
    if json:
        emit(report)
    else:
        facts(
            report.versions
            | {
                "platform": report.platform,
                "cores": report.cores,
                "threads": report.threads,
                "BLAS": report.blas,
            }
            | {
                name.replace("_", " "): ", ".join(getattr(report, name))
                for name in ("recommenders", "recipes", "protocols", "formats", "playlist_formats")
            }
            | {f"extra {name}": _extra_line(extra) for name, extra in report.extras.items()}
            | {f"limit {at}": limit for at, limit in enumerate(report.limits, 1)}
            | {"training and answering": "work" if report.works else f"fail: {report.trouble}"}
        )
    if not report.works:
        say(f"training and answering fail: {report.trouble}")
        raise typer.Exit(1)


def _extra_line(extra: ExtraState) -> str:
    """One line about an extra: its versions, or its purpose and the command that installs it."""
    if extra.installed:
        return ", ".join(f"{name} {version}" for name, version in extra.versions.items())
    return f"lacks {', '.join(extra.missing)}, for {extra.purpose}: {extra.install}"
