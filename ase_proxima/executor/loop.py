"""The loop: predict, measure, decide, run the target where needed, observe, train where due."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ase_proxima.costs import (
    FAIR_NUMBER,
    Costs,
    add_call,
    complain_of_distrust,
    long_run_speedup,
    present_speedup,
)
from ase_proxima.errors import InputError, NotWorthwhileWarning, RunDirectoryError, TargetError
from ase_proxima.executor.blending import (
    Blending,
    BlendState,
    energy_gap,
    energy_of,
    largest_ratio,
    mix,
    retrained,
    settle,
)
from ase_proxima.executor.criteria import Criterion, SeenErrors, Watch, count_error, summarise_errors
from ase_proxima.executor.guard import Guard
from ase_proxima.executor.memory import REMEMBERED, Answer, Memory
from ase_proxima.protocols import FrameStore, Surrogate, TrainingPolicy, Uncertainty
from ase_proxima.training import BackgroundTraining, never_trains
from ase_proxima.types import Decision, ErrorsSeen, Frame, Observation, Prediction, Results, Stats, Verdict
from ase_proxima.types.serialisation import state_from_json, state_to_json
from ase_proxima.types.words import is_plural

__all__ = ["Executor"]

_TIMES = ("time_target", "time_surrogate", "time_uncertainty", "time_training")

COMPARED = 20
"""Latest stored frames with which an input is compared."""
REPEATED_WITHIN = 0.5
"""Share of an error bound by which a target may differ from itself when a run is resumed: iterative solvers that start
elsewhere do, by far less than a bound that makes sense for them."""


@dataclass(frozen=True)
class Published:
    """What was taken of the versions that were trained beside the simulation.

    Attributes
    ----------
    number
        Of the latest; 0 before the first.
    first
        The first of the frames that it knows.
    has_manager
        Whether somebody was training at the latest call of the target; None before it was seen.
    """

    number: int = 0
    first: int = 0
    has_manager: bool | None = None


Numbers = Sequence[float | None]
"""One number a criterion; None where the criterion does not apply to the input, NaN where it is unknown."""


class Executor:
    """Answers calls from the surrogate where it may be trusted, else from the target.

    Parameters
    ----------
    target : callable
        `target(x) -> results`.
    surrogate : Surrogate
    criteria : sequence of Criterion
        The surrogate is trusted where all of them agree that apply to the input.
    training : TrainingPolicy
    store : FrameStore
    identify : callable
        `identify(x) -> str`: equal for equal inputs, and hardly ever otherwise.
    distance : callable, optional
        `distance(x, known) -> float`: how far `x` lies from the nearest of the inputs `known`, infinite where they are
        of another kind. By default nothing is known of distances.
    watches : sequence of Watch
        Errors that are only counted, beside those of the criteria.
    forces_target : callable, optional
        `forces_target(x, earlier) -> bool`: whether the target must answer at `x`, after the `earlier` inputs.
    seed : int
        Seed of the generator that draws the audits.
    retries : int
        How often a failed target run is repeated.
    when_not_worthwhile : {"warn", "ignore"}
        What to do where the target is cheaper than the surrogate, or nothing is trusted: say so once; nothing.
    blending : Blending, optional
        How the answers pass from target to surrogate and back; None switches from one call to the next, and an audited
        call is then answered by the target.
    guard : Guard, optional
        Held by `__call__` for each call; whoever calls `answer` holds it.
    clock : callable
        Seconds, for the time statistics.
    """

    def __init__(
        self,
        target: Callable[[Any], Results],
        surrogate: Surrogate,
        criteria: Sequence[Criterion],
        training: TrainingPolicy,
        *,
        store: FrameStore,
        identify: Callable[[Any], str],
        distance: Callable[[Any, Sequence[Any]], float] | None = None,
        watches: Sequence[Watch] = (),
        forces_target: Callable[[Any, Sequence[Any]], bool] | None = None,
        seed: int = 0,
        retries: int = 1,
        when_not_worthwhile: str = "ignore",
        blending: Blending | None = None,
        guard: Guard | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.target = target
        self.surrogate = surrogate
        self.criteria = tuple(criteria)
        self.watches = tuple(watches)
        self.training = training
        self.store = store
        self.identify = identify
        self.distance = distance
        self.forces_target = forces_target
        self.retries = retries
        self.when_not_worthwhile = when_not_worthwhile
        self.blending = blending
        self.clock = clock
        self.rng = np.random.default_rng(seed)
        self.states: list[Any] = [criterion.controller.init() for criterion in self.criteria]
        self.last_decision: Decision | None = None
        self.memory = Memory()
        self.uncovered: tuple[str, ...] = ()
        """What was asked for at the latest call that the surrogate might not answer as no criterion covers it."""
        self.guard = Guard(store.owner) if guard is None else guard
        self._last_input = ""
        self._counts = dict.fromkeys(
            ("n_calls", "n_target", "n_surrogate", "n_audit", "model_version", "n_trained"), 0
        )
        self._times = dict.fromkeys((*_TIMES, "time_decision"), 0.0)
        self._costs = Costs()
        self._blend = BlendState()
        self._seen = {watch.name: SeenErrors() for watch in (*self.criteria, *self.watches)}
        self._came_trained = never_trains(training)
        self._needs_checkpoint = False
        self._drawn: tuple[str, float] | None = None
        self._unverified: Frame | None = None
        self._n_foreign = 0
        self._managed = isinstance(training, BackgroundTraining)
        self._published = Published()

    def __call__(
        self,
        x: Any,
        *,
        needs: Sequence[str] = (),
        by_target: bool = False,
        beyond: Mapping[str, float] | None = None,
    ) -> Results:
        """Results at `x`; one of the latest inputs again is no new call, and has the same answer.

        Parameters
        ----------
        x
        needs
            Names that the results must have.
        by_target
            Whether the target must answer.
        beyond
            Errors, by criterion, up to which the surrogate may answer all the same: where all of these criteria expect
            no more.

        Raises
        ------
        TargetError
            If the target fails, or returns what is not finite, after all retries.
        InputError
            If another call is running, or an earlier one broke off half-way.

        Warns
        -----
        NotWorthwhileWarning
            Once, if the target turns out to be cheaper than the surrogate; once, if nothing is trusted.
        """
        with self.guard.call():
            return self.answer(x, needs=needs, by_target=by_target, beyond=beyond)

    def foresee(self, x: Any) -> tuple[Results, dict[str, float]]:
        """What the surrogate says of `x`, and the error to expect there by criterion; this is no call.

        The results are empty where there is no model yet; a criterion that does not apply, or whose controller knows of
        no error per unit of uncertainty, is left out.  The caller holds the guard.
        """
        prediction, uncertainties = self._predict(x, trusted=True)
        if prediction is None:
            return {}, {}
        return prediction.results, self._expect(uncertainties, self._decide(uncertainties))

    def answer(
        self,
        x: Any,
        *,
        needs: Sequence[str] = (),
        by_target: bool = False,
        beyond: Mapping[str, float] | None = None,
    ) -> Results:
        """Do what `__call__` does, for one who holds the guard already."""
        identity, self.uncovered = self.identify(x), ()
        answer = self.memory.find(identity)
        if answer is not None and not (by_target and answer.decision is Decision.SURROGATE):
            results = self._recall(x, answer)
            if all(name in results for name in needs):
                self.memory.add(identity, Answer(x, answer.decision, results))
                self._last_input, self.last_decision = identity, answer.decision
                return results
        results, complaints = self._answer(x, identity, needs, by_target=by_target, beyond=beyond)
        if self.when_not_worthwhile != "ignore":
            for complaint in complaints:
                warnings.warn(complaint, NotWorthwhileWarning, stacklevel=2)
        return results

    def _recall(self, x: Any, answer: Answer) -> Results:
        """Results of a remembered answer; those of the surrogate were not stored when the run was resumed."""
        if answer.results is not None:
            return answer.results
        predicted = self.surrogate.predict(x).results
        if answer.decision is Decision.SURROGATE:
            return predicted
        return mix(self.store.frames[-1].results, predicted, self._blend.share)

    def _answer(
        self,
        x: Any,
        identity: str,
        needs: Sequence[str],
        *,
        by_target: bool,
        beyond: Mapping[str, float] | None,
    ) -> tuple[Results, list[str]]:
        """Decide, ask who has to answer, and write down the call: all is known before anything is written."""
        start, before = self.clock(), dict(self._times)
        self._drop_number(identity)
        self._learn_from_others(x)
        prediction, uncertainties = self._predict(x, trusted=False)
        verdicts = self._decide(uncertainties)
        if self._agree(verdicts) and self._is_due(trusted=True):
            prediction, uncertainties = self._predict(x, trusted=True)
            verdicts = self._decide(uncertainties)
        if by_target and beyond:
            expected = self._expect(uncertainties, verdicts)
            by_target = not all(expected.get(name, math.inf) <= limit for name, limit in beyond.items())
        distance = self._distance(x)
        row = self._describe(identity, uncertainties, verdicts, distance)
        trusted = prediction is not None and self._agree(verdicts)
        answer = self._covered(prediction, uncertainties)
        if trusted:
            self.uncovered = tuple(name for name in needs if name not in answer)
            by_target = by_target or bool(self.uncovered)
            by_target = by_target or bool(self.forces_target and self.forces_target(x, self.memory.inputs))
        trusted = trusted and not by_target
        probability, decision = 1.0, Decision.TARGET
        blend, weight = self._blend, 1.0
        if trusted and prediction is not None:
            probability = self._audit_probability(prediction, verdicts)
            if any(verdict is not None and distance > verdict.reach for verdict in verdicts):
                probability = 1.0
        if self.blending is not None:
            ratio = math.inf if by_target else largest_ratio(uncertainties, verdicts)
            blend = self.blending.advance(self._blend, trusted=trusted, ratio=ratio)
            trusted, weight = blend.share > 0, blend.share or 1.0
            if not trusted or self.blending.is_ramp(self._blend, blend):
                probability = 1.0
        if trusted:
            if self._drawn is None:  # else left from a call on which the target failed: it is the same call
                self._drawn = identity, float(self.rng.random())
            decision = Decision.AUDIT if self._drawn[1] < probability else Decision.SURROGATE
        errors: dict[str, float | None] = dict.fromkeys(self._seen)
        if decision is Decision.SURROGATE:
            if self._unverified is not None:
                self._verify(self._unverified)
            results = answer
            blend = settle(self._blend, blend, math.nan)
        else:
            results = exact = self._run_target(x)
            if prediction is not None:
                errors = self._measure(x, exact, prediction.results, weight)
                if blend.share:
                    results = mix(exact, answer, blend.share)
            blend = replace(
                settle(self._blend, blend, energy_gap(exact, prediction)), frame_energy=energy_of(prediction)
            )
        states = self._observe(
            [u and weight * u for u in uncertainties],
            [errors[c.name] for c in self.criteria],
            trusted=trusted,
            probability=probability,
            distance=distance,
        )
        row.update(
            {self._column("error", watch): errors[watch.name] for watch in (*self.criteria, *self.watches)},
            decision=decision.value,
            audit_probability=probability,
        )
        if self.blending is not None:
            row["share"] = blend.share
        with self.guard.unbroken(f"call {row['step']} was written down"):
            if decision is not Decision.SURROGATE:
                self._keep(Frame(x, exact, self._counts["n_calls"]), row)
            self.states, self._blend = states, blend
            self._seen = {name: count_error(seen, errors[name]) for name, seen in self._seen.items()}
            self.last_decision, self._last_input = decision, identity
            self.memory.add(identity, Answer(x, decision, results))
            return results, self._finish(decision, row, before, start)

    def _learn_from_others(self, x: Any) -> None:
        """Take the frames of other walkers: they are no calls and no evidence of this one."""
        with self.guard.unbroken("frames of other walkers were taken"):
            for frame in self.store.foreign(x):
                if self.training.before_answer:
                    for uncertainty in self._uncertainties:
                        uncertainty.extend([frame])
                self._n_foreign += 1
                self._needs_checkpoint = True

    def _drop_number(self, identity: str) -> None:
        """Forget the random number of an audit on which the target failed, where another input comes next.

        It was small enough for an audit, and would ask for one there with more than its probability.
        """
        if self._drawn is not None and self._drawn[0] != identity:
            self._drawn = None
            self.checkpoint()  # no row tells a resume that the number was drawn

    def _measure(self, x: Any, target: Results, surrogate: Results, weight: float) -> dict[str, float | None]:
        """Errors of all criteria and watches, times the share that the surrogate has in the answer."""
        errors = {
            watch.name: watch.measure(x, target, surrogate) for watch in (*self.criteria, *self.watches)
        }
        return {name: error and weight * error for name, error in errors.items()}

    def _predict(self, x: Any, *, trusted: bool) -> tuple[Prediction | None, Numbers]:
        """Prediction and uncertainties at `x`, of a surrogate brought up to date where that is due."""
        if self._managed and not trusted:
            self._take_published()
        if self._is_due(trusted=trusted or self.surrogate.incremental):
            with self.guard.unbroken("the surrogate was trained"):
                self._train()
        nothing: Numbers = [math.nan] * len(self.criteria)
        if self._counts["n_trained"] < self.surrogate.min_frames and not self._came_trained:
            return None, nothing
        start = self.clock()
        prediction = self.surrogate.predict(x)
        predicted = self.clock()
        finite = all(np.isfinite(value).all() for value in prediction.results.values())
        uncertainties: Numbers = nothing
        if finite:
            uncertainties = [criterion.foresee(x, prediction) for criterion in self.criteria]
        self._times["time_surrogate"] += predicted - start
        self._times["time_uncertainty"] += self.clock() - predicted
        return prediction, uncertainties

    def _covered(self, prediction: Prediction | None, uncertainties: Numbers) -> Results:
        """What the surrogate may answer: the properties that a criterion covers which applies here."""
        if prediction is None:
            return {}
        covered = {
            name
            for criterion, uncertainty in zip(self.criteria, uncertainties, strict=True)
            if uncertainty is not None
            for name in (criterion.property, *criterion.covers)
        }
        everything = None in covered
        return {name: value for name, value in prediction.results.items() if everything or name in covered}

    def _decide(self, uncertainties: Numbers) -> list[Verdict | None]:
        """Verdict of each criterion; None where it does not apply."""
        return [
            None if uncertainty is None else criterion.controller.decide(state, uncertainty)
            for criterion, state, uncertainty in zip(self.criteria, self.states, uncertainties, strict=True)
        ]

    def _expect(self, uncertainties: Numbers, verdicts: Sequence[Verdict | None]) -> dict[str, float]:
        """Error to expect, by criterion, where it is known."""
        expected = {
            criterion.name: verdict.alpha * uncertainty
            for criterion, uncertainty, verdict in zip(self.criteria, uncertainties, verdicts, strict=True)
            if uncertainty is not None and verdict is not None
        }
        return {name: error for name, error in expected.items() if math.isfinite(error)}

    def _agree(self, verdicts: Sequence[Verdict | None]) -> bool:
        """Whether all criteria that apply trust the surrogate, and one at least applies."""
        given = [verdict.trusts for verdict in verdicts if verdict is not None]
        return bool(given) and all(given)

    def _audit_probability(self, prediction: Prediction, verdicts: Sequence[Verdict | None]) -> float:
        """What the strictest asks of those whose errors would tell something: none that is zero by symmetry does."""
        pairs = [
            (c, v.audit_probability) for c, v in zip(self.criteria, verdicts, strict=True) if v is not None
        ]
        telling = [p for criterion, p in pairs if not criterion.vanishes(prediction.results)]
        return max(telling or [p for _, p in pairs])

    def _observe(
        self,
        uncertainties: Numbers,
        errors: Numbers,
        *,
        trusted: bool,
        probability: float,
        distance: float,
    ) -> list[Any]:
        """States of the controllers after a call; those that it does not concern stay as they are."""
        version = self._counts["model_version"]
        return [
            state
            if uncertainty is None
            else criterion.controller.observe(
                state, Observation(uncertainty, trusted, error, probability, version, distance)
            )
            for criterion, state, uncertainty, error in zip(
                self.criteria, self.states, uncertainties, errors, strict=True
            )
        ]

    def _distance(self, x: Any) -> float:
        """How far `x` lies from the latest stored frames; NaN where that is not known."""
        frames = self.store.frames[-COMPARED:]
        return math.nan if self.distance is None else self.distance(x, [frame.x for frame in frames])

    @property
    def _uncertainties(self) -> list[Uncertainty]:
        """Each once, though it may serve several criteria."""
        return list(
            {id(criterion.uncertainty): criterion.uncertainty for criterion in self.criteria}.values()
        )

    def _is_due(self, *, trusted: bool) -> bool:
        n_frames = len(self.store.frames)
        if self.blending is not None and 0 < self._blend.phase < self.blending.n_steps:
            return False  # a ramp leads from one function to one other
        return n_frames >= max(self.surrogate.min_frames, 1) and self.training.due(
            n_frames=n_frames, n_trained=self._counts["n_trained"], trusted=trusted
        )

    def _take_published(self) -> None:
        """Go over to a version that was trained beside the simulation: a new one, as after a training here."""
        found = self.store.published(self._published.number)
        if found is None:
            return
        number, first, last, folder = found
        with self.guard.unbroken(f"version {number} of the manager was taken"):
            start, frames = self.clock(), self.store.frames[first:last]
            self.surrogate.load(folder, frames)
            self._published = replace(self._published, number=number, first=first)
            self._new_version(frames, last, start)

    def _train(self) -> None:
        start = self.clock()
        self.surrogate.fit(self.store.frames)
        self._new_version(self.store.frames, len(self.store.frames), start)

    def _new_version(self, frames: Sequence[Frame], n_trained: int, start: float) -> None:
        """Bring all that depends on the model up to it; it was fitted to `frames`."""
        for uncertainty in self._uncertainties:
            uncertainty.fit(frames)
        self._counts["n_trained"] = n_trained
        self._counts["model_version"] += 1
        if self._blend.share:
            again = self.surrogate.predict(self.store.frames[-1].x)
            self._blend = retrained(self._blend, energy_of(again))
        self._times["time_training"] += self.clock() - start
        self.store.save_model(self._counts["model_version"], self.surrogate)
        self._needs_checkpoint = True

    def _run_target(self, x: Any) -> Results:
        """Results of the target, retried when it fails; from the store where they were paid for already."""
        step = self._counts["n_calls"]
        known = self.store.known(step, x)
        return self._ask_target(x, step) if known is None else known

    def _ask_target(self, x: Any, step: int) -> Results:
        start, cause = self.clock(), None
        for _ in range(self.retries + 1):
            try:
                results = self.target(x)
            except (InputError, NotImplementedError):
                raise
            except (Exception, SystemExit) as error:  # foreign code: whatever it raises, the input is saved
                cause, problem = error, " ".join(f"{type(error).__name__}: {error}".split())
                continue
            wrong = [name for name, value in results.items() if not np.isfinite(value).all()]
            if not wrong:
                self._times["time_target"] += self.clock() - start
                return results
            cause, problem = None, f"{', '.join(wrong)} not finite"
        place = self.store.save_failed(step, x)
        raise TargetError(
            f"the target failed at call {step}, {self.retries + 1} times ({problem}): the structure is in {place}"
        ) from cause

    def _verify(self, frame: Frame) -> None:
        """Let the target repeat a frame of the process before, before the surrogate answers in its place.

        Raises
        ------
        RunDirectoryError
            If it gives something else by more than a share of an error bound.
        """
        results = self._ask_target(frame.x, self._counts["n_calls"])
        for criterion in self.criteria:
            error = criterion.measure(frame.x, frame.results, results)
            if error is not None and error > REPEATED_WITHIN * criterion.bound:
                what = criterion.property or "answer"
                other = "other" if is_plural(what) else "another"
                raise RunDirectoryError(
                    f"the target gives {other} {what} than the run has stored for call {frame.step}, off by "
                    f"{error:.3g} (allowed: {REPEATED_WITHIN * criterion.bound:.3g}): resume with the same target, or "
                    "choose another run directory"
                )
        self._unverified = None

    def _keep(self, frame: Frame, row: Mapping[str, Any]) -> None:
        self.store.append(frame, row)
        if self._managed:
            self._published = replace(self._published, has_manager=self.store.is_managed)
        if self.training.before_answer:
            for uncertainty in self._uncertainties:
                uncertainty.extend(self.store.frames[-1:])
        self._needs_checkpoint = True

    def _finish(
        self, decision: Decision, row: dict[str, Any], before: dict[str, float], start: float
    ) -> list[str]:
        """Count the call, write its row and, where a resume could not derive it, the state.

        Returns what shows for the first time: that the target is cheaper, that nothing is trusted.
        """
        self._drawn = None
        self._counts["n_calls"] += 1
        self._counts[f"n_{decision.value}"] += 1
        spent = {name: self._times[name] - before[name] for name in _TIMES}
        others = sum(spent.values())
        spent["time_decision"] = self.clock() - start - others
        complained = self._costs.complaint
        self._costs = add_call(self._costs, decision, row["audit_probability"], spent)
        complaints = []
        if self._costs.complaint is not None and self._costs.complaint is not complained:
            complaints.append(self._costs.complaint)
        if self._counts["n_calls"] == FAIR_NUMBER:
            complaints += self._distrust()
        self.store.log({**row, **spent})
        if self._needs_checkpoint or complaints:
            self.checkpoint()
        self._times["time_decision"] += self.clock() - start - others
        return complaints

    def _distrust(self) -> list[str]:
        """Say of each bound what can be reached, where nothing was trusted after a fair number of calls."""
        if self._counts["n_calls"] < FAIR_NUMBER or self._costs.n_trusted:
            return []
        seen = self._errors_seen(self.criteria)
        bounds = {c.name: c.bound for c in self.criteria if c.name in seen and math.isfinite(c.bound)}
        return [complain_of_distrust(self._counts["n_calls"], bounds, seen)] if bounds else []

    def _errors_seen(self, watched: Sequence[Watch]) -> dict[str, ErrorsSeen]:
        """Errors of each metric that were seen at all."""
        return {w.name: summarise_errors(self._seen[w.name]) for w in watched if self._seen[w.name].n}

    def _column(self, what: str, watch: Watch) -> str:
        """Name of a column: the plain one where the user set one bound, else with the name of the metric."""
        own = [criterion for criterion in self.criteria if not criterion.implied]
        return what if len(own) == 1 and watch is own[0] else f"{what}_{watch.name}"

    def _tags(self, what: str, values: Sequence[Any]) -> dict[str, Any]:
        """Columns of one value a criterion."""
        return {
            self._column(what, criterion): value
            for criterion, value in zip(self.criteria, values, strict=True)
        }

    def _describe(
        self, identity: str, uncertainties: Numbers, verdicts: Sequence[Verdict | None], distance: float
    ) -> dict[str, Any]:
        """Everything that the decision rests on, as it was before the call."""
        return {
            "step": self._counts["n_calls"],
            "structure": identity,
            "model_version": self._counts["model_version"],
            "n_trained": self._counts["n_trained"],
            "distance": distance,
            **self._tags("uncertainty", uncertainties),
            **self._tags("threshold", [verdict and verdict.threshold for verdict in verdicts]),
            **self._tags("alpha", [verdict and verdict.alpha for verdict in verdicts]),
        }

    @property
    def switch_work(self) -> float:
        """What the switches have added to the energy, in eV; NaN without blending."""
        return math.nan if self.blending is None else self._blend.work

    @property
    def stats(self) -> Stats:
        """Where the calls and the time went, and the error estimates."""
        verdicts = self._decide([math.nan] * len(self.criteria))
        reports = {
            criterion.name: criterion.controller.report(state)
            for criterion, state in zip(self.criteria, self.states, strict=True)
        }
        own = [criterion.name for criterion in self.criteria if not criterion.implied]
        thresholds = {
            c.name: v.threshold for c, v in zip(self.criteria, verdicts, strict=True) if v is not None
        }

        def value(values: Mapping[str, float]) -> Any:
            return values[own[0]] if len(own) == 1 else {name: values[name] for name in own}

        notes = [f"{name}: {note}" for name, report in reports.items() for note in report["notes"]]
        notes += getattr(self.surrogate, "notes", ())
        if self._managed and self._published.has_manager is False:
            version = f"version {self._published.number}" if self._published.number else "no model"
            notes.append(
                f"no manager is training: the run goes on with {version}; start one with proxima manage"
            )
        if self._blend.n_unknown:
            notes.append(f"the work of {self._blend.n_unknown} switches is not known: switch_work lacks it")
        if self.when_not_worthwhile != "ignore":
            notes += [self._costs.complaint] if self._costs.complaint else []
            notes += self._distrust()
        numbers: dict[str, Any] = {**self._counts, **self._times}
        del numbers["n_trained"]
        return Stats(
            **numbers,
            error_estimate=value({name: report["error_estimate"] for name, report in reports.items()}),
            error_estimate_se=value({name: report["error_estimate_se"] for name, report in reports.items()}),
            error_upper=value({name: report["error_upper"] for name, report in reports.items()}),
            threshold=value(thresholds),
            n_frames=len(self.store.frames),
            n_foreign=self._n_foreign,
            n_switches=self._blend.n_switches,
            switch_work=self.switch_work,
            speedup_present=present_speedup(self._costs),
            speedup_long_run=long_run_speedup(self._costs),
            errors_seen=self._errors_seen((*self.criteria, *self.watches)),
            notes=tuple(dict.fromkeys(notes)),
        )

    def checkpoint(self) -> None:
        """Write the state from which `restore` goes on."""
        self.store.save_state(
            {
                "counts": dict(self._counts),
                "times": dict(self._times),
                "n_frames": len(self.store.frames),
                "rng": self.rng.bit_generator.state,
                "costs": state_to_json(self._costs),
                "blend": state_to_json(self._blend),
                "controllers": [state_to_json(state) for state in self.states],
                "errors_seen": {name: state_to_json(seen) for name, seen in self._seen.items()},
                "published": state_to_json(self._published),
                "last_input": self._last_input,
                "last_decision": self.last_decision.value if self.last_decision else None,
            }
        )
        self._needs_checkpoint = False

    def restore(self, state: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
        """Go back to a checkpoint, then through the calls after it, which left no frame.

        Parameters
        ----------
        state
            What `checkpoint` wrote; the surrogate and the store are already as they were then.
        rows
            Rows of the calls since, all of them answered by the surrogate of that time.
        """
        frames, n_trained = self.store.frames, state["counts"]["n_trained"]
        self._n_foreign = sum(frame.step < 0 for frame in frames)
        self._published = state_from_json(Published(), state.get("published", {}))
        for uncertainty in self._uncertainties:
            if n_trained:
                uncertainty.fit(frames[self._published.first : n_trained])
            if self.training.before_answer:
                for frame in frames[n_trained:]:  # one by one, as they came
                    uncertainty.extend([frame])
        self._unverified = frames[-1] if frames else None
        self._counts, self._times = dict(state["counts"]), dict(state["times"])
        self.rng.bit_generator.state = state["rng"]
        self.states = [
            state_from_json(criterion.controller.init(), saved)
            for criterion, saved in zip(self.criteria, state["controllers"], strict=True)
        ]
        self._seen = {name: state_from_json(SeenErrors(), state["errors_seen"][name]) for name in self._seen}
        self._costs = state_from_json(Costs(), state["costs"])
        self._blend = state_from_json(BlendState(), state["blend"])
        self._last_input = state["last_input"]
        self.last_decision = Decision(state["last_decision"]) if state["last_decision"] else None
        for frame in frames[-REMEMBERED:]:
            if frame.step >= self._counts["n_calls"] + len(rows) - REMEMBERED:
                self.memory.add(self.identify(frame.x), Answer(frame.x, Decision.TARGET, frame.results))
        if self.last_decision is Decision.SURROGATE:
            self.memory.add(self._last_input, Answer(None, self.last_decision, None))
        elif self.last_decision is not None:
            kept = None if self._blend.share else frames[-1].results
            self.memory.add(self._last_input, Answer(frames[-1].x, self.last_decision, kept))
        for row in rows:
            probability = float(row["audit_probability"])
            columns = [row[self._column("uncertainty", criterion)] for criterion in self.criteria]
            uncertainties = [float(text) if text else None for text in columns]
            self.rng.random()
            self.states = self._observe(
                uncertainties,
                [None] * len(self.criteria),
                trusted=True,
                probability=probability,
                distance=float(row["distance"]),
            )
            self._counts["n_calls"] += 1
            self._counts["n_surrogate"] += 1
            spent = {name: float(row[name]) for name in self._times}
            for name, seconds in spent.items():
                self._times[name] += seconds
            self._costs = add_call(self._costs, Decision.SURROGATE, probability, spent)
            self._blend = settle(self._blend, self._blend, math.nan)
            self._last_input, self.last_decision = str(row["structure"]), Decision.SURROGATE
            self.memory.add(self._last_input, Answer(None, Decision.SURROGATE, None))
