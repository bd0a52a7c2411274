"""The loop: predict, measure, decide, run the target where needed, observe, train where due."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ase_proxima.errors import NotWorthwhileWarning
from ase_proxima.executor.accounts import Accounts
from ase_proxima.executor.assessment import Assessment, Numbers, column_names, report
from ase_proxima.executor.blending import (
    Blending,
    BlendState,
    energy_gap,
    energy_of,
    mix,
    retrained,
    settle,
)
from ase_proxima.executor.checked_target import CheckedTarget
from ase_proxima.executor.criteria import Criterion, SeenErrors, Watch
from ase_proxima.executor.guard import Guard
from ase_proxima.executor.memory import REMEMBERED, Answer, Memory
from ase_proxima.executor.model import Model
from ase_proxima.protocols import FrameStore, Surrogate, TrainingPolicy
from ase_proxima.types import Decision, Frame, Observation, Prediction, Results, Stats
from ase_proxima.types.identity import fingerprint
from ase_proxima.types.serialisation import state_from_json, state_to_json

__all__ = ["Executor"]

COMPARED = 20
"""Latest stored frames with which an input is compared."""


@dataclass(frozen=True)
class Call:
    """What is asked for; see `Executor.__call__`."""

    x: Any
    identity: str
    needs: Sequence[str]
    limits: Mapping[str, float] | None


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
        Held by whoever calls, for each call.
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
        self.criteria = tuple(criteria)
        self.store = store
        self.distance = distance
        self.forces_target = forces_target
        self.when_not_worthwhile = when_not_worthwhile
        self.blending = blending
        self.rng = np.random.default_rng(seed)
        self.states: list[Any] = [criterion.controller.init() for criterion in self.criteria]
        self.last_decision: Decision | None = None
        self.memory = Memory()
        self.uncovered: tuple[str, ...] = ()
        """What was asked for at the latest call that the surrogate might not answer as no criterion covers it."""
        self.guard = Guard(store.owner) if guard is None else guard
        self.model = Model(surrogate, self.criteria, training, store)
        self._watched = (*self.criteria, *watches)
        self._columns = column_names(self.criteria, watches)
        self._accounts = Accounts(
            clock, {c.name: c.bound for c in self.criteria}, {w.name: SeenErrors() for w in self._watched}
        )
        self._target = CheckedTarget(target, store, retries, self._accounts.timed)
        self._last_input = ""
        self._blend = BlendState()
        self._needs_checkpoint = False
        self._drawn: tuple[str, float] | None = None

    def __call__(
        self, x: Any, *, needs: Sequence[str] = (), limits: Mapping[str, float] | None = None
    ) -> Results:
        """Results at `x`; one of the latest inputs again is no new call, and has the same answer.

        Parameters
        ----------
        x
        needs
            Names that the results must have.
        limits
            Errors, by criterion, up to which the surrogate may answer: where all of these criteria expect no more.
            With none in it the target must answer; by default the criteria alone decide.

        Raises
        ------
        TargetError
            If the target fails, or returns what is not finite, after all retries.

        Warns
        -----
        NotWorthwhileWarning
            Once, if the target turns out to be cheaper than the surrogate; once, if nothing is trusted.
        """
        call = Call(x, fingerprint(x), needs, limits)
        self.uncovered = ()
        remembered = self._recall(call)
        if remembered is not None:
            return remembered
        results, complaints = self._answer(call)
        if self.when_not_worthwhile != "ignore":
            for complaint in complaints:
                warnings.warn(complaint, NotWorthwhileWarning, stacklevel=2)
        return results

    def foresee(self, x: Any) -> tuple[Results, dict[str, float]]:
        """What the surrogate says of `x`, and the error to expect there by criterion; this is no call.

        The results are empty where there is no model yet; a criterion that does not apply, or whose controller knows of
        no error per unit of uncertainty, is left out.
        """
        version = self.model.version
        seen = self._assess(x, trusted=True)
        if self.model.version != version:
            self.checkpoint()
        return ({}, {}) if seen.prediction is None else (seen.prediction.results, seen.expected)

    def _recall(self, call: Call) -> Results | None:
        """Results that were given before, where they do for this call."""
        answer = self.memory.find(call.identity)
        if answer is None or (call.limits is not None and answer.decision is Decision.SURROGATE):
            return None
        results = answer.results
        if results is None:  # those of the surrogate were not stored when the run was resumed
            results = self.model.surrogate.predict(call.x).results
            if answer.decision is not Decision.SURROGATE:
                results = mix(self.store.frames[-1].results, results, self._blend.share)
        if not all(name in results for name in call.needs):
            return None
        self._remember(call.identity, Answer(call.x, answer.decision, results))
        return results

    def _remember(self, identity: str, answer: Answer) -> None:
        """Take an answer for the latest."""
        self.memory.add(identity, answer)
        self._last_input, self.last_decision = identity, answer.decision

    def _answer(self, call: Call) -> tuple[Results, list[str]]:
        """Decide, ask who has to answer, and write down the call: all is known before anything is written.

        Returns the results, and what shows for the first time: that the target is cheaper, that nothing is trusted.
        """
        accounts = self._accounts
        spent, step = accounts.begin(), accounts.counts["n_calls"]
        self._drop_number(call.identity)
        self._learn_from_others(call.x)
        seen = self._assess(call.x, trusted=False)
        if seen.agreed and self._is_due(trusted=True):
            seen = self._assess(call.x, trusted=True)
        distance = self._distance(call.x)
        decision, probability, blend = self._decide(call, seen, distance)
        weight = blend.share or 1.0
        errors: dict[str, float | None] = dict.fromkeys(accounts.seen)
        frame = None
        if decision is Decision.SURROGATE:
            self._target.verify(self.criteria, step)
            results = seen.answer
            blend = settle(self._blend, blend, math.nan)
        else:
            frame = Frame(call.x, self._target.run(call.x, step), step)
            results = frame.results
            if seen.prediction is not None:
                errors = self._measure(frame, seen.prediction, weight)
                if blend.share:
                    results = mix(frame.results, seen.answer, blend.share)
            gap = energy_gap(frame.results, seen.prediction)
            blend = replace(settle(self._blend, blend, gap), frame_energy=energy_of(seen.prediction))
        states = self._observe(
            [u and weight * u for u in seen.uncertainties],
            [errors[c.name] for c in self.criteria],
            trusted=decision is not Decision.TARGET,
            probability=probability,
            distance=distance,
        )
        row = {
            "step": step,
            "structure": call.identity,
            "model_version": self.model.version,
            "n_trained": self.model.n_trained,
            "distance": distance,
            **seen.columns(self._columns),
            **{f"error{end}": errors[name] for name, end in self._columns.items()},
            "decision": decision.value,
            "audit_probability": probability,
            **({} if self.blending is None else {"share": blend.share}),
        }
        with self.guard.unbroken(f"call {step} was written down"):
            if frame is not None:
                self._keep(frame, row)
            self.states, self._blend = states, blend
            self._remember(call.identity, Answer(call.x, decision, results))
            self._drawn = None
            times = spent()
            complaints = accounts.enter(decision, probability, times, errors)
            self.store.log({**row, **times})
            if self._needs_checkpoint or complaints:  # else a resume derives the state from the rows
                self.checkpoint()
            accounts.times["time_decision"] += spent()["time_decision"]
            return results, complaints

    def _drop_number(self, identity: str) -> None:
        """Forget the random number of an audit on which the target failed, where another input comes next.

        It was small enough for an audit, and would ask for one there with more than its probability.
        """
        if self._drawn is not None and self._drawn[0] != identity:
            self._drawn = None
            self.checkpoint()  # no row tells a resume that the number was drawn

    def _learn_from_others(self, x: Any) -> None:
        """Take the frames of other walkers: they are no calls and no evidence of this one."""
        with self.guard.unbroken("frames of other walkers were taken"):
            for frame in self.store.foreign(x):
                self.model.extend(frame)
                self._needs_checkpoint = True

    def _assess(self, x: Any, *, trusted: bool) -> Assessment:
        """What is to be thought of `x`, of a surrogate brought up to date where that is due."""
        published = None if trusted else self.model.published()
        if published is not None:
            self._renew(f"version {published[0]} of the manager was taken", published[1])
        if self._is_due(trusted=trusted or self.model.surrogate.incremental):
            self._renew("the surrogate was trained", self.model.train)
        prediction: Prediction | None = None
        uncertainties: Numbers = [math.nan] * len(self.criteria)
        if self.model.is_ready:
            with self._accounts.timed("time_surrogate"):
                prediction = self.model.surrogate.predict(x)
            with self._accounts.timed("time_uncertainty"):
                if all(np.isfinite(value).all() for value in prediction.results.values()):
                    uncertainties = [criterion.foresee(x, prediction) for criterion in self.criteria]
        verdicts = [
            None if uncertainty is None else criterion.controller.decide(state, uncertainty)
            for criterion, state, uncertainty in zip(self.criteria, self.states, uncertainties, strict=True)
        ]
        return Assessment(self.criteria, prediction, uncertainties, verdicts)

    def _is_due(self, *, trusted: bool) -> bool:
        if self.blending is not None and 0 < self._blend.phase < self.blending.n_steps:
            return False  # a ramp leads from one function to one other
        return self.model.is_due(trusted=trusted)

    def _renew(self, what: str, train: Callable[[], None]) -> None:
        """Go over to a new version of the model."""
        with self.guard.unbroken(what):
            with self._accounts.timed("time_training"):
                train()
                if self._blend.share:
                    again = self.model.surrogate.predict(self.store.frames[-1].x)
                    self._blend = retrained(self._blend, energy_of(again))
            self.store.save_model(self.model.version, self.model.surrogate)
            self._needs_checkpoint = True

    def _distance(self, x: Any) -> float:
        """How far `x` lies from the latest stored frames; NaN where that is not known."""
        frames = self.store.frames[-COMPARED:]
        return math.nan if self.distance is None else self.distance(x, [frame.x for frame in frames])

    def _decide(self, call: Call, seen: Assessment, distance: float) -> tuple[Decision, float, BlendState]:
        """Who answers, the probability with which the target runs, and the share of the surrogate in the answer."""
        trusted = seen.agreed and seen.prediction is not None
        refused = call.limits is not None and not (call.limits and seen.expects_within(call.limits))
        if trusted:
            self.uncovered = tuple(name for name in call.needs if name not in seen.answer)
            self._accounts.agreed = True
            self._accounts.uncovered.update(self.uncovered)
            refused = refused or bool(self.uncovered)
            refused = refused or bool(self.forces_target and self.forces_target(call.x, self.memory.inputs))
        trusted = trusted and not refused
        probability, blend = seen.audit_probability(distance) if trusted else 1.0, self._blend
        if self.blending is not None:
            ratio = math.inf if refused else seen.ratio
            blend = self.blending.advance(self._blend, trusted=trusted, ratio=ratio)
            trusted = blend.share > 0
            if not trusted or self.blending.is_ramp(self._blend, blend):
                probability = 1.0
        if not trusted:
            return Decision.TARGET, probability, blend
        if self._drawn is None:  # else left from a call on which the target failed: it is the same call
            self._drawn = call.identity, float(self.rng.random())
        return Decision.AUDIT if self._drawn[1] < probability else Decision.SURROGATE, probability, blend

    def _measure(self, frame: Frame, prediction: Prediction, weight: float) -> dict[str, float | None]:
        """Errors of all criteria and watches, times the share that the surrogate has in the answer."""
        errors = {
            watch.name: watch.measure(frame.x, frame.results, prediction.results) for watch in self._watched
        }
        return {name: error and weight * error for name, error in errors.items()}

    def _observe(
        self, uncertainties: Numbers, errors: Numbers, *, trusted: bool, probability: float, distance: float
    ) -> list[Any]:
        """States of the controllers after a call; those that it does not concern stay as they are."""
        version = self.model.version
        return [
            state
            if u is None
            else c.controller.observe(state, Observation(u, trusted, error, probability, version, distance))
            for c, state, u, error in zip(self.criteria, self.states, uncertainties, errors, strict=True)
        ]

    def _keep(self, frame: Frame, row: Mapping[str, Any]) -> None:
        self.store.append(frame, row)
        self.model.look_for_manager()
        self.model.extend(frame)
        self._needs_checkpoint = True

    @property
    def surrogate(self) -> Surrogate:
        """The surrogate in use."""
        return self.model.surrogate

    @property
    def switch_work(self) -> float:
        """What the switches have added to the energy, in eV; NaN without blending."""
        return math.nan if self.blending is None else self._blend.work

    @property
    def stats(self) -> Stats:
        """Where the calls and the time went, and the error estimates."""
        told = report(self.criteria, self.states)
        notes = [*told.pop("notes"), *self.model.notes]
        if self._blend.n_unknown:
            notes.append(f"the work of {self._blend.n_unknown} switches is not known: switch_work lacks it")
        if self.when_not_worthwhile != "ignore":
            notes += self._accounts.complaints
        return Stats(
            **told,
            **self._accounts.figures,
            model_version=self.model.version,
            n_frames=len(self.store.frames),
            n_foreign=sum(frame.step < 0 for frame in self.store.frames),
            n_switches=self._blend.n_switches,
            switch_work=self.switch_work,
            notes=tuple(dict.fromkeys(notes)),
        )

    def checkpoint(self) -> None:
        """Write the state from which `restore` goes on."""
        accounts = self._accounts.to_json()
        accounts["counts"] |= {"model_version": self.model.version, "n_trained": self.model.n_trained}
        self.store.save_state(
            {
                **accounts,
                "n_frames": len(self.store.frames),
                "rng": self.rng.bit_generator.state,
                "blend": state_to_json(self._blend),
                "controllers": [state_to_json(state) for state in self.states],
                "published": state_to_json(self.model.taken),
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
        frames, counts = self.store.frames, state["counts"]
        self.model.restore(counts["model_version"], counts["n_trained"], state["published"])
        self._accounts.restore(state)
        self._target.unverified = frames[-1] if frames else None
        self.rng.bit_generator.state = state["rng"]
        self.states = [
            state_from_json(criterion.controller.init(), saved)
            for criterion, saved in zip(self.criteria, state["controllers"], strict=True)
        ]
        self._blend = state_from_json(BlendState(), state["blend"])
        for frame in frames[-REMEMBERED:]:
            if frame.step >= counts["n_calls"] + len(rows) - REMEMBERED:
                self.memory.add(fingerprint(frame.x), Answer(frame.x, Decision.TARGET, frame.results))
        if state["last_decision"] is not None:
            decision = Decision(state["last_decision"])
            if decision is Decision.SURROGATE:
                answer = Answer(None, decision, None)
            else:
                kept = None if self._blend.share else frames[-1].results
                answer = Answer(frames[-1].x, decision, kept)
            self._remember(state["last_input"], answer)
        for row in rows:
            self._repeat(row)

    def _repeat(self, row: Mapping[str, Any]) -> None:
        """Go through a call again that the surrogate answered, by its row."""
        columns = [row[f"uncertainty{self._columns[criterion.name]}"] for criterion in self.criteria]
        probability = float(row["audit_probability"])
        self.rng.random()
        self.states = self._observe(
            [float(text) if text else None for text in columns],
            [None] * len(self.criteria),
            trusted=True,
            probability=probability,
            distance=float(row["distance"]),
        )
        times = self._accounts.times
        spent = {name: float(row[name]) for name in times}
        self._accounts.times = {name: times[name] + seconds for name, seconds in spent.items()}
        self._accounts.enter(Decision.SURROGATE, probability, spent, {})
        self._blend = settle(self._blend, self._blend, math.nan)
        self._remember(str(row["structure"]), Answer(None, Decision.SURROGATE, None))
