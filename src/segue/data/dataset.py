"""The dataset folder: open, check, look at. `segue.data.writer` writes one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segue.audio.files import AudioFile
from segue.data.interactions import RowKind, listen_rows, playlist_rows
from segue.data.receipt import DatasetInfo
from segue.data.schema import Outcome
from segue.data.validation import check_tables, read_info, read_table
from segue.errors import DataError, UsageError
from segue.system.files import TemporaryFolder, recover, shown
from segue.system.tables import to_pandas

if TYPE_CHECKING:
    from datetime import timedelta

    import scipy.sparse as sp

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

DATASET_FILE = "dataset.json"


def plain_path(path: Path | str) -> Path:
    """The path; pyarrow opens none that is not UTF-8."""
    path = Path(path)
    if shown(path.absolute()) != str(path.absolute()):
        raise DataError("is a path that is not UTF-8", where=shown(path), do="rename it")
    return path


def _offsets(owner: Int32, owners: int) -> Int64:
    """Start of each owner's run in a sorted column, plus the end. (owners + 1,)"""
    return np.searchsorted(owner, np.arange(owners + 1, dtype=np.int64)).astype(np.int64)


def _narrowed(
    kept: npt.NDArray[np.bool_] | None, some: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.bool_] | None:
    """Which of all rows are left when only some of the kept ones stay."""
    if kept is None or some is None:
        return kept if some is None else some
    left = np.zeros(len(kept), np.bool_)
    left[np.flatnonzero(kept)[some]] = True
    return left


@dataclass(frozen=True, repr=False)
class Dataset:
    """Tracks with the playlists and listens that hold them.

    The tables are read when first asked for. `playlist_tracks` are rows
    ``offsets[p]:offsets[p+1]`` of `entries`, in playlist order.
    """

    path: Path
    info: DatasetInfo
    kept_entries: npt.NDArray[np.bool_] | None = field(default=None, repr=False)
    """Mask over the rows of playlist_tracks; None keeps all. See `keeping`."""
    kept_listens: npt.NDArray[np.bool_] | None = field(default=None, repr=False)
    """Mask over the rows of listens; None keeps all."""
    nameless: Int32 | None = field(default=None, repr=False)
    """Playlists whose title is hidden. See `without_titles`."""
    folder: TemporaryFolder | None = field(default=None, compare=False)
    """Temporary folder that holds the tables and goes with the object; None: `path` stays."""

    @classmethod
    def of(cls, data: object) -> Dataset:
        """The dataset itself, or the one in a folder.

        Raises:
            UsageError: it is something else.
            DataError: as `open`.
        """
        if isinstance(data, Dataset):
            return data
        if isinstance(data, Path | str):
            return cls.open(data)
        kind = type(data).__name__
        frame = hasattr(data, "__arrow_c_stream__") or isinstance(data, dict)
        do = "make one with segue.Dataset.from_frame" if frame else "give a Dataset or its folder"
        raise UsageError(f"the data is {kind}, not a dataset", do=do)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        track: str = "track",
        listener: str | None = None,
        playlist: str | None = None,
        time: str | None = None,
        outcome: str | None = None,
        session_gap: str | float | timedelta | None = "30min",
        path: Path | str | None = None,
        **columns: str,
    ) -> Dataset:
        """A dataset from a frame of listens (a row a listen) or of playlists (a row an entry).

        By the rules of ``segue ingest parquet``: the same rows give the same dataset. A column
        that is called as its role needs no naming.

        Args:
            frame: a DataFrame of pandas or polars, an Arrow table, whatever exports an Arrow
                stream, or a dict of columns.
            track: column with the track's URI: any text or whole number that names it.
            listener: column with the listener; the frame is one of listens.
            playlist: column with the playlist; the frame is one of playlists.
            time: column with the start of each listen: timestamps, ISO 8601, or seconds or
                milliseconds since 1970.
            outcome: column with how each listen ended: a name or number of `Outcome`.
            session_gap: silence that ends a session, as ``"30min"``, a timedelta, or in minutes;
                None cuts no sessions. Used where there are times and no column of sessions.
            path: folder to write the dataset to; None: a temporary one, which goes with the object.
            columns: columns of further roles: ``session``, ``position``, ``plays``, ``ms_played``,
                ``playlist_title``, ``title``, ``artist``, ``artist_uri``, ``album``,
                ``album_uri``, ``duration_ms``, ``recording``.

        Warns:
            UserWarning: rows are left out, with the reasons and how many.

        Raises:
            UsageError: not a frame, a column that is not there or of a type that cannot have the
                role, or neither listener nor playlist.
            DataError: no row can be kept, or `path` cannot be written.

        >>> data = Dataset.from_frame({"user": ["a", "a", "b"], "song": ["x", "y", "x"]},
        ...                           listener="user", track="song")
        >>> data
        Dataset(2 tracks, 0 playlists, 3 listens of 2 listeners)
        """
        named = {"listener": listener, "playlist": playlist, "time": time, "outcome": outcome}
        given = {"track": track} if track != "track" else {}
        given |= {role: column for role, column in named.items() if column is not None}
        # By name, because what reads tables stands on this module.
        frames = import_module("segue.data.frames")
        dataset: Dataset = frames.dataset_from_frame(
            frame, given | columns, session_gap=session_gap, path=path
        )
        return dataset

    def to_arrow(self, table: str = "listens") -> pa.Table:
        """One of the tables as an Arrow table, with URIs in place of row numbers.

        polars and DuckDB read it without a copy. `from_frame` takes ``listens`` and
        ``playlist_tracks`` back.

        Args:
            table: ``tracks``, ``playlists``, ``playlist_tracks``, ``listeners``, ``listens`` or
                ``audio``.

        Raises:
            UsageError: no such table.
        """
        return import_module("segue.data.frames").table_of(self, table)

    def to_frame(self, table: str = "listens") -> Any:
        """`to_arrow` as a pandas DataFrame.

        Raises:
            UsageError: no such table.
            ConfigError: pandas is not installed.
        """
        return to_pandas(self.to_arrow(table))

    def __repr__(self) -> str:
        listens = self.info.rows.get("listens", 0)
        if self.kept_listens is not None:
            listens = int(self.kept_listens.sum())
        made_up = "simulated, " if self.info.simulated else ""
        where = "" if self.folder else f", {str(self.path)!r}"
        return (
            f"Dataset({made_up}{self.track_count:,} tracks, {self.playlist_count:,} playlists, "
            f"{listens:,} listens of {self.listener_count:,} listeners{where})"
        )

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open a dataset folder and check it against the schema.

        Raises:
            DataError: not a dataset, of a newer version, or damaged (the line says where).
        """
        path = plain_path(path)
        recover(path)
        file = path / DATASET_FILE
        if not file.is_file():
            raise DataError(
                "is not a dataset (no dataset.json)", where=path, do="make one with segue ingest"
            )
        info = read_info(file)
        check_tables(path, info)
        return cls(path, info)

    # Tables

    @cached_property
    def tracks(self) -> pa.Table:
        """The catalog: a row a track."""
        return read_table(self.path, "tracks")

    @cached_property
    def playlists(self) -> pa.Table:
        """A row a playlist."""
        return read_table(self.path, "playlists")

    @property
    def titles(self) -> list[str | None]:
        """Title of every playlist."""
        titles: list[str | None] = self.playlists["title"].to_pylist()
        for playlist in () if self.nameless is None else self.nameless:
            titles[playlist] = None
        return titles

    @cached_property
    def _all_entries(self) -> tuple[Int32, Int32]:
        table = read_table(self.path, "playlist_tracks", ["playlist", "track"])
        return table["playlist"].to_numpy(), table["track"].to_numpy()

    @cached_property
    def entry_playlists(self) -> Int32:
        """Playlist of every entry, rising. (entries,)"""
        column = self._all_entries[0]
        return column if self.kept_entries is None else column[self.kept_entries]

    @cached_property
    def entries(self) -> Int32:
        """Track of every entry, playlist after playlist, in order. (entries,)"""
        column = self._all_entries[1]
        return column if self.kept_entries is None else column[self.kept_entries]

    @cached_property
    def offsets(self) -> Int64:
        """Where each playlist starts in `entries`, plus the end. (playlists + 1,)"""
        return _offsets(self.entry_playlists, self.playlist_count)

    @cached_property
    def listens(self) -> pa.Table:
        """A row a listen, listener after listener."""
        table = read_table(self.path, "listens")
        return table if self.kept_listens is None else table.filter(pa.array(self.kept_listens))

    @cached_property
    def listeners(self) -> pa.Table:
        """A row a listener."""
        return read_table(self.path, "listeners")

    @cached_property
    def audio(self) -> pa.Table:
        """A row a track that has sound."""
        return read_table(self.path, "audio")

    def audio_files(self) -> list[AudioFile]:
        """The sound files, in the order of their tracks; they need not be there any more."""
        columns = (self.audio[name].to_pylist() for name in ("track", "file", "sha256"))
        return [
            AudioFile(track, self.path / file, digest)
            for track, file, digest in zip(*columns, strict=True)
        ]

    # Sizes

    @property
    def track_count(self) -> int:
        """Rows of the catalog."""
        return self.info.rows.get("tracks", 0)

    @property
    def playlist_count(self) -> int:
        """Rows of playlists."""
        return self.info.rows.get("playlists", 0)

    @property
    def listener_count(self) -> int:
        """Rows of listeners."""
        return self.info.rows.get("listeners", 0)

    # Views that models learn from

    def keeping(
        self,
        entries: npt.NDArray[np.bool_] | None = None,
        listens: npt.NDArray[np.bool_] | None = None,
    ) -> Dataset:
        """The same dataset with only these rows of playlist_tracks and listens.

        Playlists, listeners and tracks keep their rows (some may be empty). A split gives its
        training side so.
        """
        return replace(self, kept_entries=entries, kept_listens=listens)

    def narrowed(
        self,
        entries: npt.NDArray[np.bool_] | None = None,
        listens: npt.NDArray[np.bool_] | None = None,
    ) -> Dataset:
        """The same dataset with only some of its present `entries` and `listens`."""
        return self.keeping(
            _narrowed(self.kept_entries, entries), _narrowed(self.kept_listens, listens)
        )

    def without_titles(self, playlists: Int32) -> Dataset:
        """The same dataset, in which these playlists have their titles hidden."""
        before = np.zeros(0, np.int32) if self.nameless is None else self.nameless
        return replace(self, nameless=np.union1d(before, playlists))

    def plays(self, of: RowKind = "listeners") -> sp.csr_matrix:
        """How often each playlist and each listener has each track.

        Rows: playlists, then listeners, in their order, empty ones included; float32 counts,
        (playlists + listeners, tracks). Listens that ended in a skip or a dislike do not count.

        Args:
            of: with "sessions" the playlists are followed by the listeners' sessions instead, see
                `segue.data.interactions`.
        """
        playlists = playlist_rows(self.entries, self.offsets, self.track_count)
        return self._with_listens(playlists, of, negative=False)

    def skips(self, of: RowKind = "listeners") -> sp.csr_matrix:
        """How often each row of `plays` skipped or disliked each track.

        Laid out like ``plays(of)``; a playlist skips nothing.
        """
        from scipy.sparse import csr_matrix

        playlists = csr_matrix((self.playlist_count, self.track_count), dtype=np.float32)
        return self._with_listens(playlists, of, negative=True)

    def _with_listens(
        self, playlists: sp.csr_matrix, of: RowKind, *, negative: bool
    ) -> sp.csr_matrix:
        from scipy.sparse import vstack

        if not self.listener_count:
            return playlists
        listens = self.listens.select(["listener", "session", "track", "outcome", "plays"])
        counts = listen_rows(listens, of, self.listener_count, self.track_count, negative=negative)
        return vstack([playlists, counts], format="csr")

    def describe(self) -> dict[str, Any]:
        """Counts of everything, as ``segue describe --json`` prints them."""
        listens = self.listens
        counts = listens["outcome"].value_counts()
        outcomes = dict(zip(*(part.to_pylist() for part in counts.flatten()), strict=True))
        sessions = listens["session"].drop_null().unique()
        return {
            "tracks": self.track_count,
            "playlists": self.playlist_count,
            "playlist_tracks": len(self.entries),
            "listeners": self.listener_count,
            "sessions": len(sessions),
            "listens": len(listens),
            "outcomes": {o.name.lower(): outcomes.get(int(o), 0) for o in Outcome},
            "audio": self.info.rows.get("audio", 0),
        }
