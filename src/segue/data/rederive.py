"""Outcomes and sessions of a dataset, derived again from the evidence that it holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from segue.data.dataset import Dataset, Int32
from segue.data.outcomes import RULES, Evidence, OutcomeRule, TableRule, longest_plays
from segue.data.receipt import Receipt
from segue.data.schema import TABLES
from segue.data.sessions import UNTIMED, cut_at_gaps
from segue.data.writer import writing_dataset
from segue.errors import ConfigError, DataError
from segue.numeric.arrays import begins, positions

_ROWS = 1 << 18


def derive_again(path: Path, settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Derive outcomes, and sessions where gaps make them, by other settings; in place, all or
    nothing.

    Args:
        path: dataset folder.
        settings: of the outcome rule; the others stay as they were.

    Returns:
        The description of the dataset before and after, as `Dataset.describe` gives it.

    Raises:
        DataError: its listens have no evidence.
        ConfigError: a setting that the rule does not have, or one that only an ingest can change.
    """
    dataset = Dataset.open(path)
    source, rule = _rule(dataset, settings)
    before = dataset.describe()
    lengths = dataset.tracks["duration_ms"].fill_null(-1).to_numpy()
    listens = _derived(dataset.listens, rule, lengths if _judged(source) else None)
    with writing_dataset(path) as writer:
        writer.copy(dataset, without=["listens"])
        for batch in listens.to_batches(_ROWS):
            writer.add("listens", dict(zip(batch.schema.names, batch.columns, strict=True)))
        settings = {
            name: value
            for name, value in msgspec.structs.asdict(rule).items()
            if RULES[source.format] is not TableRule or name in source.settings
        }
        changed = msgspec.structs.replace(source, settings=settings)
        sources = [changed if one is source else one for one in dataset.info.sources]
        writer.finish(sources, simulated=dataset.info.simulated)
    return before, Dataset.open(path).describe()


def _rule(dataset: Dataset, settings: Mapping[str, Any]) -> tuple[Receipt, OutcomeRule]:
    """The source of the listens with its rule, by its present settings and the changes."""
    if any(source.format == "feedback" for source in dataset.info.sources):
        raise DataError(
            "has listens that said how they ended",
            where=dataset.path,
            do="ingest the feedback log again with other settings",
        )
    sources = [source for source in dataset.info.sources if source.format in RULES]
    if len(sources) != 1:
        raise DataError(
            "has no evidence of how its listens ended",
            where=dataset.path,
            do=f"ingest one of {', '.join(RULES)}",
        )
    (source,) = sources
    kind = RULES[source.format]
    changes_outcomes = bool(set(settings) - {"gap_minutes"})
    if not source.settings or (changes_outcomes and not _judged(source)):
        raise DataError(
            "has no evidence of how its listens ended",
            where=dataset.path,
            do="map ms_played and no outcome, and ingest again",
        )
    rule = kind.make(source.settings | dict(settings))
    for name in kind.fixed:
        if name in settings and getattr(rule, name) != source.settings.get(name):
            raise ConfigError(
                f"{name} decides what is read", where=kind.__name__, do="ingest again with it"
            )
    return source, rule


def _judged(source: Receipt) -> bool:
    """Whether a rule judged the outcomes; a column of a table gave them otherwise."""
    return RULES[source.format] is not TableRule or "skip_seconds" in source.settings


def _derived(listens: pa.Table, rule: OutcomeRule, lengths: Int32 | None) -> pa.Table:
    """The table listens with sessions and outcomes by the rule; None keeps the outcomes."""
    if rule.gap is not None:
        listener = listens["listener"].to_numpy()
        played = listens["ms_played"].fill_null(-1).to_numpy()
        timed = listens["time"].is_valid().to_numpy()
        time = listens["time"].cast("int64").fill_null(UNTIMED).to_numpy()
        session, position = np.full(len(timed), -1), np.zeros(len(timed), np.int64)
        session[timed] = cut_at_gaps(listener[timed], time[timed], played[timed], rule.gap)
        position[timed] = positions(begins(session[timed]))
        listens = _with(
            listens,
            session=pa.array(session, mask=~timed),
            position=pa.array(position, mask=~timed),
        )
    if lengths is None:
        return listens
    evidence = Evidence.of(listens, longest_plays(listens, len(lengths)), lengths)
    return _with(listens, outcome=rule.derive(evidence))


def _with(listens: pa.Table, **columns: Any) -> pa.Table:
    for name, values in columns.items():
        field = TABLES["listens"].field(name)
        place = listens.column_names.index(name)
        array = values.cast(field.type) if isinstance(values, pa.Array) else values
        listens = listens.set_column(place, field, pa.array(array, field.type))
    return listens
