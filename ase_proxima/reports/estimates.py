"""What follows from the calls of a run: the errors of those that were trusted, and what all of them cost."""

from __future__ import annotations

import math

import numpy as np

from ase_proxima.controllers.calibration import fit_ratio
from ase_proxima.controllers.confidence import steady_total
from ase_proxima.executor.costs import Costs, add_call
from ase_proxima.runs.run_data import TIMES, Bools, BoundData, Floats, RunData
from ase_proxima.types import Decision

__all__ = ["count_costs", "estimate_errors", "running_estimate"]


def running_estimate(run: RunData, bound: BoundData) -> tuple[Floats, str]:
    """Estimate the mean error of the trusted calls, after each call.

    Returns
    -------
    means : array, shape (n_calls,)
        In the unit of the metric; never negative (see `steady_total`).
    basis : str
        As in `estimate_errors`.
    """
    expected, _ = _expected_errors(run, bound)
    _, basis = estimate_errors(run, bound)
    expected = np.where(run.trusted, np.nan_to_num(expected), 0.0)
    audited = run.audit & np.isfinite(bound.error)
    weight = np.divide(1.0, run.audit_probability, out=np.zeros(run.n_calls), where=audited)
    seen = np.cumsum(weight * np.nan_to_num(bound.error))
    total = steady_total(np.cumsum(expected), np.cumsum(weight * expected), seen)
    return total / np.maximum(np.cumsum(run.trusted), 1), basis


def estimate_errors(run: RunData, bound: BoundData) -> tuple[Floats, str]:
    """Estimate the error of each trusted call: its expected error, corrected where an audit saw it.

    The expected error is `alpha * uncertainty`, with the slope as it was before the call; an audited call
    adds `(error - expected) / probability`, so that the mean of the estimates has the mean error as its
    expectation, however poor the slope (the difference estimator of survey sampling).

    Returns
    -------
    errors : array, shape (n_calls,)
        In the unit of the metric; NaN on flagged calls.
    basis : str
        What the estimate rests on: `"audits"`, `"flagged calls"` where there was no audit, or `""` where
        there is nothing to go by.
    """
    expected, audited = _expected_errors(run, bound)
    if audited.any():
        expected = np.where(np.isfinite(expected), expected, 0.0)
        weight = np.where(audited, run.audit_probability, 1.0)
        residual = np.where(audited, bound.error, 0.0) - expected
        errors = expected + np.where(audited, residual / weight, 0.0)
        basis = "audits"
    else:
        errors = expected
        basis = "flagged calls" if np.isfinite(expected[run.trusted]).any() else ""
    return np.where(run.trusted, errors, math.nan), basis


def _expected_errors(run: RunData, bound: BoundData) -> tuple[Floats, Bools]:
    """Error to expect at each call, and which errors were seen by audits."""
    expected = bound.alpha * bound.uncertainty
    missing = run.trusted & ~np.isfinite(expected)
    if missing.any():
        seen = np.isfinite(bound.error) & np.isfinite(bound.uncertainty)
        pairs = list(zip(bound.uncertainty[seen].tolist(), bound.error[seen].tolist(), strict=True))
        typical = float(np.median(bound.uncertainty[missing]))
        ratio = fit_ratio(pairs, reference=typical).mean
        expected = np.where(missing, ratio * bound.uncertainty, expected)
    return expected, run.audit & np.isfinite(bound.error)


def count_costs(run: RunData) -> Costs:
    """What the calls of a run cost, counted as the run itself does."""
    costs = Costs()
    for k in range(run.n_calls):
        decision = (
            Decision.SURROGATE if run.surrogate[k] else Decision.AUDIT if run.audit[k] else Decision.TARGET
        )
        times = {name: float(run.times[name][k]) for name in TIMES}
        costs = add_call(costs, decision, float(run.audit_probability[k]), times)
    return costs
