"""Writes to a feedback log in processes that are killed: `python store_work.py ADDRESS`.

For each line on stdin (a word that makes keys unique), a fork of this process opens the log, and
appends as fast as it can; it prints each key once the log has acknowledged it. Forks, because the
modules take longer to load than a fork lives.
"""

from __future__ import annotations

import os
import sys
import time

from segue.queries import MAX_HISTORY
from segue.service.storage.store import Event, Store


def events(key: str) -> list[Event]:
    """Three, which belong together."""
    return [Event(kind="skip", track=f"{key}:{n}") for n in range(3)]


MOST = MAX_HISTORY // 3
"""Requests of a fork: what a test reads back of a session holds no more events."""


def write(address: str, word: str) -> None:
    """Append, then wait to be killed, if that has not happened yet."""
    store = Store.open(address)
    for n in range(MOST):
        key = f"{word}-{n}"
        rows = [{"uri": event.track} for event in events(key)]
        store.events.append(key, "listener", word, events(key), rows)
        os.write(1, f"{key}\n".encode())
    while True:
        time.sleep(1)


def main() -> None:
    """Tell each fork's number, then let it write."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            write(sys.argv[1], line.strip())
        os.write(1, f"pid {child}\n".encode())
        os.waitpid(child, 0)
        os.write(1, b"dead\n")


if __name__ == "__main__":
    main()
