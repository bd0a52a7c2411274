"""Numbers of an exact run: what it gave and what it cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ase_proxima.apps.delayed_acceptance import OuterLog, OuterRow
from ase_proxima.apps.monte_carlo import ChainRow
from ase_proxima.apps.statistics import mean_of_chain, sampled_means
from ase_proxima.types import Stats

__all__ = ["SHORT_CHAIN", "acceptance_of", "equilibrated", "report_exact", "summarise"]

LOW_ACCEPTANCE = 0.2
"""Acceptance below which the summary says that the surrogate is poor."""

SHORT_CHAIN = "the chain is shorter than 20 autocorrelation times: its error bars are uncertain themselves"
"""What every report says of such a chain."""


def equilibrated(burn_in: Sequence[ChainRow]) -> tuple[list[float], list[float]]:
    """Energies (eV) and radii of gyration (Å) of the burn-in without its first quarter."""
    rows = burn_in[len(burn_in) // 4 :]
    return [row.energy for row in rows], [row.radius_of_gyration for row in rows]


def acceptance_of(rows: Sequence[OuterRow]) -> float:
    """Share of the target's calls that accepted; NaN without a call."""
    asked = [row.accepted for row in rows if row.asked]
    return sum(asked) / len(asked) if asked else math.nan


def summarise(
    described: Mapping[str, Any],
    trials: Sequence[OuterRow],
    rows: Sequence[OuterRow],
    stats: Stats,
    trained: Mapping[str, Any],
    burn_in: Sequence[ChainRow],
) -> dict[str, Any]:
    """Numbers of a finished run, as in summary.json; energies in eV, lengths in Å, times in s.

    Parameters
    ----------
    described
        The settings, by name.
    trials, rows
        Outer steps of the trials and of the chain that counts, that of the start of each first.
    stats
        Of the target's calls in both.
    trained
        Summary of the burn-in.
    burn_in
        Its rows.

    Returns
    -------
    dict
        Among others `ess_per_target_call`, the effective number of samples of the radius of gyration over the
        target's calls in the chain that counts; the same of a chain that asks the target at every step, from the
        autocorrelation time of the burn-in; and their ratio, `ess_gain`. NaN where a chain is shorter than 20
        autocorrelation times.
    """
    gyration = mean_of_chain([row.radius_of_gyration for row in rows[1:]])
    energy = mean_of_chain([row.energy for row in rows[1:]])
    plain = mean_of_chain(equilibrated(burn_in)[1])
    n_asked = sum(row.asked for row in rows)
    n_failed = sum(math.isinf(row.proposed_energy) for row in (*trials, *rows))
    exact_rate = gyration.n_independent / n_asked if n_asked and gyration.reliable else math.nan
    plain_rate = 1.0 / plain.tau if plain.reliable else math.nan
    n_inner, acceptance = len(rows[-1].inner), acceptance_of(rows)
    notes = []
    if not acceptance >= LOW_ACCEPTANCE:
        notes.append(
            f"the target accepts {100 * acceptance:.1f} % of the proposals: the surrogate is too poor for "
            f"{n_inner} inner steps; the distribution is right all the same, but a longer burn-in or fewer inner "
            "steps would make it cheaper"
        )
    if exact_rate < plain_rate:
        notes.append("a plain chain would give more independent samples for a call of the target")
    if not gyration.reliable:
        notes.append(SHORT_CHAIN)
    if not plain.reliable:
        notes.append("the burn-in is shorter than 20 autocorrelation times: too short to tell the gain")
    return {
        **described,
        **asdict(stats),
        "strategy": "exact",
        "inner_steps": n_inner,
        "inner_steps_chosen": described["inner_steps"] is None,
        "n_failed": n_failed + trained["n_failed"],
        "n_outer": len(rows) - 1,
        "n_target_chain": n_asked,
        "n_target_trials": sum(row.asked for row in trials) + 1,
        "n_target_burn_in": trained["n_target"] + trained["n_audit"],
        "acceptance": acceptance,
        **sampled_means(energy, gyration),
        "plain_autocorrelation_time": plain.tau,
        "ess_per_target_call": exact_rate,
        "plain_ess_per_target_call": plain_rate,
        "ess_gain": exact_rate / plain_rate,
        "chain_s": sum(row.time_s for row in rows),
        "wall_s": trained["wall_s"] + sum(row.time_s for row in (*trials, *rows)),
        "baseline_energy_s": trained["baseline_energy_s"],
        "notes": [*stats.notes, *notes],
    }


def report_exact(run_dir: Path, n_calls: int, summary: Mapping[str, Any] | None) -> dict[str, Any]:
    """Numbers that only an exact run has, as JSON values; NaN for those of the summary where there is none yet.

    Parameters
    ----------
    n_calls
        Calls of the target that are written down.
    summary
        Contents of summary.json; None while the run goes on.

    Returns
    -------
    dict
        `inner_steps`, None before the first step that counts; target calls of chain, trials and burn-in;
        `acceptance`, the share of the chain's target calls that accepted; the effective numbers of samples and
        their ratio as in `summarise`; `chain_s_per_sample`, time of the chain for one independent sample, in s.
    """
    rows = OuterLog.read(run_dir / "chain.csv")
    n_asked = sum(row.asked for row in rows)
    known = summary or {}
    rate = known.get("ess_per_target_call", math.nan)
    n_samples = rate * n_asked
    return {
        "inner_steps": len(rows[-1].inner) if len(rows) > 1 else None,
        "n_target_chain": n_asked,
        "n_target_trials": n_calls - n_asked,
        "n_target_burn_in": known.get("n_target_burn_in"),
        "acceptance": acceptance_of(rows),
        "ess_per_target_call": rate,
        "plain_ess_per_target_call": known.get("plain_ess_per_target_call", math.nan),
        "ess_gain": known.get("ess_gain", math.nan),
        "chain_s_per_sample": known.get("chain_s", math.nan) / n_samples if n_samples > 0 else math.nan,
    }
