"""The loop: predict, measure, decide, run the target where needed, observe, train where due."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ase_proxima.blending import (
    Blending,
    BlendState,
    energy_gap,
    energy_of,
    largest_ratio,
    mix,
    retrained,
    settle,
)
from ase_proxima.costs import Costs, add_call, long_run_speedup, present_speedup
from ase_proxima.errors import InputError, NotWorthwhileWarning, TargetError
from ase_proxima.metrics import ErrorMetric, measure_error
from ase_proxima.protocols import Controller, FrameStore, Surrogate, TrainingPolicy, Uncertainty
from ase_proxima.runs.serialisation import state_from_json, state_to_json
from ase_proxima.training import NeverTraining
from ase_proxima.types import Decision, Frame, Observation, Prediction, Results, Stats, Verdict

__all__ = ["Criterion", "Executor"]

COMPARED = 20
"""Latest stored frames with which an input is compared where its error was seen."""
_TIMES = ("time_target", "time_surrogate", "time_uncertainty", "time_training")


@dataclass(frozen=True)
class Criterion:
    """One error bound: how the error is measured, foreseen and controlled.

    Attributes
    ----------
    name
        Name of the error metric.
    metric
        `metric(target_results, surrogate_results) -> float`.
    uncertainty, controller
        The parts that serve this bound.
    """

    name: str
    metric: ErrorMetric
    uncertainty: Uncertainty
    controller: Controller


class Executor:
    """Answers calls from the surrogate where it may be trusted, else from the target.

    Parameters
    ----------
    target : callable
        `target(x) -> results`.
    surrogate : Surrogate
    criteria : sequence of Criterion
        The surrogate is trusted where all of them agree.
    training : TrainingPolicy
    store : FrameStore
    identify : callable
        `identify(x) -> str`: equal for equal inputs, and hardly ever otherwise.
    compare : callable, optional
        `compare(x, known) -> float`: what an error seen at `x` is worth as evidence, beside those at the inputs
        `known`, latest last; by default each is worth 1.
    seed : int
        Seed of the generator that draws the audits.
    retries : int
        How often a failed target run is repeated.
    when_not_worthwhile : {"warn", "bypass", "ignore"}
        What to do where the target is cheaper than the surrogate: say so once; say so and ask only the target from
        then on; nothing.
    blending : Blending, optional
        How the answers pass from target to surrogate and back; None switches from one call to the next, and an audited
        call is then answered by the target.
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
        compare: Callable[[Any, Sequence[Any]], float] | None = None,
        seed: int = 0,
        retries: int = 1,
        when_not_worthwhile: str = "ignore",
        blending: Blending | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.target = target
        self.surrogate = surrogate
        self.criteria = tuple(criteria)
        self.training = training
        self.store = store
        self.identify = identify
        self.compare = compare
        self.retries = retries
        self.when_not_worthwhile = when_not_worthwhile
        self.blending = blending
        self._blend = BlendState()
        self.clock = clock
        self.rng = np.random.default_rng(seed)
        self.states: list[Any] = [criterion.controller.init() for criterion in self.criteria]
        self.last_decision: Decision | None = None
        self._last_input = ""
        self._last_results: Results | None = None
        self._counts = dict.fromkeys(
            ("n_calls", "n_target", "n_surrogate", "n_audit", "model_version", "n_trained"), 0
        )
        self._times = dict.fromkeys((*_TIMES, "time_decision"), 0.0)
        self._costs = Costs()
        self._came_trained = isinstance(training, NeverTraining)
        self._needs_checkpoint = False
        self._uniform: float | None = None

    def __call__(self, x: Any) -> Results:
        """Results at `x`; asking again for the input of the latest call decides nothing anew.

        Raises
        ------
        TargetError
            If the target fails, or returns what is not finite, after all retries.

        Warns
        -----
        NotWorthwhileWarning
            Once, if the target turns out to be cheaper than the surrogate.
        """
        identity = self.identify(x)
        if identity == self._last_input:
            if self._last_results is None:  # answered before the run was resumed, and not stored
                self._last_results = self._answer_again(x)
            return self._last_results
        start, before, bypassed = self.clock(), dict(self._times), self.bypassed
        nothing: list[float] = [float("nan")] * len(self.criteria)
        prediction, uncertainties = (None, nothing) if bypassed else self._predict(x, trusted=False)
        verdicts = self._decide(uncertainties)
        if all(verdict.trusts for verdict in verdicts) and self._is_due(trusted=True):
            prediction, uncertainties = self._predict(x, trusted=True)
            verdicts = self._decide(uncertainties)
        row = self._describe(identity, uncertainties, verdicts)
        trusted = all(verdict.trusts for verdict in verdicts)
        probability = max(verdict.audit_probability for verdict in verdicts)
        blend, weight = self._blend, 1.0
        if self.blending is not None:
            ratio = largest_ratio(uncertainties, verdicts)
            blend = self.blending.advance(self._blend, trusted=trusted, ratio=ratio)
            trusted, weight = blend.share > 0, blend.share or 1.0
            if not trusted or self.blending.is_ramp(self._blend, blend):
                probability = 1.0
        decision = Decision.TARGET
        if trusted:
            if self._uniform is None:  # else left from a call on which the target failed: it is the same call
                self._uniform = float(self.rng.random())
            decision = Decision.AUDIT if self._uniform < probability else Decision.SURROGATE
        errors: list[float | None] = [None] * len(self.criteria)
        if decision is Decision.SURROGATE:
            assert prediction is not None  # noqa: S101  trusted means that there is a finite uncertainty
            results = prediction.results
            self._blend = settle(self._blend, blend, math.nan)
        else:
            results = exact = self._run_target(x)
            if prediction is not None:
                errors = [
                    weight * measure_error(c.name, c.metric, exact, prediction.results) for c in self.criteria
                ]
                if self.blending is not None and blend.share:
                    results = mix(exact, prediction.results, blend.share)
            self._blend = settle(self._blend, blend, energy_gap(exact, prediction))
        if not bypassed:
            self._observe(
                [weight * u for u in uncertainties],
                errors,
                trusted=trusted,
                probability=probability,
                novelty=1.0 if decision is Decision.SURROGATE else self._novelty(x),
            )
        row.update(self._tags("error", errors), decision=decision.value, audit_probability=probability)
        if self.blending is not None:
            row["share"] = blend.share
        if decision is not Decision.SURROGATE and not bypassed:
            self._keep(Frame(x, exact, self._counts["n_calls"]), row)
            self._blend = replace(self._blend, frame_energy=energy_of(prediction))
        self.last_decision, self._last_input, self._last_results = decision, identity, results
        if self._finish(decision, row, before, start) and self.when_not_worthwhile != "ignore":
            warnings.warn(str(self._costs.complaint), NotWorthwhileWarning, stacklevel=2)
        return results

    def _answer_again(self, x: Any) -> Results:
        """The latest answer, which an earlier process gave and did not store."""
        if self.last_decision is Decision.SURROGATE:
            return self.surrogate.predict(x).results
        if self.bypassed:
            return self._run_target(x)
        return mix(self.store.frames[-1].results, self.surrogate.predict(x).results, self._blend.share)

    @property
    def bypassed(self) -> bool:
        """Whether the target is asked on every call, as it is cheaper than the surrogate."""
        return self.when_not_worthwhile == "bypass" and self._costs.complaint is not None

    def _predict(self, x: Any, *, trusted: bool) -> tuple[Prediction | None, list[float]]:
        """Prediction and uncertainties at `x`, of a surrogate brought up to date where that is due."""
        if self._is_due(trusted=trusted or self.surrogate.incremental):
            self._train()
        nothing = [float("nan")] * len(self.criteria)
        if self._counts["n_trained"] < self.surrogate.min_frames and not self._came_trained:
            return None, nothing
        start = self.clock()
        prediction = self.surrogate.predict(x)
        predicted = self.clock()
        finite = all(np.isfinite(value).all() for value in prediction.results.values())
        uncertainties = (
            [criterion.uncertainty.measure(x, prediction) for criterion in self.criteria]
            if finite
            else nothing
        )
        self._times["time_surrogate"] += predicted - start
        self._times["time_uncertainty"] += self.clock() - predicted
        return prediction, uncertainties

    def _decide(self, uncertainties: Sequence[float]) -> list[Verdict]:
        """Verdict of each criterion: the surrogate is trusted where all agree, audited as the strictest asks."""
        return [
            criterion.controller.decide(state, uncertainty)
            for criterion, state, uncertainty in zip(self.criteria, self.states, uncertainties, strict=True)
        ]

    def _observe(
        self,
        uncertainties: list[float],
        errors: list[float | None],
        *,
        trusted: bool,
        probability: float,
        novelty: float = 1.0,
    ) -> None:
        version = self._counts["model_version"]
        self.states = [
            criterion.controller.observe(
                state, Observation(uncertainty, trusted, error, probability, version, novelty)
            )
            for criterion, state, uncertainty, error in zip(
                self.criteria, self.states, uncertainties, errors, strict=True
            )
        ]

    def _novelty(self, x: Any) -> float:
        """What an error at `x` is worth beside those at the latest stored frames."""
        if self.compare is None:
            return 1.0
        return self.compare(x, [frame.x for frame in self.store.frames[-COMPARED:]])

    def _is_due(self, *, trusted: bool) -> bool:
        n_frames = len(self.store.frames)
        if self.blending is not None and 0 < self._blend.phase < self.blending.n_steps:
            return False  # a ramp leads from one function to one other
        return n_frames >= max(self.surrogate.min_frames, 1) and self.training.due(
            n_frames=n_frames, n_trained=self._counts["n_trained"], trusted=trusted
        )

    def _train(self) -> None:
        start = self.clock()
        self.surrogate.fit(self.store.frames)
        for criterion in self.criteria:
            criterion.uncertainty.fit(self.store.frames)
        self._counts["n_trained"] = len(self.store.frames)
        self._counts["model_version"] += 1
        if self.blending is not None and self._blend.share:
            again = self.surrogate.predict(self.store.frames[-1].x)
            self._blend = retrained(self._blend, energy_of(again))
        self._times["time_training"] += self.clock() - start
        self.store.save_model(self._counts["model_version"], self.surrogate)
        self._needs_checkpoint = True

    def _run_target(self, x: Any) -> Results:
        """Results of the target, retried when it fails; from the store where they were paid for already."""
        step = self._counts["n_calls"]
        known = self.store.known(step, x)
        if known is not None:
            return known
        start, cause = self.clock(), None
        for _ in range(self.retries + 1):
            try:
                results = self.target(x)
            except (InputError, NotImplementedError):
                raise
            except (
                Exception
            ) as error:  # the target is foreign code: whatever it raises, the structure is saved
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

    def _keep(self, frame: Frame, row: Mapping[str, Any]) -> None:
        self.store.append(frame, row)
        if self.training.before_answer:
            for criterion in self.criteria:
                criterion.uncertainty.extend(self.store.frames[-1:])
        self._needs_checkpoint = True

    def _finish(
        self, decision: Decision, row: dict[str, Any], before: dict[str, float], start: float
    ) -> bool:
        """Count the call, write its row and, where a resume could not derive it, the state.

        Returns whether it shows for the first time that the target is cheaper than the surrogate.
        """
        self._uniform = None
        self._counts["n_calls"] += 1
        self._counts[f"n_{decision.value}"] += 1
        spent = {name: self._times[name] - before[name] for name in _TIMES}
        others = sum(spent.values())
        spent["time_decision"] = self.clock() - start - others
        complained = self._costs.complaint
        self._costs = add_call(self._costs, decision, row["audit_probability"], spent)
        turned = self._costs.complaint is not complained
        self.store.log({**row, **spent})
        if self._needs_checkpoint or turned:
            self.checkpoint()
        self._times["time_decision"] += self.clock() - start - others
        return turned

    def _tags(self, name: str, values: Sequence[Any]) -> dict[str, Any]:
        """Columns of one value a criterion: plain names for one, `name_metric` for several."""
        if len(self.criteria) == 1:
            return {name: values[0]}
        return {
            f"{name}_{criterion.name}": value for criterion, value in zip(self.criteria, values, strict=True)
        }

    def _describe(
        self, identity: str, uncertainties: list[float], verdicts: Sequence[Verdict]
    ) -> dict[str, Any]:
        """Everything that the decision rests on, as it was before the call."""
        return {
            "step": self._counts["n_calls"],
            "structure": identity,
            "model_version": self._counts["model_version"],
            "n_trained": self._counts["n_trained"],
            **self._tags("uncertainty", uncertainties),
            **self._tags("threshold", [verdict.threshold for verdict in verdicts]),
            **self._tags("alpha", [verdict.alpha for verdict in verdicts]),
        }

    @property
    def stats(self) -> Stats:
        """Where the calls and the time went, and the error estimates."""
        reports = [
            criterion.controller.report(state)
            for criterion, state in zip(self.criteria, self.states, strict=True)
        ]
        thresholds = [verdict.threshold for verdict in self._decide([math.nan] * len(self.criteria))]

        def value(values: list[float]) -> Any:
            names = [criterion.name for criterion in self.criteria]
            return values[0] if len(values) == 1 else dict(zip(names, values, strict=True))

        notes = [
            f"{criterion.name}: {note}"
            for criterion, report in zip(self.criteria, reports, strict=True)
            for note in report["notes"]
        ]
        if self._blend.n_unknown:
            notes.append(f"the work of {self._blend.n_unknown} switches is not known: switch_work lacks it")
        if self._costs.complaint and self.when_not_worthwhile != "ignore":
            notes.append(self._costs.complaint)
        numbers: dict[str, Any] = {**self._counts, **self._times}
        del numbers["n_trained"]
        return Stats(
            **numbers,
            error_estimate=value([report["error_estimate"] for report in reports]),
            error_estimate_se=value([report["error_estimate_se"] for report in reports]),
            error_upper=value([report["error_upper"] for report in reports]),
            threshold=value(thresholds),
            n_frames=len(self.store.frames),
            n_switches=self._blend.n_switches,
            switch_work=self._blend.work if self.blending is not None else math.nan,
            speedup_present=present_speedup(self._costs),
            speedup_long_run=long_run_speedup(self._costs),
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
                "bypassed": self.bypassed,
                "blend": state_to_json(self._blend),
                "controllers": [state_to_json(state) for state in self.states],
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
            Rows of the calls since, all of them answered by the surrogate of that time, or, if the surrogate was
            bypassed, by the target.
        """
        frames, n_trained = self.store.frames, state["counts"]["n_trained"]
        for criterion in self.criteria:
            if n_trained:
                criterion.uncertainty.fit(frames[:n_trained])
            if self.training.before_answer:
                for frame in frames[n_trained:]:  # one by one, as they came
                    criterion.uncertainty.extend([frame])
        self._counts, self._times = dict(state["counts"]), dict(state["times"])
        self.rng.bit_generator.state = state["rng"]
        self.states = [
            state_from_json(criterion.controller.init(), saved)
            for criterion, saved in zip(self.criteria, state["controllers"], strict=True)
        ]
        self._costs = state_from_json(Costs(), state["costs"])
        self._blend = state_from_json(BlendState(), state["blend"])
        self._last_input = state["last_input"]
        self.last_decision = Decision(state["last_decision"]) if state["last_decision"] else None
        if self.last_decision in (Decision.TARGET, Decision.AUDIT) and not self._blend.share:
            self._last_results = frames[-1].results
        nothing: list[float | None] = [None] * len(self.criteria)
        for row in rows:
            decision, probability = Decision(row["decision"]), float(row["audit_probability"])
            if decision is Decision.SURROGATE:
                uncertainties = [float(row[name]) for name in self._tags("uncertainty", nothing)]
                self.rng.random()
                self._observe(uncertainties, nothing, trusted=True, probability=probability)
            self._counts["n_calls"] += 1
            self._counts[f"n_{decision.value}"] += 1
            spent = {name: float(row[name]) for name in self._times}
            for name, seconds in spent.items():
                self._times[name] += seconds
            self._costs = add_call(self._costs, decision, probability, spent)
            self._last_input, self._last_results = str(row["structure"]), None
            self._blend = settle(self._blend, self._blend, math.nan)
            self.last_decision = decision
        if self.bypassed and not state["bypassed"]:  # the process ended before it could write that
            self.checkpoint()
