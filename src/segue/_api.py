"""The public verbs: models and data by path or object, tracks by URI, frames in and out."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, overload

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from segue.bundle import Bundle
from segue.catalog.catalog import Catalog
from segue.data.dataset import Dataset
from segue.data.frames import arrow_table
from segue.data.schema import Outcome
from segue.errors import BundleError, UsageError
from segue.models.base.recommender import Recommender
from segue.operations.answers import RecommendationBatch, Recommendations, answers
from segue.queries import Query
from segue.recipe import Recipe, load_recipe
from segue.reranking.list_stage import ListStage, continue_playlists

if TYPE_CHECKING:
    from segue.evaluation.evaluate import Evaluation
    from segue.operations.add_tracks import Added
    from segue.operations.tune import Tuning

Model = Bundle | Recommender | Path | str
"""A trained model: of `train` or `load`, a fitted one of a class, or the folder of a bundle."""

_OUTCOMES = {outcome.name.lower(): outcome for outcome in Outcome}
_QUERY = ("tracks", "skipped", "outcomes", "title", "bans", "past")


def train(
    recipe: Recipe | Recommender | Path | str,
    data: Dataset | Path | str,
    *,
    holdout: str | None = None,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    progress: bool = False,
    checkpoint: Path | str | None = None,
) -> Bundle:
    """Train a model.

    Args:
        recipe: name of a recipe that ships (``"wrmf"``), path of a ``.toml`` file, a `Recipe`, or
            a model that is not fitted (``segue.WRMF(factors=64)``), which stays as it is.
        data: a dataset or its folder.
        holdout: protocol whose test side is left out, so that `evaluate` may test on it; None
            learns from every row.
        seed: of everything random, the split included.
        settings: to change in the recipe.
        progress: whether to show progress on stderr.
        checkpoint: file for long training to go on from, where it was made by the same training,
            and to write to as it gets on.

    Returns:
        The trained model. ``.report`` has seconds and memory, ``.manifest`` where it came from.

    Raises:
        UsageError: no such recipe or protocol, or a value of a wrong type.
        ConfigError: a setting is unknown or out of bounds.
        DataError: the dataset lacks what the model learns from, or has nothing to hold out.

    >>> segue.train("item-knn", "plays", holdout="next", seed=1)
    Bundle('item-knn', 300 tracks, seed 1, holdout 'next')
    """
    from segue.operations.train import train as train_recipe

    _expect_seed(seed)
    _expect("settings", settings, Mapping | None, "a dict")
    _expect("holdout", holdout, str | None, "the name of a protocol")
    model, _ = train_recipe(
        _recipe(recipe, settings or {}),
        Dataset.of(data),
        seed=seed,
        holdout=holdout,
        progress=progress,
        checkpoint=None if checkpoint is None else Path(checkpoint),
    )
    return model


def tune(
    recipe: Recipe | Recommender | Path | str,
    data: Dataset | Path | str,
    *,
    protocol: str = "next",
    metric: str | None = None,
    minutes: float = 20.0,
    trials: int | None = None,
    search: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    study: Path | str | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Tuning:
    """Search the settings of a recipe that score best on a validation split.

    The protocol's test is held out and never seen: train ``result.recipe`` with
    ``holdout=protocol`` and the same seed, then evaluate it.

    Args:
        recipe: as of `train`.
        data: a dataset or its folder, whole.
        protocol: holds out its test, then splits off the validation and scores it.
        metric: to search by; None: the protocol's main one.
        minutes: budget of this call.
        trials: so many in all, those of earlier calls counted; None: as many as there is time for.
        search: settings to search, dotted in inner tables; none: all that can be.
        settings: to change in the recipe first.
        study: file that keeps every trial: the same call goes on from it.
        seed: of the splits, of training and of the search.
        progress: whether to report every trial on stderr.

    Raises:
        UsageError: no such protocol, metric or setting, or a study of something else.
        ConfigError: optuna is not installed, or the recipe cannot be trained.
        DataError: the dataset has nothing to train on or to validate with.
    """
    from segue.operations.tune import tune as search_settings

    return search_settings(
        _recipe(recipe, dict(settings or {})),
        Dataset.of(data),
        protocol=protocol,
        metric=metric,
        minutes=minutes,
        trials=trials,
        names=search,
        study=None if study is None else Path(study),
        seed=seed,
        progress=progress,
    )


def evaluate(
    models: Model | Mapping[str, Model] | Iterable[Model],
    data: Dataset | Path | str,
    protocol: str = "next",
    *,
    seed: int | None = None,
    all_rows: bool = False,
    n: int | None = None,
    progress: bool = False,
) -> Evaluation:
    """Test models on the same queries, with intervals, each pair compared.

    Args:
        models: trained models by the names they go by in the result; or one or several without
            names, which go by their recipe or path.
        data: a dataset or its folder, whole: the protocol splits it.
        protocol: how queries and truth are made.
        seed: of the split; None: the one that the models held out with, else 0.
        all_rows: make a query of everything that can be one, for models that learned elsewhere.
        n: length of the lists; None takes the protocol's own.
        progress: whether to show progress on stderr.

    Returns:
        Its ``repr`` is the table; `Evaluation.to_frame` has a row for each model and metric.

    Raises:
        UsageError: no such protocol, no model, or a value of a wrong type.
        DataError: the dataset has nothing to test on.
        BundleError: a model learned from rows of the test.

    >>> model = segue.train("item-knn", "plays", holdout="next")
    >>> segue.evaluate({"knn": model}, "plays", n=5).to_arrow().column_names
    ['model', 'metric', 'mean', 'ci_low', 'ci_high', 'p_holm']
    """
    from segue.evaluation.evaluate import evaluate as test

    _expect("protocol", protocol, str, "the name of a protocol")
    _expect("n", n, int | None, "a whole number")
    dataset = Dataset.of(data)
    named = _named(models)
    if seed is None:
        holdouts = [model.manifest.holdout for _, model in named]
        seeds = {holdout.seed for holdout in holdouts if holdout}
        seed = seeds.pop() if len(seeds) == 1 else 0
    _expect_seed(seed)
    try:
        return test(named, dataset, protocol, seed=seed, all_rows=all_rows, n=n, progress=progress)
    except BundleError as error:
        do = re.sub(
            r"train with --holdout (\S+) --seed (\d+)",
            r'train it with segue.train(..., holdout="\1", seed=\2)',
            error.do or "",
        ).replace("--all", "all_rows=True")
        raise BundleError(error.what, where=error.where, do=do or None) from error


@overload
def recommend(
    model: Model,
    queries: Query | Mapping[str, Any] | None = None,
    *,
    tracks: Sequence[str] = (),
    skipped: Sequence[str] = (),
    outcomes: Sequence[str | Outcome] = (),
    title: str | None = None,
    bans: Sequence[str] = (),
    n: int = 10,
) -> Recommendations: ...


@overload
def recommend(model: Model, queries: Any, *, n: int = 10) -> RecommendationBatch: ...


def recommend(
    model: Model,
    queries: Any = None,
    *,
    tracks: Sequence[str] = (),
    skipped: Sequence[str] = (),
    outcomes: Sequence[str | Outcome] = (),
    title: str | None = None,
    bans: Sequence[str] = (),
    n: int = 10,
) -> Recommendations | RecommendationBatch:
    """The best tracks to come next, for one query or many.

    Tracks are URIs, or words of artist and title that only one track has. As by ``segue
    continue``, a track that the model does not know is an error.

    Args:
        model: a trained model or the folder of its bundle.
        queries: one `Query` or several; a query may be a mapping of the parameters below, and a
            frame with the columns ``query`` and ``track``, and perhaps ``outcome``, is a query for
            each of its names. None: the query that the parameters below make.
        tracks: what was played, oldest first.
        skipped: what was skipped after that.
        outcomes: how each of `tracks` ended, by name or `Outcome`; empty: all were finished.
        title: of the playlist to continue.
        bans: tracks not to be answered. Those of the query never are, either.
        n: how many tracks.

    Returns:
        `Recommendations`, best first; for several queries a `RecommendationBatch` of them.

    Raises:
        UsageError: a track is unknown or ambiguous, nothing to go by, or a value of a wrong type.
        NotFittedError: the model is not trained.

    >>> answer = segue.recommend("wrmf", tracks=["world:track:000001"], n=3)
    >>> len(answer), answer.model
    (3, 'wrmf')
    >>> queries = [{"tracks": [uri]} for uri in ("world:track:000001", "world:track:000002")]
    >>> segue.recommend("wrmf", queries)
    RecommendationBatch(2 queries, 20 tracks)
    """
    bundle = _bundle(model)
    parameters = zip(_QUERY, (tracks, skipped, outcomes, title, bans), strict=False)
    given: dict[str, Any] = {name: value for name, value in parameters if not _is_empty(value)}
    if queries is None:
        return _answers(bundle, [_query(given)], n)[0]
    if given:
        raise UsageError(f"queries and {next(iter(given))} at once", do="give one of them")
    if isinstance(queries, Query):
        return _answers(bundle, [queries], n)[0]
    if isinstance(queries, Mapping) and set(queries) <= set(_QUERY):
        return _answers(bundle, [_query(queries)], n)[0]
    names, several = _several(queries)
    return RecommendationBatch(names, _answers(bundle, several, n))


def similar(model: Model, track: str, n: int = 10) -> Recommendations:
    """What goes with one track.

    Args:
        model: a trained model or the folder of its bundle.
        track: URI, or words of artist and title that only one track has.
        n: how many tracks.

    Raises:
        UsageError: the track is unknown or ambiguous, or a value of a wrong type.
        NotFittedError: the model is not trained.
    """
    return _answers(_bundle(model), [Query(tracks=[track])], n)[0]


def add_tracks(
    model: Model,
    files: Path | str | Sequence[Path | str],
    *,
    out: Path | str | None = None,
    progress: bool = False,
) -> Added:
    """Give a trained model sound files as tracks that nobody has played. It is not trained again.

    Args:
        model: of a recipe that hears, as ``audio``: the folder of its bundle, which is replaced,
            or the model itself, which has the tracks from then on.
        files: sound files, and folders with all below them.
        out: folder for a bundle with the tracks; None: as said of `model`.
        progress: whether to show progress on stderr.

    Returns:
        What became of every file.

    Raises:
        UsageError: no file, or a value of a wrong type.
        BundleError: the model does not hear.
        DataError: a source is missing or holds no sound files, or `out` cannot be written.
    """
    from segue.operations.add_tracks import add

    _expect("files", files, Path | str | Sequence, "paths of sound files or folders")
    sources = [Path(file) for file in ([files] if isinstance(files, Path | str) else files)]
    target = None if out is None else Path(out)
    if isinstance(model, Path | str):
        return add(Path(model), sources, out=target, progress=progress)
    bundle = _bundle(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        bundle.save(path)
        added = add(path, sources, out=target, progress=progress)
        if target is None:
            bundle.recommender = Bundle.load(path).recommender
            if isinstance(model, Recommender):
                model.__dict__.update(bundle.recommender.__dict__)
            added = msgspec.structs.replace(added, bundle=bundle.manifest.recipe)
    return added


def save(model: Model, path: Path | str) -> None:
    """Write a trained model as a bundle; `load` reads it, and every ``segue`` verb.

    Args:
        model: a trained model.
        path: folder to write; an earlier bundle there is replaced.

    Raises:
        DataError: `path` is something else, or cannot be written.
        NotFittedError: the model is not trained.
    """
    _expect("path", path, Path | str, "a folder")
    _bundle(model).save(path)


def load(path: Path | str) -> Bundle:
    """Read a bundle and verify it.

    Raises:
        BundleError: not a bundle, of a newer format, damaged, or not what it says it is.
        UsageError: `path` is no path.

    >>> segue.load("wrmf")
    Bundle('wrmf', 300 tracks, seed 0)
    """
    _expect("path", path, Path | str, "the folder of a bundle")
    return Bundle.load(path)


def _expect(name: str, value: object, kinds: type | UnionType, wanted: str) -> None:
    """Raises UsageError where a value is of none of these kinds."""
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is int):
        raise UsageError(f"{name} is {type(value).__name__} {value!r}", do=f"give {wanted}")


def _is_empty(value: Any) -> bool:
    return value is None or (hasattr(value, "__len__") and len(value) == 0)


def _expect_seed(seed: object) -> None:
    _expect("seed", seed, int, "a whole number")
    if isinstance(seed, int) and seed < 0:
        raise UsageError(f"seed is {seed}", do="give 0 or more")


def _recipe(recipe: object, settings: Mapping[str, Any]) -> Recipe:
    if isinstance(recipe, Recommender):
        kind, config = type(recipe), msgspec.to_builtins(recipe.config)
        recipe = Recipe(name=kind.name, recommender=kind.name, settings=config)
    elif isinstance(recipe, Path | str):
        recipe = load_recipe(str(recipe))
    if not isinstance(recipe, Recipe):
        raise UsageError(
            f"the recipe is {type(recipe).__name__}",
            do="give the name of a recipe, a .toml file, a Recipe or a model",
        )
    return recipe.changed(settings)


def _bundle(model: object) -> Bundle:
    """The bundle that a model is, or is in."""
    if isinstance(model, Bundle):
        return model
    if isinstance(model, Path | str):
        return Bundle.load(model)
    if not isinstance(model, Recommender):
        raise UsageError(
            f"the model is {type(model).__name__}",
            do="give a model of segue.train or segue.load, or the folder of a bundle",
        )
    _ = model.catalog  # NotFittedError
    if model.fitted_on is None:
        raise UsageError(
            f"it is not known what this {type(model).__name__} was fitted on",
            do="give its bundle, or call its fit(data)",
        )
    from segue.operations.train import bundle_of

    dataset, seed = model.fitted_on
    return bundle_of(model, dataset, dataset, model.name, seed)


def _named(models: Any) -> list[tuple[str, Bundle]]:
    if isinstance(models, Mapping):
        return [(str(name), _bundle(model)) for name, model in models.items()]
    if isinstance(models, Bundle | Recommender | Path | str):
        models = [models]
    if not isinstance(models, Iterable):
        raise UsageError(
            f"models are {type(models).__name__}", do="give a dict of names to trained models"
        )
    named: dict[str, Bundle] = {}
    for model in models:
        bundle = _bundle(model)
        name = str(model) if isinstance(model, Path | str) else bundle.manifest.recipe
        others = sum(other.partition(" #")[0] == name for other in named)
        named[f"{name} #{others + 1}" if others else name] = bundle
    return list(named.items())


def _query(given: Mapping[str, Any]) -> Query:
    """A query of URIs from the parameters of `recommend`."""
    if unknown := [name for name in given if name not in _QUERY]:
        raise UsageError(f"a query has no {unknown[0]!r}", do=f"it has: {', '.join(_QUERY)}")
    for name in ("tracks", "skipped", "outcomes", "bans", "past"):
        value = given.get(name, ())
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise UsageError(f"{name} is {type(value).__name__} {value!r}", do="give a list")
    _expect("title", given.get("title"), str | None, "text")
    tracks, skipped = list(given.get("tracks", ())), list(given.get("skipped", ()))
    outcomes = [_outcome(outcome) for outcome in given.get("outcomes", ())]
    if outcomes and len(outcomes) != len(tracks):
        raise UsageError(f"{len(outcomes)} outcomes for {len(tracks)} tracks")
    outcomes = outcomes or [Outcome.FINISHED] * len(tracks)
    return Query(
        [*tracks, *skipped],
        [*outcomes, *[Outcome.SKIPPED] * len(skipped)],
        given.get("title"),
        list(given.get("bans", ())),
        list(given.get("past", ())),
    )


def _outcome(value: object) -> Outcome:
    if isinstance(value, str) and value.lower() in _OUTCOMES:
        return _OUTCOMES[value.lower()]
    if isinstance(value, int) and value in list(_OUTCOMES.values()):
        return Outcome(value)
    if value is None:
        return Outcome.UNKNOWN
    raise UsageError(f"no outcome {value!r}", do=f"outcomes are: {', '.join(_OUTCOMES)}")


def _several(queries: Any) -> tuple[list[Any], list[Query]]:
    """Names and queries of a list or a frame of them."""
    if isinstance(queries, list | tuple):
        for query in queries:
            if not isinstance(query, Query | Mapping):
                raise UsageError(
                    f"a query is {type(query).__name__}", do="give a segue.Query or a dict"
                )
        several = [q if isinstance(q, Query) else _query(q) for q in queries]
        return list(range(len(several))), several
    table = arrow_table(queries, "queries")
    if missing := [name for name in ("query", "track") if name not in table.column_names]:
        raise UsageError(
            f"queries have no column {missing[0]!r}", do="give a frame with query and track"
        )
    known = [name for name in ("query", "track", "outcome") if name in table.column_names]
    by_query: dict[Any, list[dict[str, Any]]] = {}
    for row in table.select(known).to_pylist():
        by_query.setdefault(row["query"], []).append(row)
    asked = []
    for rows in by_query.values():
        outcomes = [row["outcome"] for row in rows] if "outcome" in known else []
        asked.append(_query({"tracks": [row["track"] for row in rows], "outcomes": outcomes}))
    return list(by_query), asked


def _answers(bundle: Bundle, queries: Sequence[Query], n: int) -> list[Recommendations]:
    _expect("n", n, int, "a whole number")
    asked = _by_rows(bundle.catalog, queries)
    recommender = bundle.recommender
    slates = continue_playlists(recommender, asked, [n] * len(asked), [ListStage()] * len(asked))
    return answers(bundle, asked, slates) if asked else []


def _by_rows(catalog: Catalog, queries: Sequence[Query]) -> list[Query]:
    """Queries whose URIs are rows of the catalog."""
    for q, query in enumerate(queries):
        where = f"query {q}" if len(queries) > 1 else None
        _expect("title", query.title, str | None, "text")
        if not (len(query.tracks) or len(query.past) or (query.title or "").strip()):
            raise UsageError("nothing to go by", where=where, do="give a track or a title")
        for track in (*query.tracks, *query.bans, *query.past):
            if not isinstance(track, str):
                raise UsageError(
                    f"a track is {type(track).__name__} {track!r}", where=where, do="give its URI"
                )
    texts = list(
        dict.fromkeys(t for q in queries for some in (q.tracks, q.bans, q.past) for t in some)
    )
    found = pc.index_in(pa.array(texts, pa.string()), value_set=catalog.table["uri"])
    rows = {
        text: catalog.names.find(text).row if row is None else row
        for text, row in zip(texts, found.to_pylist(), strict=True)
    }
    return [
        Query(
            [rows[track] for track in query.tracks],
            query.outcomes,
            query.title,
            [rows[track] for track in query.bans],
            [rows[track] for track in query.past],
        )
        for query in queries
    ]
