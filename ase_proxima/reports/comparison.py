"""Runs side by side, and true errors where one of them asked the target for every structure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from ase_proxima.reports.formatting import (
    format_number,
    format_share,
    format_speedup,
    format_time,
    format_with_error,
)
from ase_proxima.reports.report import TIME_NAMES, report_run
from ase_proxima.runs.run_data import RunData

__all__ = ["compare_runs", "comparison_table", "true_errors"]

SHARED_SHARE = 0.5


def true_errors(run: RunData, baseline: RunData) -> dict[str, Any]:
    """Energy errors of the calls that the surrogate answered, against a baseline run.

    Parameters
    ----------
    run, baseline : RunData
        Monte Carlo runs; the calls are matched by the fingerprints of their structures.

    Returns
    -------
    dict
        `n_shared` calls whose structure the baseline has, `n_surrogate` of them that the surrogate answered, and
        in eV the mean over these, `mean_trusted`; their largest, `max_trusted`; and the mean over all
        shared calls, `mean_all`, on which the target's answers count as zero.  NaN where there is none.
    """
    exact = _energies(baseline)
    asked = _energies(run)
    answered = set(np.array(run.structures)[run.surrogate].tolist())
    shared = [name for name in asked if name in exact]
    errors = [abs(asked[name] - exact[name]) for name in shared if name in answered]
    return {
        "baseline": baseline.name,
        "n_shared": len(shared),
        "n_surrogate": len(errors),
        "mean_trusted": math.fsum(errors) / len(errors) if errors else math.nan,
        "max_trusted": max(errors, default=math.nan),
        "mean_all": math.fsum(errors) / len(shared) if shared else math.nan,
    }


def _energies(run: RunData) -> dict[str, float]:
    """Energy that the chain was given for each structure, in eV: a call for each step whose energy is known."""
    if run.chain is None:
        return {}
    energies = run.chain.proposed_energy[np.isfinite(run.chain.proposed_energy)].tolist()
    calls = zip(run.step.tolist(), run.structures, strict=True)
    return {structure: energies[call] for call, structure in calls if call < len(energies)}


def compare_runs(runs: Sequence[RunData]) -> dict[str, Any]:
    """Reports of several runs, with true errors against a baseline among them.

    Returns
    -------
    dict
        JSON values: `runs`, a list of what `report_run` returns with `true_error` added (None where no baseline
        shares at least half of the structures), and `notes`.
    """
    # The calls of an exact run are no steps of its chain: its energies belong to other structures.
    baselines = [run for run in runs if run.chain and not run.exact and not run.trusted.any()]
    reports, notes = [], []
    for run in runs:
        report = report_run(run)
        others = [true_errors(run, baseline) for baseline in baselines] if run.trusted.any() else []
        best = max(others, key=lambda entry: entry["n_shared"], default=None)
        if best is not None and best["n_shared"] < SHARED_SHARE * run.n_calls:
            notes.append(
                f"{run.name} shares {best['n_shared']:,} of its {run.n_calls:,} structures with a baseline: "
                "for true errors, make it with --reference"
            )
            best = None
        reports.append({**report, "true_error": best})
    if not baselines:
        notes.append("no run among these asked the target for every structure: true errors are not known")
    return {"runs": reports, "notes": notes}


def comparison_table(comparison: Mapping[str, Any]) -> Table:
    """Table of what `compare_runs` returned: a row a quantity, a column a run."""
    reports = comparison["runs"]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, caption_justify="left")
    table.add_column("")
    for report in reports:
        table.add_column(report["run"], justify="right", overflow="fold")
    for section in _sections(reports):
        for name, values in section:
            if any(value != "-" for value in values):
                table.add_row(name, *values)
        table.add_section()
    table.caption = "\n".join(comparison["notes"]) or None
    return table


def _sections(reports: Sequence[Mapping[str, Any]]) -> list[list[tuple[str, list[str]]]]:
    def each(show: Any) -> list[str]:
        return [show(report) for report in reports]

    def setting(name: str) -> list[str]:
        return each(lambda report: _text(report["simulation"].get(name)))

    def chain(report: Mapping[str, Any], show: Any) -> str:
        return show(report["monte_carlo"]) if report["monte_carlo"] else "-"

    def true(name: str) -> list[str]:
        return each(lambda report: format_number((report["true_error"] or {}).get(name), 2))

    metrics = list(dict.fromkeys(bound["metric"] for report in reports for bound in report["bounds"]))
    return [
        [
            ("molecule", setting("molecule")),
            ("temperature (K)", setting("temperature_K")),
            ("target", setting("target")),
            ("strategy", setting("strategy")),
            ("controller", each(lambda report: report["controller"])),
        ],
        [
            ("calls", each(lambda report: f"{report['n_calls']:,}")),
            ("target calls", each(lambda report: f"{report['n_target_runs']:,}")),
            ("audits", each(lambda report: f"{report['n_audit']:,}")),
            ("share trusted", each(lambda report: format_share(report["share_trusted"]))),
            ("model versions", each(lambda report: f"{report['model_version']:,}")),
        ],
        *(_bound_section(reports, metric) for metric in metrics),
        [
            ("true mean error, trusted calls (eV)", true("mean_trusted")),
            ("true mean error, all calls (eV)", true("mean_all")),
            ("true largest error (eV)", true("max_trusted")),
        ],
        [
            (
                "radius of gyration (Å)",
                each(
                    lambda report: chain(
                        report,
                        lambda m: format_with_error(m["radius_of_gyration"], m["radius_of_gyration_error"]),
                    )
                ),
            ),
            ("acceptance", each(lambda report: chain(report, lambda m: format_share(m["acceptance"])))),
        ],
        [
            *(
                (f"time, {name} (s)", [format_time(report[key]) for report in reports])
                for key, name in TIME_NAMES.items()
            ),
            ("wall time (s)", each(lambda report: format_time(report["wall_s"]))),
            ("speedup", each(lambda report: format_speedup(report["speedup"]))),
        ],
    ]


def _bound_section(reports: Sequence[Mapping[str, Any]], metric: str) -> list[tuple[str, list[str]]]:
    found = [
        next((bound for bound in report["bounds"] if bound["metric"] == metric), None) for report in reports
    ]
    unit = next(bound["unit"] for bound in found if bound is not None)
    of = f"{metric} error" + (f" ({unit})" if unit else "")

    def each(name: str, digits: int = 3) -> list[str]:
        return [format_number(bound[name], digits) if bound else "-" for bound in found]

    return [
        (f"bound, {of}", each("bound")),
        (f"estimated mean {of}", each("error_estimate", 2)),
        (f"upper limit, {of}", each("error_upper", 2)),
        ("bound held?", [bound["verdict"] if bound else "-" for bound in found]),
        ("threshold (unit of uncertainty)", each("threshold")),
    ]


def _text(value: Any) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
