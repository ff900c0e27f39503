"""Outcomes and sessions of a dataset, derived again from the evidence that it holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from segue.data.dataset import Dataset, Int32
from segue.data.outcomes import RULES, Evidence, OutcomeRule, longest_plays
from segue.data.receipt import Receipt
from segue.data.schema import TABLES
from segue.data.sessions import cut_at_gaps
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
    listens = _derived(dataset.listens, rule, lengths)
    with writing_dataset(path) as writer:
        writer.copy(dataset, without=["listens"])
        for batch in listens.to_batches(_ROWS):
            writer.add("listens", dict(zip(batch.schema.names, batch.columns, strict=True)))
        changed = msgspec.structs.replace(source, settings=msgspec.structs.asdict(rule))
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
    rule = kind.make(source.settings | dict(settings))
    for name in kind.fixed:
        if name in settings and getattr(rule, name) != source.settings.get(name):
            raise ConfigError(
                f"{name} decides what is read", where=kind.__name__, do="ingest again with it"
            )
    return source, rule


def _derived(listens: pa.Table, rule: OutcomeRule, lengths: Int32) -> pa.Table:
    """The table listens with sessions and outcomes by the rule."""
    if rule.gap is not None:
        listener = listens["listener"].to_numpy()
        played = listens["ms_played"].fill_null(-1).to_numpy()
        time = listens["time"].cast("int64").to_numpy()
        session = cut_at_gaps(listener, time, played, rule.gap)
        listens = _with(listens, session=session, position=positions(begins(session)))
    evidence = Evidence.of(listens, longest_plays(listens, len(lengths)), lengths)
    return _with(listens, outcome=rule.derive(evidence))


def _with(listens: pa.Table, **columns: Any) -> pa.Table:
    for name, values in columns.items():
        field = TABLES["listens"].field(name)
        place = listens.column_names.index(name)
        listens = listens.set_column(place, field, pa.array(values, field.type))
    return listens
