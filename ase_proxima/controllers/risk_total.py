"""A controller with a proof: the mean error over all calls stays below its bound, for any inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from ase_proxima.controllers.calibration import fit_ratio
from ase_proxima.controllers.confidence import MeanError, observe_error, upper_limit
from ase_proxima.types import Observation, Verdict

__all__ = ["TotalRiskController", "TotalRiskState", "excess_limit"]


@dataclass(frozen=True, slots=True)
class TotalRiskState:
    """State of the controller.

    Attributes
    ----------
    threshold
        Current threshold; negative while a debt is paid off.
    gain
        Step size gamma; NaN until the first errors fix it for the rest of the run.
    n_steered, threshold_start
        Calls since then, and the threshold at that time.
    spent
        Sum of `s Z e / p` over those calls.
    pairs
        Observed (uncertainty, error) until the gain is fixed.
    all_calls
        Estimated errors of all calls, those of the target counting as zero.
    """

    threshold: float = 0.0
    gain: float = math.nan
    n_steered: int = 0
    threshold_start: float = 0.0
    spent: float = 0.0
    pairs: tuple[tuple[float, float], ...] = ()
    all_calls: MeanError = field(default_factory=MeanError)


def excess_limit(
    threshold_start: float, gain: float, error_cap: float, audit_rate: float, n_calls: int
) -> float:
    """How far the mean of `s Z e / p` over `n_calls` calls can exceed the bound, whatever the inputs.

    With `T <- T - gain (s Z e / p - bound)`, s = 1 where the call was trusted, Z = 1 with probability p
    where it was audited and e capped at `error_cap`, summing over the calls gives
    `mean(s Z e / p) <= bound + (T_1 - T_{n+1}) / (gain n)`; and since nothing is trusted at T <= 0, the
    last threshold is at least `-gain error_cap / p`.

    Examples
    --------
    >>> excess_limit(threshold_start=0.5, gain=0.1, error_cap=1.0, audit_rate=0.5, n_calls=70)
    0.1
    """
    return (max(threshold_start, 0.0) + gain * error_cap / audit_rate) / (gain * n_calls)


@dataclass(frozen=True)
class TotalRiskController:
    """Integrate the audited error against the bound; never forgive a debt.

    Parameters
    ----------
    error_bound : float
        Mean error over all calls to hold, in the unit of the error metric.
    audit_rate : float
        Probability of an audit on a trusted call; constant, as small ones make the audited errors swamp the rest.
    prior_ratio : float or None
        Error per unit of uncertainty to expect before any error was seen; it fixes the gain at once.
    margin : float
        Share of the bound that is aimed at.
    warmup : int
        Observed errors that fix the gain where there is no prior.
    cap : float
        Errors count up to this multiple of the bound.
    spread : float
        No call is trusted whose expected error exceeds the bound by this factor.
    delta : float
        Probability with which the reported upper limit may be wrong at any time of the run.

    Notes
    -----
    The threshold may be lowered at will without harm to the inequality of `excess_limit`, hence the
    limit from above; it is never raised, so that no debt is forgiven.
    """

    error_bound: float
    audit_rate: float = 0.02
    prior_ratio: float | None = None
    margin: float = 0.9
    warmup: int = 10
    cap: float = 20.0
    spread: float = 5.0
    delta: float = 0.05

    def __post_init__(self) -> None:
        if not self.error_bound > 0:
            raise ValueError(f"error_bound must be positive, got {self.error_bound}")
        if not 0 < self.audit_rate <= 1:
            raise ValueError(
                f"audit_rate must lie above 0 and not above 1 to bound the error over all calls, got {self.audit_rate}"
            )

    def init(self) -> TotalRiskState:
        """State before the first call."""
        state = TotalRiskState()
        return state if self.prior_ratio is None else self._start(state, self.prior_ratio)

    def _start(self, state: TotalRiskState, ratio: float) -> TotalRiskState:
        start = self.error_bound / ratio
        return replace(state, threshold=start, threshold_start=start, gain=self.audit_rate / ratio, pairs=())

    def decide(self, state: TotalRiskState, uncertainty: float) -> Verdict:
        """Trust what lies below the threshold, and audit it at the rate; alpha is the ratio that fixed the gain."""
        trusts = uncertainty < state.threshold
        return Verdict(
            trusts, self.audit_rate if trusts else 1.0, state.threshold, self.audit_rate / state.gain
        )

    def observe(self, state: TotalRiskState, observation: Observation) -> TotalRiskState:
        """State after a call."""
        uncertainty, error = observation.uncertainty, observation.error
        limit = self.cap * self.error_bound
        seen = error if observation.trusted else None
        probability = observation.probability if observation.trusted else 1.0
        all_calls = observe_error(state.all_calls, 0.0, seen, probability, limit, least=self.audit_rate)
        if math.isnan(state.gain):
            state = replace(state, all_calls=all_calls)
            if error is None or not (math.isfinite(error) and math.isfinite(uncertainty)):
                return state
            pairs = (*state.pairs, (uncertainty, error))
            ratio = fit_ratio(pairs, reference=math.nan).mean
            if len(pairs) < self.warmup or not 1e-200 < ratio / self.error_bound < 1e200:
                return replace(state, pairs=pairs)
            return self._start(state, ratio)
        weighted = 0.0
        if seen is not None:
            weighted = (seen if seen < limit else limit) / probability  # NaN counts as the limit
        moved = state.threshold - state.gain * (weighted - self.margin * self.error_bound)
        highest = self.spread * state.threshold_start
        return replace(
            state,
            threshold=min(moved, highest),
            n_steered=state.n_steered + 1,
            spent=state.spent + weighted,
            all_calls=all_calls,
        )

    def report(self, state: TotalRiskState) -> dict[str, Any]:
        """Estimated mean error over all calls, its standard error and its upper limit."""
        return {
            "error_estimate": state.all_calls.estimate,
            "error_estimate_se": state.all_calls.standard_error,
            "error_upper": upper_limit(
                state.all_calls, cap=self.cap * self.error_bound, delta=self.delta, least=self.audit_rate
            ),
            "notes": (),
        }
