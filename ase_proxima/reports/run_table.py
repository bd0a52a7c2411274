"""Table of finished Monte Carlo runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table

from ase_proxima.reports.formatting import (
    format_number,
    format_share,
    format_speedup,
    format_time,
    format_with_error,
)

__all__ = [
    "electrons_in_words",
    "failed_caption",
    "learner_in_words",
    "run_table",
    "unreliable_caption",
    "unreliable_mark",
]

RUN_COLUMNS = (
    "T\n(K)",
    "strategy",
    "seed",
    "calls",
    "target\ncalls",
    "audits",
    "mean\nerror\n(eV)",
    "bound\n(eV)",
    "radius of\ngyration\n(Å)",
    "acc.",
    "wall\n(s)",
    "base-\nline\n(s)",
    "speed-\nup",
)
COLUMNS_IF_SEVERAL = {"strategy": "strategy", "seed": "seed", "bound\n(eV)": "error_bound"}
"""Columns of the table of runs that are shown where they differ, and what of the summary they show."""


def run_table(summaries: Sequence[Mapping[str, Any]]) -> Table:
    """Table of finished Monte Carlo runs, one row a run.

    Parameters
    ----------
    summaries : sequence of mapping
        Contents of the runs' summary.json.

    Examples
    --------
    >>> run_table([{"temperature_K": 500.0, "strategy": "proxima", "n_calls": 10}]).row_count
    1
    """
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 0), caption_justify="left")
    several = {
        name: len({summary.get(name) for summary in summaries}) > 1
        for name in ("strategy", "seed", "error_bound")
    }
    for header in RUN_COLUMNS:
        if several.get(COLUMNS_IF_SEVERAL.get(header, ""), True):
            justify: Literal["left", "right"] = "left" if header == "strategy" else "right"
            table.add_column(header, justify=justify, no_wrap=True)
    for summary in sorted(
        summaries, key=lambda run: (run["strategy"], run["temperature_K"], run.get("seed", 0))
    ):
        table.add_row(
            f"{summary['temperature_K']:g}",
            *[summary["strategy"]] * several["strategy"],
            *[str(summary.get("seed"))] * several["seed"],
            _count(summary.get("n_calls")),
            _count(_sum(summary, "n_target", "n_audit")),
            _count(summary.get("n_audit")),
            format_number(summary.get("error_estimate"), 2),
            *[format_number(summary.get("error_bound"))] * several["error_bound"],
            format_with_error(summary.get("radius_of_gyration"), summary.get("radius_of_gyration_error"))
            + unreliable_mark(summary),
            format_share(summary.get("acceptance")),
            format_time(summary.get("wall_s")),
            format_time(_product(summary, "baseline_energy_s", "n_calls")),
            format_speedup(summary.get("speedup")),
        )
    common = []
    if summaries and not several["strategy"]:
        common.append(f"strategy: {summaries[0]['strategy']}")
    if summaries and not several["error_bound"]:
        common.append(f"bound of the mean error: {format_number(summaries[0].get('error_bound'))} eV")
    common += list(dict.fromkeys(words for run in summaries if (words := electrons_in_words(run))))
    estimated = " mean error: estimated;" * any(summary["strategy"] != "baseline" for summary in summaries)
    table.caption = "\n".join(
        [
            *(["; ".join(common)] if common else []),
            *dict.fromkeys(words for run in summaries if (words := learner_in_words(run))),
            f"target calls: flagged calls and audits;{estimated}",
            "baseline: what the target would have cost on every call",
            *failed_caption(summaries),
            *unreliable_caption(summaries),
        ]
    )
    return table


def electrons_in_words(summary: Mapping[str, Any]) -> str:
    """Charge and multiplicity of a run, by its summary.json; nothing where it does not say them.

    Examples
    --------
    >>> electrons_in_words({"charge": 1, "multiplicity": 1})
    'charge 1, multiplicity 1'
    """
    charge, multiplicity = summary.get("charge"), summary.get("multiplicity")
    if charge is None:
        return ""
    return f"charge {charge}" + ("" if multiplicity is None else f", multiplicity {multiplicity}")


def learner_in_words(summary: Mapping[str, Any]) -> str:
    """Surrogate and prior that were chosen for a run, by its summary.json; nothing where none was.

    Examples
    --------
    >>> learner_in_words({"surrogate": "auto", "prior": "xtb:GFN1"})
    'prior: xtb:GFN1'
    """
    chosen = [("surrogate", summary.get("surrogate", "auto")), ("prior", summary.get("prior"))]
    return "; ".join(f"{name}: {value}" for name, value in chosen if value not in (None, "auto"))


def failed_caption(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Line that counts the moves whose energy the target could not give, where there are any."""
    failed = [
        f"{run['n_failed']:,} at {run['temperature_K']:g} K" for run in summaries if run.get("n_failed")
    ]
    return [f"moves rejected because the target gave no energy: {', '.join(failed)}"] if failed else []


def unreliable_mark(summary: Mapping[str, Any]) -> str:
    """Star behind an error bar that is itself uncertain, by a summary.json."""
    return "" if summary.get("reliable_error_bars", True) else " *"


def unreliable_caption(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Line that explains the star of `unreliable_mark`, where a run has one."""
    if all(summary.get("reliable_error_bars", True) for summary in summaries):
        return []
    return ["* shorter than 20 autocorrelation times: the error bar itself is uncertain"]


def _sum(summary: Mapping[str, Any], *names: str) -> int | None:
    values = [summary.get(name) for name in names]
    return None if None in values else sum(values)  # type: ignore[arg-type]


def _product(summary: Mapping[str, Any], first: str, second: str) -> float | None:
    a, b = summary.get(first), summary.get(second)
    return None if a is None or b is None else a * b


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
