"""What the surrogate says of an input, and what the criteria make of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ase_proxima.executor.criteria import Criterion, Watch
from ase_proxima.types import Prediction, Results, Verdict

__all__ = ["Assessment", "Numbers", "column_names", "report"]

Numbers = Sequence[float | None]
"""One number a criterion; None where the criterion does not apply to the input, NaN where it is unknown."""


@dataclass(frozen=True)
class Assessment:
    """Verdicts of all criteria on one input.

    Attributes
    ----------
    criteria
    prediction
        What the surrogate says; None where there is no model yet.
    uncertainties
    verdicts
        One a criterion; None where it does not apply.
    """

    criteria: Sequence[Criterion]
    prediction: Prediction | None
    uncertainties: Numbers
    verdicts: Sequence[Verdict | None]

    @cached_property
    def given(self) -> list[tuple[Criterion, float, Verdict]]:
        """Criteria that apply, with uncertainty and verdict."""
        each = zip(self.criteria, self.uncertainties, self.verdicts, strict=True)
        return [(c, u, v) for c, u, v in each if u is not None and v is not None]

    @property
    def agreed(self) -> bool:
        """Whether all criteria that apply trust the surrogate, and one at least applies."""
        return bool(self.given) and all(verdict.trusts for _, _, verdict in self.given)

    @cached_property
    def answer(self) -> Results:
        """What the surrogate may answer: the properties that a criterion covers which applies here."""
        covered = {name for c, _, _ in self.given for name in (c.property, *c.covers)}
        results = self.prediction.results if self.prediction else {}
        return {name: value for name, value in results.items() if None in covered or name in covered}

    @property
    def expected(self) -> dict[str, float]:
        """Error to expect, by criterion, where it is known."""
        expected = {criterion.name: verdict.alpha * u for criterion, u, verdict in self.given}
        return {name: error for name, error in expected.items() if math.isfinite(error)}

    def expects_within(self, limits: Mapping[str, float]) -> bool:
        """Whether the error to expect is known, and no more than the limit, for each criterion that has one."""
        expected = self.expected
        return all(expected.get(name, math.inf) <= limit for name, limit in limits.items())

    def audit_probability(self, distance: float) -> float:
        """What the strictest asks of those whose errors would tell something: none that is zero by symmetry does.

        Where the `distance` from the inputs known is beyond the reach of one of them, the audit is certain.
        """
        if self.prediction is None or any(distance > verdict.reach for _, _, verdict in self.given):
            return 1.0
        results = self.prediction.results
        telling = [verdict for criterion, _, verdict in self.given if not criterion.vanishes(results)]
        return max(v.audit_probability for v in telling or [v for _, _, v in self.given])

    @property
    def ratio(self) -> float:
        """Uncertainty over threshold, the largest of all criteria that apply; NaN where one is unknown.

        Examples
        --------
        >>> Assessment(2 * [None], None, [0.2, 0.3], [Verdict(True, 0.02, 0.4), Verdict(False, 1.0, 0.2)]).ratio
        1.5
        """
        ratios = [
            u / verdict.threshold if verdict.threshold > 0 else math.inf for _, u, verdict in self.given
        ]
        return math.nan if any(map(math.isnan, ratios)) else max(ratios, default=math.nan)

    def columns(self, names: Mapping[str, str]) -> dict[str, Any]:
        """Everything that the decision rests on, for the row of the call; `names` are those of `column_names`."""
        verdicts = self.verdicts
        values = {
            "uncertainty": self.uncertainties,
            "threshold": [verdict and verdict.threshold for verdict in verdicts],
            "alpha": [verdict and verdict.alpha for verdict in verdicts],
        }
        return {
            what + names[criterion.name]: number
            for what, numbers in values.items()
            for criterion, number in zip(self.criteria, numbers, strict=True)
        }


def column_names(criteria: Sequence[Criterion], watches: Sequence[Watch]) -> dict[str, str]:
    """Ends of the names of columns, by metric: nothing where the user set one bound, else the metric."""
    own = [criterion for criterion in criteria if not criterion.implied]
    return {
        watch.name: "" if len(own) == 1 and watch is own[0] else f"_{watch.name}"
        for watch in (*criteria, *watches)
    }


def report(criteria: Sequence[Criterion], states: Sequence[Any]) -> dict[str, Any]:
    """Estimates, thresholds and notes of the controllers, as in `Stats`: numbers of the user's own bounds alone."""
    told = {
        c.name: {**c.controller.report(state), "threshold": c.controller.decide(state, math.nan).threshold}
        for c, state in zip(criteria, states, strict=True)
    }
    own = [criterion.name for criterion in criteria if not criterion.implied]
    numbers = {
        what: told[own[0]][what] if len(own) == 1 else {name: told[name][what] for name in own}
        for what in ("error_estimate", "error_estimate_se", "error_upper", "threshold")
    }
    return {**numbers, "notes": [f"{name}: {note}" for name, one in told.items() for note in one["notes"]]}
