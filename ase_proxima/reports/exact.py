"""What an exact run gave and what it cost, in words and in a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from ase_proxima.reports.formatting import (
    format_number,
    format_share,
    format_speedup,
    format_time,
    format_with_error,
)
from ase_proxima.reports.run_table import (
    electrons_in_words,
    failed_caption,
    learner_in_words,
    unreliable_caption,
    unreliable_mark,
)

__all__ = ["exact_rows", "exact_table"]


def exact_rows(exact: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values, in words, of what `report_exact` returned."""
    trained = "" if exact["n_target_burn_in"] is None else f", {exact['n_target_burn_in']:,} in the burn-in"
    rows = [
        ("inner steps", "-" if exact["inner_steps"] is None else f"{exact['inner_steps']:,}"),
        (
            "target calls",
            f"{exact['n_target_chain']:,} in the chain, {exact['n_target_trials']:,} in the trials{trained}",
        ),
        ("accepted by the target", format_share(exact["acceptance"])),
    ]
    if math.isfinite(exact["chain_s_per_sample"]):
        calls, seconds = 1.0 / exact["ess_per_target_call"], format_time(exact["chain_s_per_sample"])
        rows.append(("an independent sample", f"{format_number(calls)} target calls, {seconds} s"))
    if math.isfinite(exact["ess_gain"]):
        plain, gain = 1.0 / exact["plain_ess_per_target_call"], format_speedup(exact["ess_gain"])
        rows.append(("by a plain chain", f"{format_number(plain)} target calls: gain {gain}"))
    return rows


def exact_table(summaries: Sequence[Mapping[str, Any]]) -> Table:
    """Table of finished exact runs, one row a run.

    Parameters
    ----------
    summaries : sequence of mapping
        What `summarise` returned.
    """
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 0), caption_justify="left")
    several_seeds = len({summary["seed"] for summary in summaries}) > 1
    for header in (
        "T\n(K)",
        *["seed"] * several_seeds,
        "inner\nsteps",
        "outer\nsteps",
        "target\ncalls",
        "training\ncalls",
        "acc.",
        "ESS per\ntarget\ncall",
        "plain\nchain's",
        "gain",
        "radius of\ngyration\n(Å)",
        "wall\n(s)",
        "target\ncall (s)",
    ):
        table.add_column(header, justify="right", no_wrap=True)
    notes: dict[str, list[str]] = {}
    for summary in sorted(summaries, key=lambda run: (run["temperature_K"], run["seed"])):
        table.add_row(
            f"{summary['temperature_K']:g}",
            *[str(summary["seed"])] * several_seeds,
            f"{summary['inner_steps']:,}",
            f"{summary['n_outer']:,}",
            f"{summary['n_target_chain']:,}",
            f"{summary['n_target_burn_in'] + summary['n_target_trials']:,}",
            format_share(summary["acceptance"]),
            format_number(summary["ess_per_target_call"], 2),
            format_number(summary["plain_ess_per_target_call"], 2),
            format_speedup(summary["ess_gain"]),
            format_with_error(summary["radius_of_gyration"], summary["radius_of_gyration_error"])
            + unreliable_mark(summary),
            format_time(summary["wall_s"]),
            format_time(summary["baseline_energy_s"]),
        )
        for note in summary["notes"]:
            notes.setdefault(note, []).append(f"{summary['temperature_K']:g} K")
    table.caption = "\n".join(
        [
            "training calls: burn-in and trials; acc.: share of the target calls that accepted;",
            "ESS: effective number of samples of the radius of gyration",
            *dict.fromkeys(words for run in summaries if (words := learner_in_words(run))),
            *dict.fromkeys(words for run in summaries if (words := electrons_in_words(run))),
            *failed_caption(summaries),
            *unreliable_caption(summaries),
            *(f"{', '.join(dict.fromkeys(where))}: {note}" for note, where in notes.items()),
        ]
    )
    return table
