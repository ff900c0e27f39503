"""What a run of the tests skipped, why, and how to get it: one line for each reason."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

import pytest

_KNOWN = (
    # What pytest says where a library is missing, and what tests of training say instead.
    (r"could not import '([\w.]+)'.*", r"no \1 - make setup"),
    (r"training .*needs (?:torch|segue\[deep\])", "no torch - make setup"),
    (r"no (?:sound in )?(?:/|[A-Z]:\\).*", "not all real data - set SEGUE_TEST_DATA to all of it"),
    (
        r"(no )?(apt-get|dpkg-deb)\b.*",
        r"no package of sound files (\g<0>) - needs Debian or Ubuntu",
    ),
)
"""Patterns of whole reasons, and what is shown instead; other reasons are shown as they are."""


def explained(reason: str) -> str:
    """A reason in one line that ends with the way to get what is missing, where one is known."""
    line = " ".join(reason.removeprefix("Skipped: ").split())
    for pattern, shown in _KNOWN:
        if found := re.fullmatch(pattern, line):
            return found.expand(shown)
    return line


def summary(reports: Iterable[pytest.TestReport | pytest.CollectReport]) -> Iterator[str]:
    """One line for each reason, the most frequent first.

    Args:
        reports: of what was skipped: tests, and files that were left out as a whole.
    """
    counts: dict[str, dict[bool, int]] = defaultdict(lambda: {False: 0, True: 0})
    for report in reports:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        counts[explained(reason)][isinstance(report, pytest.CollectReport)] += 1
    for reason, count in sorted(counts.items(), key=lambda one: (-sum(one[1].values()), one[0])):
        parts = [str(count[False])] if count[False] else []
        if count[True]:
            parts.append(f"{count[True]} whole file{'s' if count[True] > 1 else ''}")
        yield f"{' and '.join(parts)} skipped: {reason}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it at the end of a run; with pytest-xdist, once for all workers."""
    for line in summary(terminalreporter.stats.get("skipped", [])):
        terminalreporter.write_line(line)
