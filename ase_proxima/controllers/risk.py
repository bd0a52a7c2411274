"""The default controller: audited errors hold the mean error of the trusted calls below its bound."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from ase_proxima.controllers.calibration import fit_ratio, largest_threshold, rank_correlation
from ase_proxima.controllers.confidence import observe_error, upper_limit
from ase_proxima.controllers.risk_state import MAX_WEIGHT, RiskState
from ase_proxima.types import Observation, Verdict

__all__ = ["RiskController", "RiskState"]

LATEST_PAIRS = 12
SURPRISE = 2.5
ALARM_PAIRS = 20


@dataclass(frozen=True)
class RiskController:
    """Trust the surrogate as far as the estimated mean error of the trusted calls allows.

    The error to expect at uncertainty u is `ratio * u`, the ratio taken from the latest observed errors; the
    threshold is the largest at which the expected mean error of recent calls below it, at the upper estimate of
    the ratio, meets the allowance.  Audits correct the running estimate; what was overspent, by that estimate,
    is paid back out of the allowance of the next calls, and what was saved may be spent.

    Parameters
    ----------
    error_bound : float
        Mean error over the trusted calls to hold, in the unit of the error metric.
    audit_rate : float
        Probability of an audit on a trusted call, for a surrogate that has just changed or erred far more than
        expected.  It falls as trusted calls pass, down to a twentieth, and is larger at larger uncertainty.
    prior_ratio : float or None
        Error per unit of uncertainty to expect before any error was seen: about 1 for a standard
        deviation in the unit of the error; None where the uncertainty has a unit of its own.
    margin : float
        Share of the bound that is aimed at.
    spread : float
        No call is trusted whose expected error exceeds the allowance by this factor.
    horizon : int
        Trusted calls over which savings are spent and debts paid.
    window : int
        Number of latest observed errors in use.
    cap : float
        Errors count up to this multiple of the bound in the estimates.
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
    cap: float = 5.0
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
        return Verdict(trusts, probability, state.threshold, state.ratio)

    def _audit_probability(self, state: RiskState, uncertainty: float) -> float:
        """Probability of an audit: the more the newer the model and the larger the uncertainty.

        While fewer than three errors were seen at half this uncertainty or above, it is up to 1: what was seen
        at small uncertainties does not speak for larger ones.
        """
        threshold = state.threshold
        if not (self.audit_rate > 0 and threshold > 0):
            return 0.0
        n_near = sum(2 * u > uncertainty for u, _, _ in state.pairs[-self.window // 2 :])
        record = math.sqrt(min(1.0, 50.0 / max(state.calls_at_version, 1.0)))
        place = min(max(2.0 * uncertainty / threshold, 0.25), 2.0)
        usual = max(self.audit_rate * record * place, self.audit_floor)
        return min(max(usual, 1.0 - n_near / 3), 1.0)

    @property
    def audit_floor(self) -> float:
        """Smallest probability of an audit on a trusted call."""
        return self.audit_rate / 20.0

    def observe(self, state: RiskState, observation: Observation) -> RiskState:
        """State after a call."""
        uncertainty, error, version = observation.uncertainty, observation.error, observation.model_version
        trusted, spent, calls, n_capped = state.trusted, state.spent, state.calls_at_version, state.n_capped
        limit = self.cap * self.error_bound
        if version != state.model_version:
            calls *= (min(state.model_version, version) / max(state.model_version, version)) ** 4
        if observation.trusted:
            trusted = observe_error(trusted, state.ratio * uncertainty, error, observation.probability, limit)
            calls += 1
            expected = min(state.ratio * uncertainty, limit)
            spent += expected
            if error is not None:
                residual = (error if error < limit else limit) - expected  # NaN counts as the limit
                spent += residual * min(1 / observation.probability, MAX_WEIGHT)
        if error is not None and error > SURPRISE * state.ratio_upper * uncertainty:
            calls = 0.0
        recent, pairs = state.recent, state.pairs
        if math.isfinite(uncertainty):
            recent = (*recent, uncertainty)[-self.horizon // 2 :]
            if error is not None and math.isfinite(error):
                pairs = (*pairs, (uncertainty, error, version))[-self.window :]
                n_capped += error > limit
        state = replace(
            state,
            pairs=pairs,
            recent=recent,
            trusted=trusted,
            spent=spent,
            calls_at_version=calls,
            model_version=version,
            n_capped=n_capped,
        )
        if error is None and trusted.n % 10:
            return state
        return self._set_threshold(state)

    def _set_threshold(self, state: RiskState) -> RiskState:
        """Set the threshold to the largest at which the expected mean error meets the allowance.

        A ratio that rises in the latest errors counts at once, one that falls as the window forgets.  Errors of
        older versions count less, the more the surrogate has changed since.
        """
        now = state.model_version + 1
        pairs = [(u, e) for u, e, _ in state.pairs]
        weights = [((version + 1) / now) ** 2 for _, _, version in state.pairs]
        ratio, latest = (
            fit_ratio(pairs[-n:], weights=weights[-n:], reference=state.threshold, prior=self.prior_ratio)
            for n in (self.window, LATEST_PAIRS)
        )
        upper = max(ratio.upper, latest.upper)
        threshold = 0.0
        if upper > 0 and (self.prior_ratio is not None or len(state.pairs) >= LATEST_PAIRS):
            aim = self.margin * self.error_bound
            saved = aim * state.trusted.n - state.spent
            allowance = min(max(aim + saved / self.horizon, 0.05 * aim), self.error_bound)
            threshold = largest_threshold(state.recent, allowance / upper, self.spread)
        alarm = self._is_uninformative(state)
        return replace(
            state,
            threshold=0.0 if alarm else threshold,
            ratio=max(ratio.mean, latest.mean),
            ratio_upper=upper,
            alarm=alarm,
        )

    def _is_uninformative(self, state: RiskState) -> bool:
        """Whether errors above the bound come at small uncertainties as much as at large ones."""
        if len(state.pairs) < ALARM_PAIRS:
            return False
        uncertainties, errors, _ = zip(*state.pairs, strict=True)
        if not sum(errors) > self.error_bound * len(errors):
            return False
        return not rank_correlation(uncertainties, errors) > (0.3 if state.alarm else 0.1)

    def report(self, state: RiskState) -> dict[str, Any]:
        """Ratio of error to uncertainty, estimated mean error of the trusted calls, its upper limit, alarms."""
        notes = []
        if state.alarm:
            notes.append("the uncertainty does not rank the errors: nothing is trusted")
        if state.n_capped:
            notes.append(f"{state.n_capped} errors above {self.cap:g} times the bound were counted at that")
        upper = upper_limit(
            state.trusted,
            cap=self.cap * self.error_bound,
            probability_min=self.audit_floor,
            delta=self.delta,
        )
        return {
            "error_estimate": state.trusted.estimate,
            "error_upper": upper,
            "notes": tuple(notes),
        }
