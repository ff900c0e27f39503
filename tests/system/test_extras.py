"""Extras: what says that one is missing, and that all the rest works without it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from support.optional import optional, reason

from segue.cli import run
from segue.errors import ConfigError
from segue.operations.doctor import states
from segue.system import extras
from segue.system.extras import EXTRAS, install, needs, require

ROOT = Path(__file__).parents[2]
MODULES = {library.module for extra in EXTRAS.values() for library in extra.libraries}


def block(patch: pytest.MonkeyPatch, *modules: str) -> None:
    """As if these were not installed; what is loaded already of them stays loaded."""
    for module in modules:
        patch.setitem(sys.modules, module, None)


def segue(*arguments: object, without: str = "") -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, where some modules cannot be imported."""
    code = (
        "import sys\n"
        f"for name in {without.split()!r}: sys.modules[name] = None\n"
        "from segue.cli import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset `d` with a bundle `b`, made where there is no extra at all."""
    folder = tmp_path_factory.mktemp("place")
    rows = [f"{i % 90},t{i * i % 97}" for i in range(2_000)]
    (folder / "p.csv").write_text("\n".join(["playlist,track", *rows]))
    every = " ".join(MODULES)
    for step in (
        ("ingest", "csv", folder / "p.csv", "--dataset", folder / "d"),
        ("train", "popularity", folder / "d", "--bundle", folder / "b", "--holdout", "challenge"),
    ):
        ran = segue(*step, without=every)
        assert ran.returncode == 0, ran.stderr
    return folder


# What is said


def test_loading_the_table_loads_no_library():
    code = f"import sys, segue.system.extras; print({MODULES!r} & sys.modules.keys())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"


@pytest.mark.parametrize("name", EXTRAS)
def test_a_missing_extra_is_one_line_with_what_lacks_and_the_command(name, monkeypatch):
    block(monkeypatch, *MODULES)
    names = ", ".join(library.name for library in EXTRAS[name].libraries)
    with pytest.raises(ConfigError) as caught:
        require("this", name, where="here")
    assert str(caught.value) == f"here: this needs {names}; {install(name)}"


def test_only_what_is_missing_of_an_extra_is_named(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "jinja2" else object())
    assert str(needs("it", "service")) == "it needs Jinja2; pip install 'segue[service]'"
    assert str(needs("it", "audio", "PyAV")).startswith("it needs PyAV; ")


def test_a_library_that_is_there_and_does_not_load_says_why(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: object())
    line = str(needs("it", "postgres", cause=ImportError("no libpq")))
    assert line == (
        "it needs psycopg, which does not load (no libpq); pip install 'segue[postgres]'"
    )


def test_an_extra_that_is_there_is_no_error(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: object())
    require("this", "larp")


@pytest.mark.parametrize(
    ("platform", "line"),
    [
        (
            "linux",
            "pip install torch --index-url https://download.pytorch.org/whl/cpu"
            " (or, for an NVIDIA GPU: pip install 'segue[gpu]')",
        ),
        ("darwin", "pip install 'segue[deep]'"),
        ("win32", "pip install 'segue[deep]'"),
    ],
)
def test_torch_is_had_in_the_build_that_fits(platform, line, monkeypatch):
    monkeypatch.setattr(sys, "platform", platform)
    assert install("deep") == line
    assert install("gpu") == "pip install 'segue[gpu]'"


def test_every_extra_of_the_table_is_one_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {
        name: {re.split(r"[^\w-]", line)[0].lower() for line in lines}
        for name, lines in project["optional-dependencies"].items()
    }
    assert EXTRAS.keys() | {"all", "dev"} >= declared.keys()
    for name in EXTRAS.keys() & declared.keys():
        for library in EXTRAS[name].libraries:
            # torch is in `gpu` alone: which build `deep` means, its user says.
            assert name == "deep" or declared[name] & set(library.packages), (name, library)


def test_the_command_to_install_stands_nowhere_else_in_the_code():
    places = [
        file.name
        for file in (ROOT / "src").rglob("*.py")
        if re.search(r"pip install (torch|'segue)", file.read_text(encoding="utf-8"))
    ]
    assert places == ["extras.py"]


# The doctor


def test_doctor_says_of_every_extra_whether_it_is_there(monkeypatch, capsys):
    block(monkeypatch, "matplotlib", "psycopg", "torch", "tinytag")
    assert run(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["works"]
    assert found["trouble"] is None
    assert list(found["extras"]) == list(EXTRAS)
    for name, extra in found["extras"].items():
        assert extra.keys() == {"installed", "for", "versions", "missing", "install"}
        assert extra["for"] == EXTRAS[name].purpose
        assert "pip install" in extra["install"]
        assert extra["installed"] == (not extra["missing"])
    said = {name: extra["missing"] for name, extra in found["extras"].items()}
    assert (said["report"], said["postgres"], said["deep"]) == (
        ["matplotlib"],
        ["psycopg"],
        ["torch"],
    )
    assert "tinytag" in said["audio"]


def test_doctor_tells_people_what_each_missing_extra_is_for(monkeypatch, capsys):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert run(["doctor"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("extra ")]
    assert len(lines) == len(EXTRAS)
    for line, (name, extra) in zip(lines, EXTRAS.items(), strict=True):
        assert line.split()[1] == name
        assert extra.purpose in line
        assert line.endswith(f": {install(name)}")


def test_doctor_gives_versions_of_what_is_there(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: object())
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"1-{name}")
    found = states()
    assert found["ranker"].versions == {"XGBoost": "1-xgboost-cpu"}
    assert found["service"].versions["SQLAlchemy"] == "1-sqlalchemy"
    assert all(state.installed and not state.missing for state in found.values())


def test_a_library_of_another_package_name_is_known(monkeypatch):
    def version(name: str) -> str:
        if name != "xgboost":
            raise PackageNotFoundError
        return "3"

    monkeypatch.setattr(extras, "find_spec", lambda name: object())
    monkeypatch.setattr("importlib.metadata.version", version)
    found = states()
    assert found["ranker"].versions == {"XGBoost": "3"}
    assert found["text"].versions == {"tokenizers": "unknown"}


def test_a_build_for_cpus_is_not_the_extra_gpu(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: object())
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.13.0+cpu")
    found = states()
    assert found["deep"].installed
    assert found["gpu"].missing == ["torch built for GPUs"]
    assert found["gpu"].install.startswith("pip uninstall -y torch && ")


# Reports and plots


def test_evaluation_without_a_report_loads_no_matplotlib(place):
    code = (
        "import sys; from segue.cli import run\n"
        f"status = run(['evaluate', {str(place / 'b')!r}, {str(place / 'd')!r},"
        " '--protocol', 'challenge', '--json'])\n"
        "print(status, 'matplotlib' in sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr.splitlines()[-1] == "0 False"
    assert json.loads(ran.stdout)["queries"] > 0


def test_evaluation_works_without_matplotlib(place):
    asked = ("evaluate", place / "b", place / "d", "--protocol", "challenge")
    ran = segue(*asked, "--json", without="matplotlib")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["models"]


@pytest.mark.parametrize(("option", "file"), [("--report", "r.html"), ("--plot", "p.png")])
def test_a_report_without_matplotlib_fails_before_the_work(option, file, place, tmp_path):
    # A dataset is no bundle: that would be the error if the work had begun.
    asked = ("evaluate", place / "d", place / "d", "--protocol", "next", option, tmp_path / file)
    ran = segue(*asked, without="matplotlib")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == (
        f"segue: segue evaluate: {option} needs matplotlib; pip install 'segue[report]'\n"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("module", ["report", "plots"])
def test_what_draws_says_so_where_matplotlib_is_missing(module):
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from segue.errors import ConfigError\n"
        f"try: import segue.evaluation.{module}\n"
        "except ConfigError as error: print(error)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.endswith("needs matplotlib; pip install 'segue[report]'\n")
    assert ran.stdout.count("\n") == 1


# PostgreSQL


NOWHERE = "postgresql://nobody@127.0.0.1:9/none"
NEEDED = (
    "segue: postgresql://nobody@127.0.0.1:9/none: a log in PostgreSQL needs psycopg;"
    " pip install 'segue[postgres]'\n"
)


def test_a_service_with_a_log_in_postgres_needs_its_driver(place, tmp_path):
    optional("uvicorn")
    asked = ("serve", place / "b", "--port", 0, "--data", tmp_path / "s", "--log", NOWHERE)
    ran = segue(*asked, without="psycopg")
    assert (ran.returncode, ran.stderr) == (1, NEEDED)


def test_reading_a_log_in_postgres_needs_its_driver(tmp_path):
    optional("sqlalchemy")
    ran = segue("ingest", "feedback", NOWHERE, "--dataset", tmp_path / "d", without="psycopg")
    assert ran.returncode
    assert ran.stderr == NEEDED
    assert not list(tmp_path.iterdir())


def test_a_log_in_sqlite_needs_no_driver_of_postgres(tmp_path):
    optional("fastapi")
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from segue.service.storage.store import Store\n"
        f"store = Store.open({str(tmp_path / 'log.sqlite')!r}); store.database.ping()\n"
        "store.close()\n"
        "print('stored')"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stdout == "stored\n", ran.stderr


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (("serve", "b"), "segue serve: the service needs {service}; pip install 'segue[service]'"),
        (("token", "ada"), "segue token: the service needs {service}; pip install"),
        (
            ("ingest", "feedback", "sqlite:///x"),
            "reading a feedback log needs SQLAlchemy; pip install 'segue[service]'",
        ),
    ],
)
def test_verbs_of_the_service_say_which_extra_they_need(asked, line, tmp_path):
    modules = [library.module for library in EXTRAS["service"].libraries]
    names = ", ".join(library.name for library in EXTRAS["service"].libraries)
    if asked[0] == "ingest":
        asked = (*asked, "--dataset", tmp_path / "d")
    ran = segue(*asked, without=" ".join(modules))
    assert ran.returncode
    assert ran.stderr.startswith(f"segue: {line.format(service=names)}")
    assert ran.stderr.count("\n") == 1


# Skipped tests


@pytest.mark.parametrize(
    ("module", "why"),
    [
        ("torch", "needs the extra `deep` (torch)"),
        ("sqlalchemy", "needs the extra `service` (sqlalchemy)"),
        ("musicnn", "needs musicnn: pip install --no-deps musicnn==0.1.0"),
        ("librosa", "needs librosa, which the development environment has: make setup"),
    ],
)
def test_a_skipped_test_says_what_it_needs(module, why):
    assert reason(module) == why
