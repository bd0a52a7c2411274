"""Reports of run directories: numbers for scripts, tables for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import reduce
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from ase_proxima.apps.delayed_acceptance_summary import SHORT_CHAIN, report_exact
from ase_proxima.apps.statistics import mean_of_chain, sampled_means
from ase_proxima.executor.costs import long_run_speedup, present_speedup
from ase_proxima.executor.criteria import SeenErrors, count_error, summarise_errors
from ase_proxima.executor.options import make_controller
from ase_proxima.metrics import METRIC_UNITS
from ase_proxima.reports.estimates import count_costs, estimate_errors, running_estimate
from ase_proxima.reports.exact import exact_rows
from ase_proxima.reports.formatting import (
    format_number,
    format_share,
    format_speedup,
    format_time,
    format_with_error,
)
from ase_proxima.reports.run_table import electrons_in_words
from ase_proxima.runs.run_data import TIMES, BoundData, RunData
from ase_proxima.types import Observation
from ase_proxima.types.serialisation import state_from_json

__all__ = ["report_run", "report_table"]

EXACT_NOTE = (
    "made with --exact, where the surrogate only proposes: there is no trusted call to report on; "
    "for the training see proxima report RUN/burn-in"
)
SPEEDUPS = ("speedup", "speedup_present", "speedup_long_run")
TIME_NAMES = {
    "time_target": "target",
    "time_surrogate": "surrogate",
    "time_uncertainty": "uncertainty",
    "time_training": "training",
    "time_decision": "decisions",
}


def report_run(run: RunData) -> dict[str, Any]:
    """Numbers of a run: finished, interrupted or still going on.

    Returns
    -------
    dict
        JSON values: counts of calls, one entry a bound under `bounds`, errors of every property under
        `errors_seen`, times in s, what the chain of a Monte Carlo
        run gives under `monte_carlo` (None for other runs), what `report_exact` gives under `exact` (None for other
        runs), `notes`.  What is not known is NaN or None; an exact run has no bounds and no speedups.
    """
    n_target, n_audit = int(run.target.sum()), int(run.audit.sum())
    summary = run.summary if run.summary and run.summary.get("n_calls") == run.n_calls else None
    exact = report_exact(run.path, run.n_calls, summary) if run.exact else None
    bounds: list[dict[str, Any]] = []
    notes: list[str] = [EXACT_NOTE, *(summary or {}).get("notes", ())] if exact else []
    for i, bound in enumerate(() if exact else run.bounds):
        entry, remarks = _report_bound(run, i, bound)
        bounds.append(entry)
        notes += remarks
    chain = _report_chain(run)
    if chain and not chain["reliable_error_bars"]:
        notes.append(SHORT_CHAIN)
    costs = count_costs(run)
    if costs.complaint and not exact and run.settings.get("when_not_worthwhile") != "ignore":
        notes.append(costs.complaint)
    return {
        "run": run.name,
        "status": _status(run),
        "simulation": {
            **({**run.exact, "strategy": "exact"} if run.exact else run.monte_carlo),
            **((run.simulation or {}).get("electronic_state") or {}),
        },
        "controller": _name(run.settings.get("controller")),
        "n_calls": run.n_calls,
        "n_target": n_target,
        "n_audit": n_audit,
        "n_target_runs": n_target + n_audit,
        "n_surrogate": int(run.surrogate.sum()),
        "share_trusted": float(run.trusted.mean()),
        "model_version": int(run.model_version[-1]),
        "bounds": bounds,
        "errors_seen": {} if exact else _report_errors(run),
        "monte_carlo": chain,
        "exact": exact,
        **_report_times(run, summary),
        "speedup_present": present_speedup(costs),
        "speedup_long_run": long_run_speedup(costs),
        **(dict.fromkeys(SPEEDUPS, math.nan) if exact else {}),
        "notes": list(dict.fromkeys(notes)),
    }


def _report_errors(run: RunData) -> dict[str, dict[str, Any]]:
    """Errors of each metric that were seen, as in `Stats.errors_seen`, with their unit."""
    seen = {name: reduce(count_error, errors.tolist(), SeenErrors()) for name, errors in run.errors.items()}
    return {
        name: {**asdict(summarise_errors(errors)), "unit": METRIC_UNITS.get(name, "")}
        for name, errors in seen.items()
        if errors.n
    }


def _name(value: Any) -> str:
    return value.get("object", "") if isinstance(value, Mapping) else str(value)


def _status(run: RunData) -> str:
    if not run.simulation:
        return f"{run.n_calls:,} calls"
    n_steps = run.simulation.get("n_steps")
    done = int(run.chain.step[-1]) if run.chain else 0
    if run.summary is not None and n_steps == done:
        return f"finished, {done:,} steps"
    return f"unfinished, {done:,} of {n_steps:,} steps" if isinstance(n_steps, int) else f"{done:,} steps"


def _report_bound(run: RunData, i: int, bound: BoundData) -> tuple[dict[str, Any], list[str]]:
    """What concerns one bound, and remarks on it."""
    over = run.settings.get("bound_over", "trusted")
    errors, basis = estimate_errors(run, bound)
    counted = errors[run.trusted]
    n = len(counted) if over == "trusted" else run.n_calls
    audited = run.audit & np.isfinite(bound.error)
    estimate = spread = math.nan
    if basis and n:
        estimate = float(running_estimate(run, bound)[0][-1]) * len(counted) / n
    elif not run.trusted.any():
        estimate = spread = 0.0
    if basis == "audits":
        # Variance of the difference estimator under independent audits of probability p.
        p = run.audit_probability[audited]
        residual = (errors[audited] - bound.alpha[audited] * bound.uncertainty[audited]) * p
        if (p <= 0.5).any():  # audits that were all but certain say nothing of the draw
            spread = math.sqrt(float(np.nansum((1 - p) * (residual / p) ** 2))) / n
    controller = _controller_report(run, i, bound)
    remarks = [f"{bound.metric}: {note}" for note in controller["notes"]]
    if basis == "flagged calls":
        remarks.append(
            "no audits: the error on trusted calls is extrapolated from the flagged ones, unchecked"
        )
    seen = np.isfinite(bound.error)
    return {
        "metric": bound.metric,
        "unit": bound.unit,
        "bound": bound.bound,
        "bound_over": over,
        "error_estimate": estimate,
        "error_estimate_se": spread,
        "n_audits": int(audited.sum()),
        "error_basis": basis,
        "error_upper": controller["error_upper"],
        "error_seen_mean": float(bound.error[seen].mean()) if seen.any() else math.nan,
        "verdict": _verdict(estimate, controller["error_upper"], bound.bound, basis),
        "threshold": float(bound.threshold[-1]),
        "alpha": float(bound.alpha[-1]),
    }, remarks


def _verdict(estimate: float, upper: float, bound: float, basis: str) -> str:
    if not basis and estimate == 0:
        return "held (no call was trusted)"
    if not (math.isfinite(estimate) and math.isfinite(bound)):
        return "not known: no error was seen"
    word = "held" if estimate <= bound else "exceeded"
    if upper <= bound:
        return "held, upper limit included"
    return f"{word} (estimated)" if basis == "audits" else f"{word} (extrapolated)"


def _controller_report(run: RunData, i: int, bound: BoundData) -> dict[str, Any]:
    """Report of a controller after the last call, from its latest state and the calls since."""
    nothing = {"error_upper": math.nan, "notes": ()}
    name = run.settings.get("controller")
    if not isinstance(name, str) or run.state is None:
        return nothing
    try:
        over, audit_rate = run.settings["bound_over"], run.settings["audit_rate"]
        controller = make_controller(name, bound.bound, over, audit_rate, None)
        state = state_from_json(controller.init(), run.state["controllers"][i])
        for k in range(int(run.state["counts"]["n_calls"]), run.n_calls):
            error = float(bound.error[k])
            observation = Observation(
                float(bound.uncertainty[k]),
                bool(run.trusted[k]),
                error if math.isfinite(error) else None,
                float(run.audit_probability[k]),
                int(run.model_version[k]),
            )
            state = controller.observe(state, observation)
        return controller.report(state)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        note = f"no upper limit: another version wrote the state of the controller {name!r} ({error})"
        return {**nothing, "notes": (note,)}


def _report_chain(run: RunData) -> dict[str, Any] | None:
    if run.chain is None:
        return None
    start = 1 if run.exact and len(run.chain.step) > 1 else 0  # as in its summary
    gyration, energy = (
        mean_of_chain(values[start:]) for values in (run.chain.radius_of_gyration, run.chain.energy)
    )
    moves = run.chain.accepted[1:]
    return {
        "n_failed": int(np.isinf(run.chain.proposed_energy).sum()),
        "acceptance": float(moves.mean()) if len(moves) else math.nan,
        **sampled_means(energy, gyration),
    }


def _report_times(run: RunData, summary: Mapping[str, Any] | None) -> dict[str, Any]:
    """Times in s, and the speedup over a run that asks the target every time.

    The cost of one target call is that measured for the summary, else the mean of this run's.
    """
    times = {name: float(np.nansum(run.times[name])) for name in TIMES}
    calls_s = sum(times.values())
    wall_s = float(summary["wall_s"]) if summary and "wall_s" in summary else math.nan
    n_target_runs = int((~run.surrogate).sum())
    if summary and "baseline_energy_s" in summary:
        baseline_s, source = float(summary["baseline_energy_s"]), "measured"
    elif n_target_runs:
        baseline_s, source = times["time_target"] / n_target_runs, "mean of this run's target calls"
    else:
        baseline_s, source = math.nan, ""
    spent = wall_s if math.isfinite(wall_s) else calls_s
    return {
        **times,
        "time_calls": calls_s,
        "wall_s": wall_s,
        "baseline_energy_s": baseline_s,
        "baseline_source": source,
        "speedup": baseline_s * run.n_calls / spent if spent > 0 else math.nan,
    }


def report_table(report: Mapping[str, Any]) -> Table:
    """Table of one run, of what `report_run` returned."""
    table = Table(box=SIMPLE_HEAD, show_header=False, pad_edge=False, title_justify="left")
    table.title = f"{report['run']}: {report['status']}"
    table.add_column("quantity", no_wrap=True)
    table.add_column("value")
    for section in report_rows(report):
        for name, value in section:
            table.add_row(name, value)
        table.add_section()
    return table


def report_rows(report: Mapping[str, Any]) -> list[list[tuple[str, str]]]:
    """Sections of names and values, in words."""
    settings = report["simulation"]
    sections = []
    if settings:
        sections.append(
            [
                ("molecule", str(settings.get("molecule"))),
                *([("electrons", state)] if (state := electrons_in_words(settings)) else []),
                ("temperature", f"{settings.get('temperature_K', math.nan):g} K"),
                ("target", str(settings.get("target"))),
                ("strategy", str(settings.get("strategy"))),
                *(
                    [("surrogate", str(chosen))]
                    if (chosen := settings.get("surrogate", "auto")) != "auto"
                    else []
                ),
                *([("prior", str(prior))] if (prior := settings.get("prior")) else []),
            ]
        )
    sections.append(exact_rows(report["exact"]) if report["exact"] else _call_rows(report))
    sections += [_bound_rows(bound, several=len(report["bounds"]) > 1) for bound in report["bounds"]]
    if report["errors_seen"]:
        sections.append([(f"errors seen ({name})", _seen(e)) for name, e in report["errors_seen"].items()])
    if report["monte_carlo"]:
        rows = _chain_rows(report["monte_carlo"])
        sections.append(rows[:-1] if report["exact"] else rows)  # whose acceptance is that of the target
    sections.append(_time_rows(report))
    if report["notes"]:
        sections.append([("note", note) for note in report["notes"]])
    return sections


def _call_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("controller", report["controller"]),
        ("calls", f"{report['n_calls']:,}"),
        (
            "target calls",
            f"{report['n_target_runs']:,}: {report['n_target']:,} flagged, {report['n_audit']:,} audits",
        ),
        ("share trusted", format_share(report["share_trusted"])),
        ("model versions", f"{report['model_version']:,}"),
    ]


def _bound_rows(bound: Mapping[str, Any], *, several: bool) -> list[tuple[str, str]]:
    unit = f" {bound['unit']}" if bound["unit"] else ""
    of = f" ({bound['metric']})" if several else ""
    calls = "trusted" if bound["bound_over"] == "trusted" else "all"
    estimate = format_number(bound["error_estimate"], 2)
    if bound["error_estimate_se"] > 0:
        estimate += f" ± {format_number(bound['error_estimate_se'], 1)}"
    known = bound["error_estimate"] == 0 and not bound["error_basis"]  # no call was trusted
    mean = "mean error" if known else "mean error, estimated"
    return [
        (
            f"bound{of}",
            f"{format_number(bound['bound'])}{unit}, mean of {bound['metric']} error, {calls} calls",
        ),
        (f"{mean}{of}", f"{estimate}{unit if estimate != '-' else ''}{_audits(bound['n_audits'])}"),
        (f"upper limit{of}", _with_unit(bound["error_upper"], unit)),
        (f"bound held?{of}", bound["verdict"]),
        (f"threshold{of}", _with_unit(bound["threshold"], ", in the unit of the uncertainty")),
        (f"alpha{of}", _with_unit(bound["alpha"], f"{unit} per unit of uncertainty")),
    ]


def _seen(errors: Mapping[str, Any]) -> str:
    numbers = [f"{what} {format_number(errors[what], 2)}" for what in ("median", "mean", "largest")]
    unit = f" {errors['unit']}" if errors["unit"] else ""
    return f"{errors['n']:,}: {', '.join(numbers)}{unit}"


def _audits(n: int) -> str:
    return f", from {n} audit{'s' * (n > 1)}" if n else ""


def _with_unit(value: float, unit: str) -> str:
    text = format_number(value)
    return text if text == "-" else f"{text}{unit}"


def _chain_rows(chain: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (
            "radius of gyration",
            f"{format_with_error(chain['radius_of_gyration'], chain['radius_of_gyration_error'])} Å",
        ),
        ("autocorrelation time", f"{format_number(chain['autocorrelation_time'], 2)} steps"),
        *[("moves without an energy", f"{chain['n_failed']:,}, rejected")] * bool(chain["n_failed"]),
        ("acceptance", format_share(chain["acceptance"])),
    ]


def _time_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    wall = report["wall_s"] if math.isfinite(report["wall_s"]) else report["time_calls"]
    parts = {f"time, {TIME_NAMES[name]}": report[name] for name in TIMES}
    rest = "time, simulation and rest"
    if report["exact"]:
        parts, rest = {"time, target": report["time_target"]}, "time, surrogate's steps, burn-in and rest"
    if math.isfinite(report["wall_s"]):
        parts[rest] = max(wall - sum(parts.values()), 0.0)
    rows = [
        (name, f"{format_time(seconds):>7} s {format_share(seconds / wall if wall > 0 else math.nan):>8}")
        for name, seconds in parts.items()
    ]
    name = "wall time" if math.isfinite(report["wall_s"]) else "time, all calls"
    rows.append((name, f"{format_time(wall):>7} s"))
    if report["exact"]:
        return rows
    cost = report["baseline_energy_s"]
    if math.isfinite(cost):
        total, source = format_time(cost * report["n_calls"]), report["baseline_source"]
        rows.append(("baseline would take", f"{total:>7} s at {format_time(cost)} s a call ({source})"))
    rows.append(("speedup", format_speedup(report["speedup"])))
    present, long_run = (format_speedup(report[f"speedup_{when}"]) for when in ("present", "long_run"))
    rows.append(
        ("speedup, projected", f"{present} at the present share of trusted calls, {long_run} in the long run")
    )
    return rows
