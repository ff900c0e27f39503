"""Sessions of a dataset."""

import numpy as np

from segue.data.dataset import Dataset
from segue.data.receipt import Receipt
from segue.data.schema import Outcome
from segue.data.sessions import UNTIMED, Sessions
from segue.data.writer import writing_dataset


def _dataset(path, listener, session, track, time, outcome):
    with writing_dataset(path) as writer:
        writer.track_ids([f"t{t}" for t in range(9)], lambda i: [None] * 7)
        writer.add("listeners", {"uri": ["a", "b", "c"]})
        writer.add(
            "listens",
            {
                "listener": listener,
                "session": session,
                "track": track,
                "time": time,
                "outcome": outcome,
                "plays": np.ones(len(track), np.int32),
            },
        )
        receipt = Receipt(format="test", unit="plays")
        receipt.keep(len(track))
        writer.finish([receipt], simulated=False)
    return Dataset.open(path)


def test_sessions_are_runs_of_one_number_of_one_listener(tmp_path):
    # The second listener's first session has the number of the first listener's last.
    dataset = _dataset(
        tmp_path / "d",
        [0, 0, 0, 1, 1, 2],
        [4, 4, 7, 7, 8, None],
        [3, 1, 2, 2, 5, 6],
        [100, 200, 300, None, 500, 600],
        [1, 3, 1, 4, 2, 0],
    )
    sessions = Sessions.of(dataset)
    assert len(sessions) == 4
    assert sessions.offsets.tolist() == [0, 2, 3, 4, 5]
    assert sessions.tracks.tolist() == [3, 1, 2, 2, 5]
    assert sessions.listeners.tolist() == [0, 0, 1, 1]
    assert sessions.starts.tolist() == [100, 300, UNTIMED, 500]
    assert sessions.owners.tolist() == [0, 0, 1, 2, 3]
    assert sessions.negative.tolist() == [False, True, False, True, False]
    assert sessions.rows.tolist() == [0, 1, 2, 3, 4]  # mere play counts are in no session


def test_rows_that_a_split_leaves_out_are_in_no_session(tmp_path):
    outcome = [int(Outcome.FINISHED)] * 4
    dataset = _dataset(tmp_path / "d", [0] * 4, [0, 0, 1, 1], [0, 1, 2, 3], [0, 1, 2, 3], outcome)
    kept = dataset.keeping(listens=np.array([True, False, True, True]))
    sessions = Sessions.of(kept)
    assert sessions.offsets.tolist() == [0, 1, 3]
    assert sessions.rows.tolist() == [0, 1, 2]  # rows of what is kept


def test_a_dataset_without_listens_has_no_sessions(tmp_path):
    dataset = _dataset(tmp_path / "d", [], [], [], [], [])
    assert len(Sessions.of(dataset)) == 0


def test_a_past_is_what_began_earlier_whatever_the_order_of_the_rows(tmp_path):
    # The first listener's rows have the later session first; track 7 was skipped.
    dataset = _dataset(
        tmp_path / "d",
        [0, 0, 0, 0, 1],
        [0, 0, 1, 1, 2],
        [3, 1, 7, 2, 5],
        [500, 600, 100, 200, 50],
        [1, 1, 3, 1, 1],
    )
    spans, past = Sessions.of(dataset).pasts(10)
    assert [past[first:last].tolist() for first, last in spans] == [[2], [], []]
    spans, past = Sessions.of(dataset).pasts(0)
    assert all(first == last for first, last in spans)
