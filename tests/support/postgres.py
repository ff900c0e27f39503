"""A real PostgreSQL server for tests: a cluster of its own, reached by a socket, fsync on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from support.optional import reason

try:
    import psycopg
except ImportError:
    psycopg = None  # type: ignore[assignment]

SECONDS = 60
TRIES = 200


class NoPostgres(Exception):
    """No server can be had here; the text says why."""


@cache
def programs() -> Path:
    """The folder of initdb and postgres; `scripts/test_extras.sh` installs them.

    Raises:
        NoPostgres: there is none.
    """
    if not hasattr(os, "geteuid"):
        raise NoPostgres("PostgreSQL is tried on Linux and macOS alone")
    places = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3])
    )
    if on_path := shutil.which("initdb"):
        places.append(Path(on_path))
    if not places:
        raise NoPostgres("no PostgreSQL - make test-extras")
    return places[-1].parent


class Postgres:
    """A cluster in a folder of its own. The server refuses root, so root runs it as `postgres`."""

    def __init__(self) -> None:
        if psycopg is None:
            raise NoPostgres(reason("psycopg"))
        self._programs = programs()
        self._user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        # Not below pytest's folders, which no other user may enter; short, for the socket's name.
        self.folder = Path(tempfile.mkdtemp(prefix="segue-postgres-"))
        if self._user:
            shutil.chown(self.folder, "postgres")
        self._names = 0
        self._server: subprocess.Popen[bytes] | None = None
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        ran = subprocess.run(
            [*self._user, str(self._programs / "initdb"), "-D", str(self.data), *options],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            raise NoPostgres(f"initdb: {' '.join(ran.stderr.split())[-500:]}")
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as conf:
            conf.write(
                f"listen_addresses = ''\nunix_socket_directories = '{self.folder}'\n"
                "max_connections = 50\nshared_buffers = '16MB'\n"
            )
            if sys.platform == "linux":
                conf.write("recovery_init_sync_method = 'syncfs'\n")

    @property
    def data(self) -> Path:
        """Where the cluster is."""
        return self.folder / "data"

    def start(self) -> None:
        """Start the server; after a kill, once what is left of the old one has gone."""
        for _ in range(TRIES):
            if self._starts():
                return
            time.sleep(0.1)
        raise NoPostgres(f"it does not start: {(self.folder / 'log').read_text()[-500:]}")

    def _starts(self) -> bool:
        # Not by pg_ctl, which takes two seconds where the last server was killed.
        with (self.folder / "log").open("a") as log:
            command = [*self._user, str(self._programs / "postgres"), "-D", str(self.data)]
            self._server = subprocess.Popen(command, cwd="/", stdout=log, stderr=log)
        while self._server.poll() is None:
            with suppress(psycopg.OperationalError):
                self.execute("SELECT 1")
                return True
            time.sleep(0.02)
        return False

    def _signal(self, number: signal.Signals) -> None:
        pid = int((self.data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, number)
        assert self._server
        self._server.wait(SECONDS)

    def stop(self) -> None:
        """Stop the server; connections are cut."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """Kill the server at once."""
        self._signal(signal.SIGKILL)

    def remove(self) -> None:
        """Stop and forget everything."""
        if self._server is not None and self._server.poll() is None:
            self._signal(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def execute(self, statement: str) -> None:
        """Run one statement."""
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def _url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def _name(self) -> str:
        self._names += 1
        return f"log{self._names}"

    def fresh(self) -> str:
        """Connection string of an empty place: a schema, which is made sooner than a database."""
        name = self._name()
        self.execute(f"CREATE SCHEMA {name}")
        return f"{self._url('postgres')}&options=-csearch_path%3D{name}"

    def database(self, options: str = "") -> tuple[str, str]:
        """Name and connection string of a new database."""
        name = self._name()
        self.execute(f"CREATE DATABASE {name} {options}")
        return name, self._url(name)
