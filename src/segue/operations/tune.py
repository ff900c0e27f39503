"""Tuning: a search over a recipe's settings on a validation split inside the training side.

The protocol first holds out its test, as ``segue train --holdout`` does, then splits what is left
once more: models train on the inner training side and are scored on the inner test, the validation.
The held-out test stays unseen. Optuna proposes settings by the tree-structured Parzen estimator
(Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization"); the first trial is the recipe
as it is, so the best trial is never worse than it on validation.
"""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
import numpy as np

from segue.bundle import Bundle, Manifest
from segue.config import Config, Search
from segue.data.dataset import Dataset
from segue.errors import ConfigError, DataError, UsageError
from segue.evaluation.evaluate import run_test
from segue.evaluation.significance import Estimate, estimate
from segue.metrics.ranking import LESS_IS_BETTER, Float64
from segue.models.base.recommender import Recommender, TrainingOptions
from segue.protocols.base import Split, Test, find_protocol
from segue.recipe import Recipe, changed
from segue.system.extras import needs
from segue.system.progress import note

MINUTES = 20.0
_GLANCE = 200
"""Number of queries that score a partly trained model."""
_STARTUP_TRIALS = 8
"""Trials with random settings before the estimator proposes some."""


class Trial(msgspec.Struct, frozen=True):
    """One set of settings.

    Attributes:
        number: number from 0; trial 0 is the unchanged recipe.
        settings: values of the searched settings.
        state: "complete", "pruned" (stopped early: it fell behind) or "failed" (refused, diverged).
        score: value of the metric on validation; null unless complete.
        seconds: time of training and scoring.
    """

    number: int
    settings: dict[str, Any]
    state: str
    score: float | None
    seconds: float


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """Output of ``segue tune --json``.

    Attributes:
        recipe: the recipe with the best settings.
        protocol, metric, seed: protocol, metric and seed of the scores.
        queries: number of queries in the validation.
        start: score of the recipe as it was given.
        best: score of the best trial.
        difference: best minus start on the same queries, with its interval. It is optimistic: the
            best of many trials on one validation is partly luck.
        trials: all trials, in order.
        interrupted: whether an interrupt ended the search before its budget.
    """

    recipe: Recipe
    protocol: str
    metric: str
    seed: int
    queries: int
    start: float
    best: float
    difference: Estimate
    trials: list[Trial]
    interrupted: bool = False

    def __repr__(self) -> str:
        return (
            f"Tuning({self.recipe.name}: {self.metric} {self.best:.4f} on validation, "
            f"{self.start:.4f} at the start; {len(self.trials)} trials)"
        )


@dataclass(frozen=True)
class Setting:
    """A setting to search: its space, the recipe's value, and whether it is an integer."""

    search: Search
    value: Any
    whole: bool

    def widened(self) -> Setting:
        """This setting, its space widened to hold the value."""
        search, value = self.search, self.value
        if search.holds(value):
            return self
        if search.choices:
            return replace(self, search=replace(search, choices=(value, *search.choices)))
        low, high = min(search.low, value), max(search.high, value)
        return replace(self, search=replace(search, low=low, high=high))


def search_space(recipe: Recipe, names: Sequence[str] = ()) -> dict[str, Setting]:
    """The search space of a recipe, by dotted name of the setting.

    A setting that the recipe switches off (0 on a logarithmic range) stays off. A space widens to
    hold the recipe's value.

    Args:
        recipe: the recipe to tune.
        names: search these alone, those of inner tables (``wrmf.factors``) too; none: every setting
            of the recommender itself that has a space.

    Raises:
        UsageError: a name has no search space, or nothing is left to search.
    """
    known = _spaces(recipe.make().config)
    if unknown := [name for name in names if name not in known]:
        raise UsageError(
            f"no space to search for the setting {unknown[0]}",
            where=f"recipe {recipe.name}",
            do=f"settings to search are: {', '.join(known) or 'none'}",
        )
    space = {
        name: setting.widened()
        for name, setting in known.items()
        if (name in names if names else "." not in name)
        and (setting.value or not setting.search.log)
    }
    if not space:
        raise UsageError("has no setting to search", where=f"recipe {recipe.name}")
    return space


def _spaces(config: Config, outer: str = "") -> dict[str, Setting]:
    """Every declared space in a configuration and its inner tables."""
    spaces: dict[str, Setting] = {}
    for name, hint in get_type_hints(type(config), include_extras=True).items():
        value = getattr(config, name, None)
        if isinstance(value, Config):
            spaces |= _spaces(value, f"{outer}{name}.")
        elif get_origin(hint) is Annotated:
            kind, *notes = get_args(hint)
            for search in (extra for extra in notes if isinstance(extra, Search)):
                spaces[f"{outer}{name}"] = Setting(search, value, kind is int)
    return spaces


def tune(
    recipe: Recipe,
    dataset: Dataset,
    *,
    protocol: str,
    metric: str | None = None,
    minutes: float = MINUTES,
    trials: int | None = None,
    names: Sequence[str] = (),
    study: Path | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Tuning:
    """Search a recipe's settings.

    Args:
        recipe: recipe to start from; settings outside the search stay as they are.
        dataset: whole; the protocol holds out its test, which stays unseen.
        protocol: name of the protocol that splits and scores.
        metric: metric to optimize; None: the second of the protocol's headline.
        minutes: budget of this call. A trial under way at its end is given up after its epoch or
            sweep, or finished where a model has none.
        trials: so many trials in all, those of earlier calls counted; None: as many as there is
            time for.
        names: settings to search, see `search_space`.
        study: file that keeps every trial: the same call goes on from it. None keeps nothing.
        seed: seed of the splits, of training and of the search.
        progress: report every trial on stderr.

    Raises:
        UsageError: no such protocol or metric, a setting that is not searched, or a study that was
            made of something else.
        ConfigError: optuna is not installed, or the recipe itself cannot be trained.
        DataError: the dataset has nothing to train on or to validate with.
    """
    space = search_space(recipe, names)
    how = find_protocol(protocol)
    metric = metric or how.headline(how.n)[1]
    if metric not in how.metrics(how.n):
        raise UsageError(
            f"{protocol} has no metric {metric!r}",
            do=f"its metrics are: {', '.join(how.metrics(how.n))}",
        )
    if not minutes > 0 or (trials is not None and trials < 1):
        raise UsageError("a budget of nothing", do="give some minutes, and at least 1 trial")
    inner = how.split(how.split(dataset, seed).train, seed)
    scorer = _Scorer(recipe, inner, metric, how.n, seed)
    identity = _identity(recipe, dataset, protocol, metric, seed, space)
    return _Search(scorer, space, identity, study, progress).run(protocol, minutes, trials)


def _identity(
    recipe: Recipe, dataset: Dataset, protocol: str, metric: str, seed: int, space: Any
) -> dict[str, Any]:
    """The facts that all trials of one study share."""
    facts = repr((recipe.recommender, sorted(recipe.settings.items()), sorted(space.items())))
    return {
        "recipe": recipe.name,
        "settings": hashlib.sha256(facts.encode()).hexdigest()[:16],
        "dataset": dataset.info.fingerprint,
        "protocol": protocol,
        "metric": metric,
        "seed": seed,
    }


@dataclass
class _Scorer:
    """Trains settings on the inner training side and scores them on the validation."""

    recipe: Recipe
    inner: Split
    metric: str
    n: int
    seed: int
    values: dict[str, Float64] = field(default_factory=dict)
    """Score of each query, by the settings of complete trials."""

    def model(
        self, settings: Mapping[str, Any], monitor: Callable[[int, Any], None] | None
    ) -> Recommender:
        """Raises ConfigError where settings are refused or training diverges."""
        model = changed(self.recipe, settings).make()
        try:
            return model.fit(self.inner.train, TrainingOptions(self.seed, monitor=monitor))
        except np.linalg.LinAlgError as error:
            raise ConfigError(f"training diverged ({error})") from error

    @cached_property
    def glance(self) -> Test:
        """A part of the validation, for partly trained models."""
        test = self.inner.test
        if test.candidates is not None or len(test) <= _GLANCE:
            return test
        rng = np.random.default_rng(self.seed)
        return test.take(np.sort(rng.choice(len(test), _GLANCE, replace=False)))

    def score(self, model: Recommender, test: Test | None = None) -> Float64:
        """Score of each query of the validation, or of `test`. (queries,)"""
        manifest = Manifest(
            recommender=self.recipe.recommender,
            recipe=self.recipe.name,
            config={},
            seed=self.seed,
            holdout=None,
            dataset="",
            simulated=False,
            trained_at="",
        )
        bundle = Bundle(model, manifest, np.zeros(0, np.uint64))
        metrics = (self.metric,)
        _, values = run_test(
            "trial",
            bundle,
            self.inner.train,
            test or self.inner.test,
            metrics,
            self.n,
            lambda step: None,
        )
        return values[self.metric]

    def scores_of(self, settings: Mapping[str, Any]) -> Float64:
        """Score of each query for the settings of a complete trial of this or an earlier call."""
        key = repr(sorted(settings.items()))
        if key not in self.values:
            self.values[key] = self.score(self.model(settings, None))
        return self.values[key]

    def keep(self, settings: Mapping[str, Any], values: Float64) -> None:
        """Store the scores of complete settings."""
        self.values[repr(sorted(settings.items()))] = values


class _OutOfTime(Exception):
    """The budget ended during a trial."""


class _Search:
    """The trials of one study.

    Args:
        scorer: trains and scores settings.
        space: search space.
        identity: facts that the study's trials share.
        file: file of the study, or None.
        progress: whether to report trials.
    """

    def __init__(
        self,
        scorer: _Scorer,
        space: dict[str, Setting],
        identity: dict[str, Any],
        file: Path | None,
        progress: bool,
    ) -> None:
        self.scorer, self.space, self.progress = scorer, space, progress
        self.optuna = _optuna(scorer.recipe.name)
        self.study = self._open(identity, file)
        self.sign = -1.0 if scorer.metric.partition("@")[0] in LESS_IS_BETTER else 1.0

    def _open(self, identity: dict[str, Any], file: Path | None) -> Any:
        """The study in the file, or a new one.

        Raises:
            UsageError: the file holds a study of something else, or is none.
        """
        optuna = self.optuna
        options: dict[str, Any] = {
            "study_name": "segue",
            "direction": "maximize",
            "load_if_exists": True,
            "pruner": optuna.pruners.PercentilePruner(75.0, n_startup_trials=2, n_warmup_steps=3),
        }
        if file is None:
            study = optuna.create_study(**options)
        else:
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

            lock = JournalFileOpenLock(str(file))
            try:
                backend = JournalFileBackend(str(file), lock_obj=lock)
                study = optuna.create_study(storage=JournalStorage(backend), **options)
            except (OSError, ValueError, KeyError) as error:
                raise UsageError(
                    f"is no study ({error})", where=file, do="name another file, or remove it"
                ) from error
        before = study.user_attrs
        for name, value in identity.items():
            if before and before.get(name) != value:
                raise UsageError(
                    f"is a study with another {name} ({before.get(name)}, not {value})",
                    where=file,
                    do="name another file, or remove it to begin again",
                )
            study.set_user_attr(name, value)
        if not study.trials:
            study.enqueue_trial({name: setting.value for name, setting in self.space.items()})
        for trial in study.trials:  # repeat the settings of a trial that was cut off
            if trial.state == optuna.trial.TrialState.RUNNING:
                study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
                study.enqueue_trial(trial.params)
        return study

    def _sampler(self) -> Any:
        """Proposes the next settings.

        Its seed depends on the trials so far alone, so an interrupted study proposes what it would
        have proposed without the interrupt.
        """
        seeds = np.random.SeedSequence([self.scorer.seed, self._done()])
        return self.optuna.samplers.TPESampler(
            seed=int(seeds.generate_state(1)[0]),
            n_startup_trials=_STARTUP_TRIALS,
            multivariate=True,
        )

    def run(self, protocol: str, minutes: float, trials: int | None) -> Tuning:
        """Search until the budget ends; see `tune`."""
        began = time.monotonic()
        deadline = began + 60 * minutes
        interrupted = False
        try:
            while time.monotonic() < deadline and (trials is None or self._done() < trials):
                if not self._trial(deadline):
                    break
                self._report(began, minutes)
        except KeyboardInterrupt:
            interrupted = True
            if not self._complete():
                raise
        return self._result(protocol, interrupted)

    def _done(self) -> int:
        """Number of trials that ended: complete, pruned, or with refused settings."""
        return sum(_settled(trial) for trial in self.study.trials)

    def _complete(self) -> list[Any]:
        state = self.optuna.trial.TrialState.COMPLETE
        return [trial for trial in self.study.trials if trial.state == state]

    def _trial(self, deadline: float) -> bool:
        """Train and score one set of settings; False if the time ran out first."""
        state = self.optuna.trial.TrialState
        self.study.sampler = self._sampler()
        trial = self.study.ask()
        settings = {name: _suggested(trial, name, s) for name, s in self.space.items()}
        first = not self._complete()

        def monitor(step: int, result: float | Recommender) -> None:
            if time.monotonic() > deadline and not first:
                raise _OutOfTime
            if isinstance(result, Recommender):
                result = self.sign * float(
                    np.nanmean(self.scorer.score(result, self.scorer.glance))
                )
            trial.report(result, step)
            if trial.should_prune() and not first:  # the recipe itself always trains to the end
                raise self.optuna.TrialPruned

        try:
            values = self.scorer.score(self.scorer.model(settings, monitor))
        except self.optuna.TrialPruned:
            self.study.tell(trial, state=state.PRUNED)
        except _OutOfTime:
            self._again(trial)
            return False
        except KeyboardInterrupt:
            self._again(trial)
            raise
        except (ConfigError, DataError) as error:
            if first:
                raise
            trial.set_user_attr("refused", str(error))
            self.study.tell(trial, state=state.FAIL)
        else:
            self.scorer.keep(settings, values)
            self.study.tell(trial, self.sign * float(np.nanmean(values)))
        return True

    def _again(self, trial: Any) -> None:
        """Give a trial up; the study tries its settings first when it resumes."""
        self.study.tell(trial, state=self.optuna.trial.TrialState.FAIL)
        self.study.enqueue_trial(trial.params)

    def _report(self, began: float, minutes: float) -> None:
        best = self.study.best_trial
        started = (t for t in reversed(self.study.trials) if t.datetime_start is not None)
        last = _trial_of(next(started), self.sign)
        score = last.state if last.score is None else f"{self.scorer.metric} {last.score:.4f}"
        spent = (time.monotonic() - began) / 60
        note(
            f"trial {last.number}: {score} (best {self.sign * best.value:.4f}, trial "
            f"{best.number}), {spent:.1f} of {minutes:g} minutes",
            show=self.progress,
        )

    def _result(self, protocol: str, interrupted: bool) -> Tuning:
        complete = self._complete()
        best, start = self.study.best_trial, complete[0]
        scorer = self.scorer
        difference = estimate(
            scorer.scores_of(best.params) - scorer.scores_of(start.params),
            scorer.inner.test.listeners,
        )
        recipe = changed(scorer.recipe, best.params if best.number != start.number else {})
        score = self.sign * best.value
        return Tuning(
            recipe=msgspec.structs.replace(
                recipe,
                description=f"{recipe.name}, tuned: {scorer.metric} {score:.4f} on validation",
            ),
            protocol=protocol,
            metric=scorer.metric,
            seed=scorer.seed,
            queries=len(scorer.inner.test),
            start=self.sign * start.value,
            best=score,
            difference=difference,
            trials=[_trial_of(trial, self.sign) for trial in self.study.trials if _settled(trial)],
            interrupted=interrupted,
        )


def _settled(trial: Any) -> bool:
    """Whether a trial ended by itself, not by a time limit or an interrupt."""
    return trial.state.name in ("COMPLETE", "PRUNED") or "refused" in trial.user_attrs


def _trial_of(trial: Any, sign: float) -> Trial:
    return Trial(
        number=trial.number,
        settings=trial.params,
        state="failed" if trial.state.name == "FAIL" else trial.state.name.lower(),
        score=sign * trial.value if trial.state.name == "COMPLETE" else None,
        seconds=round(trial.duration.total_seconds(), 3),
    )


def _suggested(trial: Any, name: str, setting: Setting) -> Any:
    """A value for the setting, proposed by Optuna."""
    search = setting.search
    if search.choices:
        return trial.suggest_categorical(name, search.choices)
    if setting.whole:
        return trial.suggest_int(name, int(search.low), int(search.high), log=search.log)
    return trial.suggest_float(name, search.low, search.high, log=search.log)


def _optuna(recipe: str) -> Any:
    try:
        import optuna
    except ImportError as error:
        raise needs("tuning", "tune", where=f"recipe {recipe}", cause=error) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna
