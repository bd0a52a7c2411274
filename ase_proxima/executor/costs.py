"""What calls cost, what speedup that promises, and whether the surrogate is worth its time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median

from ase_proxima.metrics import METRIC_UNITS
from ase_proxima.types import Decision, ErrorsSeen

__all__ = [
    "FAIR_NUMBER",
    "WHEN_NOT_WORTHWHILE",
    "Costs",
    "add_call",
    "complain_of_distrust",
    "is_worthwhile",
    "long_run_speedup",
    "present_speedup",
]

WHEN_NOT_WORTHWHILE = ("warn", "ignore")
"""What may be done where the target is cheaper than the surrogate, or nothing is trusted."""

FAIR_NUMBER = 100
"""Calls after which a surrogate that was never trusted is a case to be told."""

LATEST = 31
"""Timings of which a median is taken: one call that the machine held up does not count."""

HORIZON = 200
"""Calls over which shares and means are taken."""

MIN_TIMINGS = 10
"""Timings of each kind that a verdict needs; of a target that hardly runs any more, `FEW_TIMINGS`."""

FEW_TIMINGS = 3
MIN_CALLS = 50
JUDGE_EVERY = 10
"""Calls from one verdict to the next."""

MARGIN = 1.25
"""The surrogate must take longer than the target by this factor before it is called slower."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What the calls so far cost; times in s.

    Attributes
    ----------
    n_calls
        Number of calls.
    target
        Latest times of a target run.
    surrogate
        Latest times of a prediction and its uncertainty; on calls that the surrogate answered, of the
        decision too.
    own
        Mean time a call of all that the wrapping adds: predictions, training, decisions and storing.
    share_target
        Share of calls on which the target ran, audits included.
    share_audit
        Mean probability of an audit on a trusted call.
    n_trusted
        Number of trusted calls.
    complaint
        What was found when the target first turned out to be cheaper than the surrogate; None while it was not.

    Notes
    -----
    Means and shares are those of the calls so far, and of about the latest 200 once there are more.
    """

    n_calls: int = 0
    target: tuple[float, ...] = ()
    surrogate: tuple[float, ...] = ()
    own: float = 0.0
    share_target: float = 0.0
    share_audit: float = 0.0
    n_trusted: int = 0
    complaint: str | None = None


def add_call(costs: Costs, decision: Decision, audit_probability: float, times: Mapping[str, float]) -> Costs:
    """Count a call; on every tenth, until there is a complaint, see whether there is reason for one.

    Parameters
    ----------
    costs : Costs
    decision : Decision
    audit_probability : float
        Probability of an audit, where the surrogate was trusted.
    times : mapping
        `time_target`, `time_surrogate`, `time_uncertainty`, `time_training` and `time_decision` in s; 0 for what
        did not happen.

    Examples
    --------
    >>> times = {"time_target": 2.0, "time_surrogate": 0.1, "time_uncertainty": 0.0, "time_training": 0.3,
    ...          "time_decision": 0.1}
    >>> costs = add_call(Costs(), Decision.TARGET, 1.0, times)
    >>> costs.target, costs.own, costs.share_target
    ((2.0,), 0.5, 1.0)
    """
    n_calls, n_trusted, share_audit = costs.n_calls + 1, costs.n_trusted, costs.share_audit
    weight = 1.0 / min(n_calls, HORIZON)
    ran = decision is not Decision.SURROGATE
    if decision is not Decision.TARGET:
        n_trusted += 1
        share_audit += (audit_probability - share_audit) / min(n_trusted, HORIZON)
    target_s, decision_s = times["time_target"], times["time_decision"]
    prediction_s = times["time_surrogate"] + times["time_uncertainty"]
    surrogate = costs.surrogate
    if prediction_s > 0:
        surrogate = (*surrogate[1 - LATEST :], prediction_s + (0.0 if ran else decision_s))
    own = prediction_s + times["time_training"] + decision_s
    counted = Costs(
        n_calls,
        (*costs.target[1 - LATEST :], target_s) if target_s > 0 else costs.target,
        surrogate,
        costs.own + (own - costs.own) * weight,
        costs.share_target + (ran - costs.share_target) * weight,
        share_audit,
        n_trusted,
        costs.complaint,
    )
    if costs.complaint is None and n_calls % JUDGE_EVERY == 0 and is_worthwhile(counted) is False:
        return replace(counted, complaint=_complain(counted))
    return counted


def present_speedup(costs: Costs) -> float:
    """Speedup over asking the target every time, at the present share of calls on which it runs.

    With t the median time of a target run, f the share of calls on which it runs and w the mean time a call of
    the wrapping itself, it is t / (w + f t); NaN until the target was timed.

    Examples
    --------
    >>> present_speedup(Costs(n_calls=200, target=(1.0,), own=0.05, share_target=0.2))
    4.0
    """
    if not costs.target:
        return math.nan
    target_s = median(costs.target)
    return target_s / (costs.own + costs.share_target * target_s)


def long_run_speedup(costs: Costs) -> float:
    """Speedup to expect once nothing is flagged any more and only audits ask the target.

    With t and s the median times of a target run and a prediction, q the present probability of an audit and r
    what a target run brings along (training and storing its result), it is t / (s + q (t + r)); NaN until target
    and surrogate were timed.

    Examples
    --------
    >>> long_run_speedup(Costs(n_calls=200, target=(1.0,), surrogate=(0.01,), own=0.01, share_audit=0.01))
    50.0
    """
    if not (costs.target and costs.surrogate):
        return math.nan
    target_s, surrogate_s = median(costs.target), median(costs.surrogate)
    brings = max(costs.own - surrogate_s, 0.0) / costs.share_target if costs.share_target > 0 else 0.0
    return target_s / (surrogate_s + costs.share_audit * (target_s + brings))


def is_worthwhile(costs: Costs) -> bool | None:
    """Whether an answer of the surrogate costs less than one of the target; None while too little is known.

    Where it does not, no share of trusted calls can make the wrapping pay.  That verdict needs ten timings of
    each (of the target three, from the fiftieth call on) and a margin of a quarter between the medians.

    Examples
    --------
    >>> is_worthwhile(Costs(n_calls=12, target=12 * (0.001,), surrogate=11 * (0.002,)))
    False
    >>> is_worthwhile(Costs(n_calls=2, target=2 * (0.001,), surrogate=(0.002,))) is None
    True
    """
    enough = FEW_TIMINGS if costs.n_calls >= MIN_CALLS else MIN_TIMINGS
    if len(costs.target) < enough or len(costs.surrogate) < MIN_TIMINGS:
        return None
    return not median(costs.surrogate) > MARGIN * median(costs.target)


def _complain(costs: Costs) -> str:
    """Say in one line that the target is the cheaper one, and what to do.

    Examples
    --------
    >>> _complain(Costs(n_calls=12, target=(0.0001,), surrogate=(0.002,)))
    'after 12 calls, the target takes 0.1 ms a call and the surrogate 2 ms: use the target itself, ...'
    """
    target_ms, surrogate_ms = 1e3 * median(costs.target), 1e3 * median(costs.surrogate)
    return (
        f"after {costs.n_calls} calls, the target takes {target_ms:.3g} ms a call and the surrogate "
        f'{surrogate_ms:.3g} ms: use the target itself, or set when_not_worthwhile="ignore" if it only stands in '
        "for a slower one"
    )


def complain_of_distrust(n_calls: int, bounds: Mapping[str, float], seen: Mapping[str, ErrorsSeen]) -> str:
    """Say in one line that nothing was trusted, and what errors the surrogate makes.

    The bound that is furthest away is the one that is told.

    Examples
    --------
    >>> complain_of_distrust(100, {"force_max": 0.1}, {"force_max": ErrorsSeen(90, 0.9, 1.0, 2.0)})
    'nothing was trusted in 100 calls: force_max errors seen: median 0.9 eV/Å, bound 0.1: this surrogate cannot ...'
    """
    name = max(bounds, key=lambda metric: seen[metric].median / bounds[metric])
    median_error, unit = seen[name].median, METRIC_UNITS.get(name, "")
    facts = f"{name} errors seen: median {median_error:.2g}{unit and ' '}{unit}, bound {bounds[name]:.2g}"
    verdict = (
        "this surrogate cannot reach the bound here: raise it, or try another surrogate"
        if median_error > bounds[name]
        else "the uncertainty does not tell the good answers from the bad: try another uncertainty or surrogate"
    )
    return f"nothing was trusted in {n_calls} calls: {facts}: {verdict}"
