"""XML an element at a time: no entities, nothing external, and nothing that stays in memory."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse

from segue.data.ingestion.contract import Reading
from segue.data.ingestion.limits import MAX_FILE_BYTES, Input
from segue.data.ingestion.streams import opened
from segue.errors import DataError

_DEEPEST = 200


def elements(
    source: Input, reading: Reading, root: str, *, doctype: bool = False
) -> Iterator[tuple[str, list[Element]]]:
    """Every element as it starts and as it ends, with those around it.

    Args:
        source: the file.
        reading: the ingest.
        root: name of the outermost element.
        doctype: whether the format has a document type; what it names is not fetched.

    Yields:
        "start" (an element has its attributes) or "end" (and its text, but no children), and the
        elements from the root to this one.

    Raises:
        DataError: the file is damaged, not whole XML, of another root, or nests too deep.
    """
    path: list[Element] = []
    try:
        with opened(source, reading.tick, MAX_FILE_BYTES) as stream:
            for event, element in iterparse(
                stream, events=("start", "end"), forbid_dtd=not doctype, forbid_external=True
            ):
                if event == "start":
                    if not path and element.tag != root:
                        raise DataError(
                            f"is not of this format: its root is {element.tag}, not {root}",
                            where=source,
                            do="check that it is of this format",
                        )
                    if len(path) == _DEEPEST:
                        raise DataError("nests too deep", where=source)
                    path.append(element)
                yield event, path
                if event == "end":
                    path.pop()
                    if path:
                        del path[-1][:]
    except DefusedXmlException as error:
        raise DataError(
            "has a document type or entities, which are not read",
            where=source,
            do="remove them",
        ) from error
    except (ParseError, LookupError, ValueError) as error:
        raise DataError(f"is not whole XML ({error})", where=source, do="get it again") from error
