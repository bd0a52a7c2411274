"""Reports of run directories: numbers for scripts, tables for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

__all__ = ["run_table"]

RUN_COLUMNS = (
    "T\n(K)",
    "strategy",
    "calls",
    "target\ncalls",
    "audits",
    "mean\nerror\n(eV)",
    "bound\n(eV)",
    "radius of\ngyration\n(Å)",
    "accep-\ntance",
    "wall\n(s)",
    "base-\nline\n(s)",
    "speed-\nup",
)


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
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 0), caption_justify="left")
    for header in RUN_COLUMNS:
        left = header == "strategy"
        table.add_column(header, justify="left" if left else "right", no_wrap=True)
    for summary in sorted(summaries, key=lambda summary: (summary["strategy"], summary["temperature_K"])):
        table.add_row(
            f"{summary['temperature_K']:g}",
            summary["strategy"],
            _count(summary.get("n_calls")),
            _count(_sum(summary, "n_target", "n_audit")),
            _count(summary.get("n_audit")),
            format_number(summary.get("error_estimate"), 2),
            format_number(summary.get("error_bound")),
            format_with_error(summary.get("radius_of_gyration"), summary.get("radius_of_gyration_error")),
            format_share(summary.get("acceptance")),
            format_time(summary.get("wall_s")),
            format_time(_product(summary, "baseline_energy_s", "n_calls")),
            format_speedup(summary.get("speedup")),
        )
    table.caption = (
        "target calls: flagged calls and audits; mean error: estimated;\n"
        "baseline: what the target would have cost on every call"
    )
    return table


def _sum(summary: Mapping[str, Any], *names: str) -> int | None:
    values = [summary.get(name) for name in names]
    return None if None in values else sum(values)  # type: ignore[arg-type]


def _product(summary: Mapping[str, Any], first: str, second: str) -> float | None:
    a, b = summary.get(first), summary.get(second)
    return None if a is None or b is None else a * b


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def format_number(value: float | None, digits: int = 3) -> str:
    """Number to some significant digits; a dash where it is not known.

    Examples
    --------
    >>> format_number(0.00032219, 2), format_number(float("nan"))
    ('0.00032', '-')
    """
    return f"{value:.{digits}g}" if value is not None and math.isfinite(value) else "-"


def format_share(value: float | None) -> str:
    """Share in per cent.

    Examples
    --------
    >>> format_share(0.9271)
    '92.7 %'
    """
    return f"{100 * value:.1f} %" if value is not None and math.isfinite(value) else "-"


def format_time(seconds: float | None) -> str:
    """Seconds, with as many digits as one reads.

    Examples
    --------
    >>> format_time(0.0123), format_time(1234.5)
    ('0.012', '1,234')
    """
    if seconds is None or not math.isfinite(seconds):
        return "-"
    return f"{seconds:,.0f}" if seconds >= 100 else f"{seconds:.2g}" if seconds < 1 else f"{seconds:.1f}"


def format_speedup(value: float | None) -> str:
    """Ratio of times.

    Examples
    --------
    >>> format_speedup(5.523)
    '5.52x'
    """
    return f"{value:.2f}x" if value is not None and math.isfinite(value) else "-"


def format_with_error(value: float | None, error: float | None) -> str:
    """Value with its standard error, to the digit that its error leaves.

    Examples
    --------
    >>> format_with_error(0.545013, 0.000943), format_with_error(0.5450131, float("nan"))
    ('0.5450 ± 0.0009', '0.545 ± ?')
    """
    if value is None or not math.isfinite(value):
        return "-"
    if error is None or not math.isfinite(error) or not error > 0:
        return f"{value:.3f} ± ?"
    digits = max(0, -math.floor(math.log10(error / 2)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"
