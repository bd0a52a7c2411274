"""What another controller would have decided on the calls of a run whose errors are known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.table import Table

from ase_proxima.errors import InputError
from ase_proxima.executor.options import make_controller
from ase_proxima.metrics import METRIC_PROPERTIES
from ase_proxima.protocols import Controller
from ase_proxima.reports.formatting import format_number
from ase_proxima.runs.run_data import BoundData, RunData
from ase_proxima.types import Observation
from ase_proxima.uncertainty.posterior import PosteriorUncertainty

__all__ = ["LIMITATION", "Replay", "replay_controller", "replay_run", "replay_table"]

LIMITATION = (
    "Only calls on which the target ran are known, most of them because the surrogate was not trusted; "
    "and the surrogate is the one of that run: another controller would have trained it on other frames."
)


@dataclass(frozen=True, eq=False)
class Replay:
    """What a controller decided; arrays of shape (n,).

    Attributes
    ----------
    trusted, audited
        Whether it trusted, and looked nevertheless.
    thresholds
        As they were at each call.
    """

    trusted: NDArray[np.bool_]
    audited: NDArray[np.bool_]
    thresholds: NDArray[np.float64]


def replay_controller(
    controller: Controller,
    uncertainties: Sequence[float],
    errors: Sequence[float],
    versions: Sequence[int],
    rng: np.random.Generator,
    distances: Sequence[float] | None = None,
) -> Replay:
    """Take a controller through recorded calls; on a call that it trusts it sees the error only if it audits.

    Parameters
    ----------
    uncertainties, errors : sequence of float, shape (n,)
        Recorded pairs.
    versions : sequence of int, shape (n,)
        Version of the surrogate that predicted.
    rng : Generator
        Draws the audits.
    distances : sequence of float, shape (n,), optional
        How far each input lay from those that the target had answered in that run; by default nothing is known of it.

    Examples
    --------
    >>> from ase_proxima.controllers.fixed import FixedController
    >>> rng = np.random.default_rng(0)
    >>> replay = replay_controller(FixedController(0.3), [0.1, 0.5], [1e-3, 2e-3], [1, 2], rng)
    >>> replay.trusted.tolist(), replay.thresholds.tolist()
    ([True, False], [0.3, 0.3])
    """
    state = controller.init()
    trusted, audited, thresholds = [], [], []
    known = [math.nan] * len(errors) if distances is None else distances
    for uncertainty, error, version, distance in zip(uncertainties, errors, versions, known, strict=True):
        verdict = controller.decide(state, uncertainty)
        thresholds.append(verdict.threshold)
        probability = 1.0 if distance > verdict.reach else verdict.audit_probability
        seen = not verdict.trusts or bool(rng.random() < probability)
        trusted.append(verdict.trusts)
        audited.append(verdict.trusts and seen)
        observation = Observation(
            uncertainty, verdict.trusts, error if seen else None, probability, version, distance
        )
        state = controller.observe(state, observation)
    return Replay(np.array(trusted, bool), np.array(audited, bool), np.array(thresholds, float))


def replay_run(
    run: RunData,
    controllers: Sequence[str],
    *,
    error_bound: float | None = None,
    metric: str | None = None,
    bound_over: str | None = None,
    audit_rate: float | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Take controllers through the calls of a run on which the target ran and the surrogate had predicted.

    Parameters
    ----------
    run : RunData
    controllers : sequence of str
        Names as in `ProximaCalculator`: `risk`, `linear`, `fixed:THRESHOLD`, `baseline`.
    error_bound, bound_over, audit_rate
        As in `ProximaCalculator`; by default those of the run.
    metric : str, optional
        Name of the error metric, where the run holds several bounds.
    seed : int
        Seed of the generator that draws the audits.

    Returns
    -------
    dict
        JSON values: the known calls (`step`, `uncertainty`, `error`), and under `controllers` the run's own
        decisions and then those of each controller, with the path of its threshold.

    Raises
    ------
    InputError
        If a name, a bound or the metric is wrong, or the run saw no errors.
    """
    bound = _choose_bound(run, metric)
    limit = bound.bound if error_bound is None else error_bound
    if not 0 < limit < math.inf:
        raise InputError(f"error_bound must be a positive number, got {limit}")
    over = bound_over or str(run.settings.get("bound_over", "trusted"))
    rate = float(run.settings.get("audit_rate", 0.02)) if audit_rate is None else audit_rate
    prior_ratio = _prior_ratio(run.settings, bound.metric)
    made = [make_controller(name, limit, over, rate, prior_ratio) for name in controllers]
    known = np.isfinite(bound.error) & np.isfinite(bound.uncertainty)
    if not known.any():
        raise InputError(f"{run.path} saw no errors: nothing was predicted before the target ran")
    errors, uncertainties = bound.error[known], bound.uncertainty[known]
    entries = [
        _entry("(the run)", Replay(run.audit[known], run.audit[known], bound.threshold[known]), errors)
    ]
    for name, controller in zip(controllers, made, strict=True):
        rng = np.random.default_rng(seed)
        versions = run.model_version[known].tolist()
        replay = replay_controller(
            controller, uncertainties.tolist(), errors.tolist(), versions, rng, run.distance[known].tolist()
        )
        entries.append(_entry(name, replay, errors))
    return {
        "run": run.name,
        "metric": bound.metric,
        "unit": bound.unit,
        "error_bound": limit,
        "n_calls": run.n_calls,
        "n_known": int(known.sum()),
        "step": run.step[known].tolist(),
        "uncertainty": uncertainties.tolist(),
        "error": errors.tolist(),
        "controllers": entries,
        "limitation": LIMITATION,
    }


def _prior_ratio(settings: Mapping[str, Any], metric: str) -> float | None:
    """Ratio of error to uncertainty that the run began with: known for standard deviations of the metric."""
    incremental = settings.get("surrogate") in ("auto", "gradient_gp", "joint_gp", "bayesian_soap")
    uncertainty = settings.get("uncertainty")
    posterior = uncertainty == "posterior" or (uncertainty == "auto" and incremental)
    return PosteriorUncertainty.prior_ratio if posterior and metric in METRIC_PROPERTIES else None


def _choose_bound(run: RunData, metric: str | None) -> BoundData:
    names = [bound.metric for bound in run.bounds]
    if metric is None and len(names) == 1:
        return run.bounds[0]
    if metric not in names:
        asked = (
            "choose one of its error metrics" if metric is None else f"there is no error metric {metric!r}"
        )
        raise InputError(f"{run.path}: {asked}: {', '.join(names)}")
    return run.bounds[names.index(metric)]


def _entry(name: str, replay: Replay, errors: NDArray[np.float64]) -> dict[str, Any]:
    trusted = errors[replay.trusted]
    return {
        "controller": name,
        "n_trusted": int(replay.trusted.sum()),
        "n_audited": int(replay.audited.sum()),
        "n_flagged": int((~replay.trusted).sum()),
        "mean_error_trusted": float(trusted.mean()) if len(trusted) else math.nan,
        "max_error_trusted": float(trusted.max()) if len(trusted) else math.nan,
        "mean_error_all": float(trusted.sum()) / len(errors),
        "thresholds": replay.thresholds.tolist(),
    }


def replay_table(replay: dict[str, Any]) -> Table:
    """Table of what `replay_run` returned, one row a controller."""
    unit = f"\n({replay['unit']})" if replay["unit"] else ""
    table = Table(
        box=SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, 0),
        title_justify="left",
        caption_justify="left",
    )
    table.title = (
        f"{replay['run']}: {replay['n_known']:,} of {replay['n_calls']:,} calls with a known "
        f"{replay['metric']} error, bound {format_number(replay['error_bound'])} {replay['unit']}"
    )
    table.caption = replay["limitation"]
    table.add_column("controller", no_wrap=True)
    for header in ("flagged", "trusted", "audited"):
        table.add_column(header, justify="right", no_wrap=True)
    for header in (
        f"mean error,\ntrusted{unit}",
        f"largest,\ntrusted{unit}",
        "threshold:\nfirst, median, last",
    ):
        table.add_column(header, justify="right", no_wrap=True)
    for entry in replay["controllers"]:
        path = entry["thresholds"]
        table.add_row(
            entry["controller"],
            f"{entry['n_flagged']:,}",
            f"{entry['n_trusted']:,}",
            f"{entry['n_audited']:,}",
            format_number(entry["mean_error_trusted"], 2),
            format_number(entry["max_error_trusted"], 2),
            ", ".join(format_number(value, 2) for value in (path[0], float(np.median(path)), path[-1])),
        )
    return table
