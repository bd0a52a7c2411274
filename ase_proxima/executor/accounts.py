"""Where the calls and the time of a run went, what they cost, and the errors that were seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ase_proxima.executor.costs import (
    FAIR_NUMBER,
    Costs,
    add_call,
    complain_of_distrust,
    long_run_speedup,
    present_speedup,
)
from ase_proxima.executor.criteria import SeenErrors, count_error, summarise_errors
from ase_proxima.types import Decision, ErrorsSeen
from ase_proxima.types.serialisation import state_from_json, state_to_json
from ase_proxima.types.words import is_plural

__all__ = ["Accounts"]

COUNTS = ("n_calls", "n_target", "n_surrogate", "n_audit")
PARTS = ("time_target", "time_surrogate", "time_uncertainty", "time_training")
"""What is timed by itself; everything else of a call is `time_decision`."""


@dataclass
class Accounts:
    """Counts, times, costs and errors of a run.

    Attributes
    ----------
    clock
        Seconds.
    bounds
        Of the errors that are held, by metric.
    seen
        Errors of all metrics that are held or watched.
    counts, times
        By the names that they have in `Stats`.
    costs
    agreed
        Whether the surrogate could have answered a call at least, as far as the criteria go.
    uncovered
        What the target had to answer, though the call was agreed on, as no bound covers it.
    """

    clock: Callable[[], float]
    bounds: Mapping[str, float]
    seen: dict[str, SeenErrors]
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    times: dict[str, float] = field(default_factory=lambda: dict.fromkeys((*PARTS, "time_decision"), 0.0))
    costs: Costs = field(default_factory=Costs)
    agreed: bool = False
    uncovered: set[str] = field(default_factory=set)

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Add the time of what is done within, if it comes to an end."""
        start = self.clock()
        yield
        self.times[what] += self.clock() - start

    def begin(self) -> Callable[[], dict[str, float]]:
        """Begin a call; return what tells the time that it has taken."""
        start, before = self.clock(), dict(self.times)

        def spent() -> dict[str, float]:
            parts = {name: self.times[name] - before[name] for name in PARTS}
            return {**parts, "time_decision": self.clock() - start - sum(parts.values())}

        return spent

    def enter(
        self,
        decision: Decision,
        probability: float,
        spent: Mapping[str, float],
        errors: Mapping[str, float | None],
    ) -> list[str]:
        """Count a call, with the times spent on it and the errors seen, by metric.

        Returns what shows for the first time: that the target is cheaper, that nothing is trusted.
        """
        self.seen = {name: count_error(seen, errors.get(name)) for name, seen in self.seen.items()}
        self.counts["n_calls"] += 1
        self.counts[f"n_{decision.value}"] += 1
        silent = self.costs.complaint is None
        self.costs = add_call(self.costs, decision, probability, spent)
        complaints = [self.costs.complaint] if self.costs.complaint and silent else []
        return complaints + (self._distrust() if self.counts["n_calls"] == FAIR_NUMBER else [])

    def _distrust(self) -> list[str]:
        """Say of each bound what can be reached, where nothing was trusted after a fair number of calls."""
        n_calls, seen = self.counts["n_calls"], self.errors_seen
        if n_calls < FAIR_NUMBER or self.costs.n_trusted:
            return []
        if self.uncovered:
            names = ", ".join(sorted(self.uncovered))
            were, them = ("were", "them") if len(self.uncovered) > 1 or is_plural(names) else ("was", "it")
            return [
                f"nothing was trusted in {n_calls} calls: no error bound covers {names}, which {were} asked for: "
                f"bound {them} as well"
            ]
        if self.agreed:
            return []  # the target was told to answer, which is nobody's fault
        bounds = {name: bound for name, bound in self.bounds.items() if name in seen and math.isfinite(bound)}
        return [complain_of_distrust(n_calls, bounds, seen)] if bounds else []

    @property
    def errors_seen(self) -> dict[str, ErrorsSeen]:
        """Errors of each metric that were seen at all."""
        return {name: summarise_errors(seen) for name, seen in self.seen.items() if seen.n}

    @property
    def complaints(self) -> list[str]:
        """That the target is cheaper, that nothing is trusted."""
        return [*([self.costs.complaint] if self.costs.complaint else []), *self._distrust()]

    @property
    def figures(self) -> dict[str, Any]:
        """What `Stats` tells of them."""
        return {
            **self.counts,
            **self.times,
            "speedup_present": present_speedup(self.costs),
            "speedup_long_run": long_run_speedup(self.costs),
            "errors_seen": self.errors_seen,
        }

    def to_json(self) -> dict[str, Any]:
        """JSON values for a checkpoint."""
        return {
            "counts": dict(self.counts),
            "times": dict(self.times),
            "costs": state_to_json(self.costs),
            "errors_seen": {name: state_to_json(seen) for name, seen in self.seen.items()},
            "agreed": self.agreed,
            "uncovered": sorted(self.uncovered),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to what `to_json` gave."""
        self.counts = {name: state["counts"][name] for name in COUNTS}
        self.times = dict(state["times"])
        self.costs = state_from_json(Costs(), state["costs"])
        self.seen = {name: state_from_json(SeenErrors(), state["errors_seen"][name]) for name in self.seen}
        self.agreed = bool(state.get("agreed", False))  # runs of before know nothing of these two
        self.uncovered = set(state.get("uncovered", ()))
