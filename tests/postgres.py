"""A real PostgreSQL server for tests: a cluster of its own, reached by a socket, fsync on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

import psycopg

SECONDS = 60


class NoPostgres(Exception):
    """No server can be had here; the text says why."""


@cache
def programs() -> Path:
    """The folder of initdb and pg_ctl.

    Where CI runs as root, Debian's package is installed if there is none.

    Raises:
        NoPostgres: there is none.
    """
    if found := _installed():
        return found
    if os.environ.get("CI") and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["update"], ["install", "-y", "--no-install-recommends", "postgresql"]):
            subprocess.run(["apt-get", *command], check=False, capture_output=True, timeout=600)
        if found := _installed():
            return found
    raise NoPostgres("no PostgreSQL on this machine: apt-get install postgresql")


def _installed() -> Path | None:
    places = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3])
    )
    if on_path := shutil.which("initdb"):
        places.append(Path(on_path))
    return places[-1].parent if places else None


class Postgres:
    """A cluster in a folder of its own. The server refuses root, so root runs it as `postgres`."""

    def __init__(self) -> None:
        self._programs = programs()
        self._user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        # Not below pytest's folders, which no other user may enter; short, for the socket's name.
        self.folder = Path(tempfile.mkdtemp(prefix="segue-postgres-"))
        if self._user:
            shutil.chown(self.folder, "postgres")
        self._names = 0
        self._run(
            *("initdb", "-D", self.data, "-U", "postgres", "-A", "trust"),
            *("-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"),
        )
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as conf:
            conf.write(
                f"listen_addresses = ''\nunix_socket_directories = '{self.folder}'\n"
                "max_connections = 50\nshared_buffers = '16MB'\n"
                "recovery_init_sync_method = 'syncfs'\n"
            )

    @property
    def data(self) -> Path:
        """Where the cluster is."""
        return self.folder / "data"

    def _run(self, program: str, *arguments: object) -> None:
        command = [*self._user, str(self._programs / program), *map(str, arguments)]
        # Into a file: the server that pg_ctl starts would keep a pipe open.
        with tempfile.TemporaryFile("w+") as said:
            ran = subprocess.run(
                command, cwd="/", stdout=said, stderr=said, check=False, timeout=SECONDS
            )
            if ran.returncode:
                said.seek(0)
                raise NoPostgres(f"{program}: {' '.join(said.read().split())[-500:]}")

    def start(self) -> None:
        """Start the server; after a kill, once what is left of the old one has gone."""
        give_up = time.monotonic() + SECONDS
        while True:
            try:
                self._run("pg_ctl", "-D", self.data, "-l", self.folder / "log", "-w", "start")
            except NoPostgres:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.1)
            else:
                return

    def stop(self) -> None:
        """Stop the server; connections are cut."""
        self._run("pg_ctl", "-D", self.data, "-m", "fast", "-w", "stop")

    def kill(self) -> None:
        """Kill the server at once."""
        pid = int((self.data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)

    def remove(self) -> None:
        """Stop and forget everything."""
        with suppress(NoPostgres):  # it was not running
            self._run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")
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
