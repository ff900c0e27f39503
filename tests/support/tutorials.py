"""Runs the tutorials of docs/tutorials as they are written, and compares what they show.

A page is Markdown. Its fenced blocks are run in order, in one bash, in an empty folder:

- ``sh``: commands; what they print is not compared.
- ``console``: commands after ``$ `` (going on after a backslash), each followed by what it prints.
- ``python``: a file, whose name is in its first line, ``# name.py``.
- any other language: only shown.

Every command has to succeed. A comment above a block says what is different about it:

- ``<!-- not run: REASON -->``: left out;
- ``<!-- fails: STATUS -->``: its commands end with this exit status;
- ``<!-- varies: REASON -->``: only headings, first words and the number of lines are compared.

What is shown has to be what is printed, but for this:

- a line ``...`` stands for any number of lines;
- lines that begin with ``segue: `` are messages on stderr: those shown have to come in this order,
  others may be left out, as progress is. Everything else shown is all of stdout;
- numbers with a decimal point, and shares in percent, may differ by 0.02 (a share by 2), or by a
  fiftieth of the larger: the last digits hang on the processor;
- numbers of the lines ``seconds`` and ``peak_rss_mb`` and the ten hexadecimal digits of a bundle's
  version may be any;
- port 8000 is another one in the test, since it may be in use.

``python tests/support/tutorials.py PAGE...`` runs pages and prints the commands with what they
print.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src"
SECONDS = 300
_END = "END_OF_THIS_FILE"
_BLOCK = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*) -->\n\n?)?^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$",
    re.M | re.S,
)
_NOTE = re.compile(r"(not run|fails|varies): (\S.*)")
_NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?(?:%|(?![\w]))")
_VERSION = re.compile(r"(?<=-)[0-9a-f]{10}\b")
_MEASURED = re.compile(r'\s*"?(seconds|peak_rss_mb)\b')


class TutorialError(Exception):
    """A page is not written by the rules, or does not do what it says."""


@dataclass
class Step:
    """One command of a ``console`` block, or a whole block of another language.

    Attributes:
        text: what bash runs, or the content of a Python file.
        line: of the page.
        file: name of the Python file; None: `text` is run.
        shown: what the page says is printed; None: it does not say.
        status: exit status that the page says.
        varies: whether names and numbers may be others.
    """

    text: str
    line: int
    file: str | None = None
    shown: list[str] | None = None
    status: int = 0
    varies: bool = False


@dataclass
class Page:
    """What is to be done, and the reasons for which blocks are left out."""

    steps: list[Step] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Printed:
    """What a step printed."""

    out: list[str]
    err: list[str]


def read(page: Path) -> Page:
    """The steps of a page.

    Raises:
        TutorialError: a note is unknown, or a Python block has no name.
    """
    text = page.read_text(encoding="utf-8")
    found = Page()
    for block in _BLOCK.finditer(text):
        line = text.count("\n", 0, block.start("text")) + 1
        kind, value = "", ""
        if block["note"]:
            note = _NOTE.fullmatch(block["note"])
            if not note:
                raise TutorialError(f"{page.name}:{line}: unknown note {block['note']!r}")
            kind, value = note.groups()
        if kind == "not run":
            found.left_out.append(value)
            continue
        steps = list(_steps(block["language"], block["text"], line, page.name))
        for step in steps:
            step.status = int(value) if kind == "fails" else 0
            step.varies = kind == "varies"
        found.steps += steps
    return found


def _steps(language: str, text: str, line: int, page: str) -> Iterator[Step]:
    if language == "python":
        name = re.match(r"# (\w+\.py)\n", text)
        if not name:
            raise TutorialError(f"{page}:{line}: a Python block begins with # name.py")
        yield Step(text, line, file=name[1])
    elif language == "sh":
        yield Step(text, line)
    elif language == "console":
        step: Step | None = None
        for number, row in enumerate(text.splitlines(), start=line):
            if step and step.text.endswith("\\"):
                step.text += "\n" + row
            elif row.startswith("$ "):
                if step:
                    yield step
                step = Step(row[2:], number, shown=[])
            elif step and step.shown is not None:
                step.shown.append(row)
            else:
                raise TutorialError(f"{page}:{number}: a console block begins with a command")
        if step:
            yield step


def run(page: Page, folder: Path) -> list[Printed]:
    """Do what a page says, in a folder that is empty or not there.

    Raises:
        TutorialError: a command ends otherwise than the page says.
    """
    work, logs = folder / "work", folder / "logs"
    work.mkdir(parents=True)
    logs.mkdir()
    port = _free_port()
    script = folder / "page.sh"
    script.write_text(_script(page.steps, logs, port), encoding="utf-8")
    process = subprocess.Popen(
        ["bash", str(script)], cwd=work, env=_environment(folder, port), start_new_session=True
    )
    try:
        status = process.wait(SECONDS)
    except subprocess.TimeoutExpired:
        status = None
    finally:
        _stop(process)
    if status != 0:
        number = int((logs / "now").read_text())
        step = page.steps[number]
        # A step that fails otherwise than the page says ends the script with its status and 100.
        real = status - 100 if status is not None and step.status else status
        ended = f"took more than {SECONDS} s" if status is None else f"ended with {real}"
        said = "\n".join((logs / f"{number}.{end}").read_text() for end in ("out", "err"))
        raise TutorialError(
            f"line {step.line}: {step.file or step.text}\n{ended}, not {step.status}:\n{said}"
        )
    return [
        Printed(*(_lines(logs / f"{number}.{end}", port) for end in ("out", "err")))
        for number in range(len(page.steps))
    ]


def _script(steps: list[Step], logs: Path, port: int) -> str:
    lines = ["set -e -o pipefail"]
    for number, step in enumerate(steps):
        lines.append(
            f"echo {number} > {logs}/now; : > {logs}/{number}.out; : > {logs}/{number}.err"
        )
        if step.file:
            lines.append(f"cat > {step.file} <<'{_END}'\n{step.text}{_END}")
            continue
        text = step.text.replace("localhost:8000", f"localhost:{port}")
        block = f"{{\n{text}\n}} > {logs}/{number}.out 2> {logs}/{number}.err"
        if step.status:
            lines.append(f"set +e\n{block}\nstatus=$?; set -e")
            lines.append(f"[ $status -eq {step.status} ] || exit $((status + 100))")
        else:
            lines.append(block)
    return "\n".join([*lines, ""])


def _environment(folder: Path, port: int) -> dict[str, str]:
    """Where ``segue`` and ``python`` are those of the tests, and programs have no way out."""
    programs = folder / "programs"
    programs.mkdir()
    python = shlex.quote(sys.executable)
    segue = f"{python} -c 'from segue.cli import main; main()'"
    serve = f'if [ "$1" = serve ]; then set -- "$@" --port {port}; fi\n'
    for name, text in (
        ("segue", f'#!/bin/sh\n{serve}exec {segue} "$@"\n'),
        ("python", f'#!/bin/sh\nexec {python} "$@"\n'),
    ):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    nowhere = "http://127.0.0.1:9"
    return os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH")])),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "MPLCONFIGDIR": os.environ.get(
            "MPLCONFIGDIR", str(Path("~/.cache/matplotlib").expanduser())
        ),
        "PYTHONUTF8": "1",
        "LC_ALL": "C.UTF-8",
        "http_proxy": nowhere,
        "https_proxy": nowhere,
        "no_proxy": "localhost,127.0.0.1",
    }


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
        return port


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End bash and all that it left running."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _lines(file: Path, port: int) -> list[str]:
    text = file.read_text(encoding="utf-8").replace(f":{port}", ":8000")
    return [line.rstrip() for line in text.splitlines()]


def difference(step: Step, printed: Printed) -> str | None:
    """How what a step printed differs from what the page shows, or None."""
    shown = [line.rstrip() for line in step.shown or ()]
    same = _alike if step.varies else _equal
    told = [line for line in shown if line.startswith("segue: ")]
    rest = [line for line in shown if not line.startswith("segue: ")]
    errors = iter(printed.err)
    missing = [line for line in told if not any(same(line, real) for real in errors)]
    if not missing and _matches(rest, printed.out, same):
        return None
    return "\n".join(
        [f"line {step.line}: {step.text}", "shown:", *shown, "printed:", *printed.out, *printed.err]
    )


def _matches(shown: list[str], real: list[str], same: Callable[[str, str], bool]) -> bool:
    if not shown:
        return not real
    if shown[0].strip() == "...":
        return any(_matches(shown[1:], real[skip:], same) for skip in range(len(real) + 1))
    return bool(real) and same(shown[0], real[0]) and _matches(shown[1:], real[1:], same)


def _equal(shown: str, real: str) -> bool:
    shown, real = (_VERSION.sub("*", line) for line in (shown, real))
    words = [" ".join(_NUMBER.sub("#", line).split()) for line in (shown, real)]
    if words[0] != words[1]:
        return False
    if _MEASURED.match(shown):
        return True
    pairs = zip(_NUMBER.findall(shown), _NUMBER.findall(real), strict=True)
    return all(_near(a, b) for a, b in pairs)


def _near(shown: str, real: str) -> bool:
    if shown == real:
        return True
    if not any(sign in number for number in (shown, real) for sign in ".%"):
        return False
    a, b = (float(number.rstrip("%").replace(",", "")) for number in (shown, real))
    allowed = 2.0 if "%" in shown else 0.02
    return abs(a - b) <= max(allowed, 0.02 * max(abs(a), abs(b)))


def _alike(shown: str, real: str) -> bool:
    first = [line.split()[:1] for line in (shown, real)]
    return first[0] == first[1] or all(
        words and _NUMBER.fullmatch(words[0]) is not None for words in first
    )


def missing_programs() -> list[str]:
    """Programs that the pages use and that this machine lacks."""
    return [name for name in ("bash", "curl", "sed") if not shutil.which(name)]


def _show(page: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        steps = read(page)
        for step, printed in zip(steps.steps, run(steps, Path(folder) / "page"), strict=True):
            if step.file:
                continue
            print("$", step.text)
            print("\n".join([*printed.out, *printed.err]))
            if step.shown is not None and (found := difference(step, printed)):
                print("<<< DIFFERS\n", found, sep="")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for name in sys.argv[1:]:
        _show(Path(name))
