"""The default controller: audited errors hold the mean error of the trusted calls below its bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ase_proxima.controllers.calibration import fit_ratio, largest_threshold, rank_correlation
from ase_proxima.controllers.confidence import observe_error, upper_limit
from ase_proxima.controllers.risk_state import Outliers, RiskState, Seen
from ase_proxima.types import Observation, Verdict

__all__ = ["RiskController", "RiskState"]

SETTLE = 10
"""Trusted calls after which the threshold is set anew though no error was seen; distances in their running mean."""
BELIEVED = 3
"""Errors to be seen before audits follow the expected error."""
LEAST_ALLOWANCE = 0.05
"""Share of its aim below which a debt does not press the allowance, so that the way out stays open."""
RANKED, RANKED_AGAIN = 0.1, 0.3
"""Rank correlation below which an alarm is raised, and above which it ends."""
LONGEST_STEP = 10.0
"""However small the errors: largest multiple of the distance at which one was seen that is not audited in any case."""
REACH = ": this surrogate cannot reach the bound here"


@dataclass(frozen=True)
class RiskController:
    """Trust the surrogate as far as the estimated mean error of the trusted calls allows.

    The error to expect at uncertainty u is `ratio * u`, the ratio taken from the latest observed errors; the
    threshold is the largest at which the expected mean error of recent calls below it, at the upper estimate of
    the ratio, meets the allowance.  Audits correct the running estimate; what was overspent, by that estimate,
    is paid back out of the allowance of the next calls, and what was saved may be spent.

    The probability of an audit is in proportion to what the call adds to the mean, its expected error over the bound,
    and to how near the bound that mean is expected to be; and it falls as the run saves more than its horizon may
    spend, since savings pay for what goes wrong unseen. Where all errors are a tenth of the bound hardly any is seen.

    Parameters
    ----------
    error_bound : float
        Mean error over the trusted calls to hold, in the unit of the error metric.
    audit_rate : float
        Probability of an audit on a trusted call whose expected error, at the upper estimate of the ratio, is
        `audit_risk` of the bound, as is the mean, in a run that has saved nothing.
    prior_ratio : float or None
        Error per unit of uncertainty to expect before any error was seen: about 1 for a standard
        deviation in the unit of the error; None where the uncertainty has a unit of its own.
    margin : float
        Share of the bound that is aimed at.
    spread : float
        No call is trusted whose expected error exceeds the allowance by this factor. At first the factor is 1, and it
        grows over the first `horizon` trusted calls: until then calls that make up for it are only hoped for.
    horizon : int
        Trusted calls over which savings are spent and debts paid; audits are half as many where twice as many
        calls' worth was saved.
    window : int
        Number of latest observed errors in use.
    latest : int
        Number of latest observed errors that raise the ratio at once; as many are needed to trust anything without
        a prior.
    cap : float
        Errors count up to this multiple of the bound in the estimates.
    cap_weight : float
        Largest weight of an error above the cap where the threshold is steered: it says that something
        happened, not how often it did on calls that nobody saw.
    audit_risk : float
        Expected error over the bound, of a call and of the mean, at which audits have the probability `audit_rate`.
    audit_least, audit_most : float
        Smallest and largest probability of an audit, in units of `audit_rate`.
    first_gap : float
        Audits of calls whose expected error, and the mean, is `audit_risk` of the bound or more have at least the
        probability `first_gap / (2 first_gap + trusted calls so far)`: what goes wrong after n calls is noticed after a
        share of n. As long as hardly any error was seen the 2 is a 1, and the expected error does not matter.
    surprise : float
        An error above this multiple of the expected one starts that count of calls anew.
    growth : float
        A call is audited in any case where it lies farther from the inputs that the target has answered than the
        farthest at which an error was seen, by this factor: trust goes by steps into what was not seen. The factor is
        larger where errors are so small that, grown with the square of the distance, they would not reach `audit_risk`
        of the bound.
    alarm_pairs : int
        Errors to be seen before it is judged whether the uncertainty ranks them.
    delta : float
        Probability with which the reported upper limit may be wrong at any time of the run.
    """

    error_bound: float
    audit_rate: float = 0.02
    prior_ratio: float | None = None
    margin: float = 0.75
    spread: float = 2.0
    horizon: int = 200
    window: int = 60
    latest: int = 12
    cap: float = 5.0
    cap_weight: float = 20.0
    audit_risk: float = 0.4
    audit_least: float = 0.1
    audit_most: float = 5.0
    first_gap: float = 3.0
    surprise: float = 2.5
    growth: float = 1.5
    alarm_pairs: int = 20
    delta: float = 0.05

    def __post_init__(self) -> None:
        if not self.error_bound > 0:
            raise ValueError(f"error_bound must be positive, got {self.error_bound}")
        if not 0 <= self.audit_rate <= 1:
            raise ValueError(f"audit_rate must lie between 0 and 1, got {self.audit_rate}")

    def init(self) -> RiskState:
        """State before the first call."""
        ratio = fit_ratio((), reference=math.nan, prior=self.prior_ratio)
        allowed = self.margin * self.error_bound / ratio.upper
        return RiskState(allowed if allowed > 0 else 0.0, ratio.mean, ratio.upper)

    def decide(self, state: RiskState, uncertainty: float) -> Verdict:
        """Trust what lies below the threshold; audit it with a probability that depends on what was seen."""
        trusts = uncertainty < state.threshold
        probability = self._audit_probability(state, uncertainty) if trusts else 1.0
        return Verdict(trusts, probability, state.threshold, state.ratio, self._reach(state, uncertainty))

    def _audit_probability(self, state: RiskState, uncertainty: float) -> float:
        """Probability of an audit: what the call adds to the mean, how near the bound that is, what was saved."""
        if not (self.audit_rate > 0 and state.threshold > 0):
            return 0.0
        # the smallest probability counts in the upper limit, so none is that of a call far below the others
        expected = state.ratio_upper * max(uncertainty, 0.5 * state.typical)
        # where no recent call was trusted, this one is all that is known of those that will be
        mean = state.ratio_upper * (state.typical or uncertainty)
        worth = expected * mean / (self.audit_risk * self.error_bound) ** 2
        saved = max(self._saved(state), 0.0) / (self.margin * self.error_bound)
        needed = worth / max(1.0, saved / self.horizon)
        usual = self.audit_rate * min(max(needed, self.audit_least), self.audit_most)
        # before some were seen, the expected error is what a prior or a trained surrogate says of itself
        believed = len(state.seen) >= BELIEVED
        early = self.first_gap / ((2 if believed else 1) * self.first_gap + state.calm)
        return min(max(usual, early * (min(1.0, worth) if believed else 1.0)), 1.0)

    @property
    def _least(self) -> float:
        """Smallest probability of an audit."""
        return min(self.audit_rate * self.audit_least, 1.0)

    def _saved(self, state: RiskState) -> float:
        """How much less the trusted calls have spent than was aimed at, by the errors seen; a debt is negative."""
        return self.margin * self.error_bound * state.trusted.n - state.spent

    def _reach(self, state: RiskState, uncertainty: float) -> float:
        """Distance from what is known beyond which the call is audited in any case.

        The errors of a smooth surrogate grow with the square of the distance from what it has learnt. As far as the
        latest of them, and the one expected here, would stay below `audit_risk` of the bound, an audit tells nothing.
        """
        if not self.audit_rate > 0:
            return math.inf
        step = self.growth
        if len(state.seen) >= BELIEVED:
            errors = [seen[1] for seen in state.seen[-BELIEVED:]]
            largest = max(*errors, state.ratio_upper * uncertainty)
            harmless = self.audit_risk * self.error_bound
            if harmless > step**2 * largest:
                step = min(math.sqrt(harmless / largest), LONGEST_STEP) if largest > 0 else LONGEST_STEP
        return step * state.reach

    def observe(self, state: RiskState, observation: Observation) -> RiskState:
        """State after a call."""
        uncertainty, error = observation.uncertainty, observation.error
        limit = self.cap * self.error_bound
        counted = error if error is None or error < limit else limit  # NaN counts as the limit
        trusted, spent, calm, afar = state.trusted, state.spent, state.calm, state.afar
        reach = state.reach
        if observation.trusted:
            trusted = observe_error(
                trusted, state.ratio * uncertainty, error, observation.probability, limit, least=self._least
            )
            calm += 1
            if math.isfinite(observation.distance):
                afar += (observation.distance - afar) / min(trusted.n, SETTLE)
            expected = min(state.ratio * uncertainty, limit)
            spent += expected
            if counted is not None:
                weight = 1 / observation.probability
                spent += (counted - expected) * (weight if counted < limit else min(weight, self.cap_weight))
        recent, seen, outliers = state.recent, state.seen, state.outliers
        if math.isfinite(uncertainty):
            recent = (*recent, uncertainty)[-self.horizon // 2 :]
            if error is not None and math.isfinite(error):
                if error > self.surprise * state.ratio_upper * uncertainty:
                    calm = 0
                if math.isfinite(observation.distance):
                    reach = max(reach, observation.distance)
                # an error that was expected to be above the cap says what the ratio is as any other does
                known = min(error, self.cap * max(self.error_bound, state.ratio * uncertainty))
                new = (uncertainty, known, observation.model_version, observation.distance)
                seen = (*seen, new)[-self.window :]
                if error > known:
                    outliers = _count(outliers, error, state.n_calls)
        state = replace(
            state,
            n_calls=state.n_calls + 1,
            seen=seen,
            recent=recent,
            trusted=trusted,
            afar=afar,
            reach=reach,
            spent=spent,
            calm=calm,
            outliers=outliers,
        )
        if error is None and trusted.n % SETTLE:
            return state
        return self._set_threshold(state)

    def _set_threshold(self, state: RiskState) -> RiskState:
        """Set the threshold to the largest at which the expected mean error meets the allowance.

        A ratio that rises in the latest errors counts at once, one that falls as the window forgets.  Errors of
        older versions count less, the more the surrogate has changed since.
        """
        pairs = [seen[:2] for seen in state.seen]
        weights = _weights(state.seen, state.afar)
        ratio, latest = (
            fit_ratio(pairs[-n:], weights=weights[-n:], reference=state.threshold, prior=self.prior_ratio)
            for n in (self.window, self.latest)
        )
        upper = max(ratio.upper, latest.upper)
        threshold = 0.0
        if upper > 0 and (self.prior_ratio is not None or len(state.seen) >= self.latest):
            aim = self.margin * self.error_bound
            allowance = min(
                max(aim + self._saved(state) / self.horizon, LEAST_ALLOWANCE * aim), self.error_bound
            )
            spread = 1.0 + (self.spread - 1.0) * min(state.trusted.n / self.horizon, 1.0)
            threshold = largest_threshold(state.recent, allowance / upper, spread)
        alarm = self._is_uninformative(state)
        below = [u for u in state.recent if u < threshold]
        return replace(
            state,
            threshold=0.0 if alarm else threshold,
            ratio=max(ratio.mean, latest.mean),
            ratio_upper=upper,
            typical=sum(below) / len(below) if below else 0.0,
            alarm=alarm,
        )

    def _is_uninformative(self, state: RiskState) -> bool:
        """Whether errors above the bound come at small uncertainties as much as at large ones."""
        if len(state.seen) < self.alarm_pairs:
            return False
        uncertainties = [seen[0] for seen in state.seen]
        errors = [seen[1] for seen in state.seen]
        if not sum(errors) > self.error_bound * len(errors):
            return False
        least = RANKED_AGAIN if state.alarm else RANKED
        return not rank_correlation(uncertainties, errors) > least

    def report(self, state: RiskState) -> dict[str, Any]:
        """Estimated mean error of the trusted calls, its standard error and upper limit, and what happened."""
        return {
            "error_estimate": state.trusted.estimate,
            "error_estimate_se": state.trusted.standard_error,
            "error_upper": upper_limit(
                state.trusted, cap=self.cap * self.error_bound, delta=self.delta, least=self._least
            ),
            "notes": self._notes(state),
        }

    def _notes(self, state: RiskState) -> tuple[str, ...]:
        notes = []
        errors = sorted(seen[1] for seen in state.seen)
        nothing = state.n_calls >= self.alarm_pairs and not any(u < state.threshold for u in state.recent)
        if state.alarm:
            notes.append("the uncertainty does not rank the errors: nothing is trusted")
        elif nothing and len(errors) >= self.latest:
            median = errors[len(errors) // 2]
            notes.append(
                f"nothing is trusted at present: errors seen have the median {median:.2g}, the bound is "
                f"{self.error_bound:g}" + (REACH if median > self.error_bound else "")
            )
        if state.trusted.estimate > self.error_bound:
            notes.append(
                f"the estimated mean error {state.trusted.estimate:.2g} stands above the bound {self.error_bound:g}: "
                "fewer calls are trusted until it is below"
            )
        if state.outliers.n:
            n, largest = state.outliers.n, f"{state.outliers.largest:.3g} at call {state.outliers.call}"
            limit = f"{self.cap:g} times the bound and what was expected"
            seen = (
                f"an error above {limit} was seen, {largest}"
                if n == 1
                else f"{n} errors above {limit} were seen, the largest {largest}"
            )
            notes.append(f"{seen}: look at that call")
        return tuple(notes)


def _weights(errors: Sequence[Seen], afar: float) -> list[float]:
    """What each error is worth as evidence.

    Less where its version is an older one; and where its input was nearer to those known than the trusted calls are in
    the mean, `afar`, less as the square of the distance, but for the farthest, the best evidence that there is.
    """
    known = [distance for _, _, _, distance in errors if math.isfinite(distance)]
    full = min(afar, max(known)) if known else 0.0
    latest = errors[-1][2] + 1 if errors else 1
    return [
        ((version + 1) / latest) ** 2 * (min(1.0, distance / full) ** 2 if full > 0 else 1.0)
        for _, _, version, distance in errors
    ]


def _count(outliers: Outliers, error: float, call: int) -> Outliers:
    if error > outliers.largest:
        return Outliers(outliers.n + 1, error, call)
    return replace(outliers, n=outliers.n + 1)
