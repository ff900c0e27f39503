"""The log's list of uploaded files."""

from __future__ import annotations

import msgspec
from sqlalchemy import select

from segue.data.feedback import tables
from segue.errors import UsageError
from segue.service.storage.checks import checked_row, checked_text
from segue.service.storage.database import Database
from segue.service.storage.types import Upload


class UploadTable:
    """Uploaded files and the rows of their tracks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, upload: Upload) -> bool:
        """Store an upload; False if the log has its uri."""
        about = checked_row(upload.row)
        row = {
            "uri": checked_text(upload.uri, "uri"),
            "file": checked_text(upload.file, "file"),
            "about": msgspec.json.encode(about).decode(),
        }
        if about["uri"] != upload.uri:
            raise UsageError(f"is not {upload.uri!r}", where="row.uri")
        with self._database.transaction() as connection:
            made = self._database.insert(tables.uploads).returning(tables.uploads.c.id)
            return connection.execute(made, row).scalar() is not None

    def all(self) -> list[Upload]:
        """Every upload, in order of arrival."""
        at = tables.uploads.c
        with self._database.transaction(reads=True) as connection:
            rows = connection.execute(select(at.uri, at.file, at.about).order_by(at.id)).all()
        return [
            Upload(uri=uri, file=file, row=msgspec.json.decode(about)) for uri, file, about in rows
        ]
