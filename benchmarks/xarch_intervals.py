"""Intervals and flags of the default on suites of programs that it has not seen, GTX 950 and GTX 1080 Ti.

A model is trained on two suites and predicts the third, each GPU from the other: how many rows its intervals hold, how
wide they are, how far off flagged and other rows are, and how well the typical error ranks the rows. SDK and Rodinia
were developed on, PolyBench is for checking. Intervals of the share held are over applications drawn with replacement.
Writes benchmarks/results/xarch_intervals.csv.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from xarch_heldout import geforce_pairs, shared_data

from gpu_xarch.learning.prediction import expected_error, flags, intervals
from gpu_xarch.learning.rows import training_data
from gpu_xarch.learning.scores import bootstrap
from gpu_xarch.learning.splits import groups_of
from gpu_xarch.learning.training import doubt_of, inputs_of, train
from gpu_xarch.models import make_problem

WAYS = (("GTX 950", "GTX 1080 Ti"), ("GTX 1080 Ti", "GTX 950"))


def row_of(part: pd.DataFrame) -> dict[str, object]:
    """Return what is said of some rows."""
    held, far, error = (part[name].to_numpy() for name in ("held", "flagged", "error"))
    low, high = bootstrap(lambda rows: float(held[rows].mean()), list(part["group"]), n=1000)
    return {
        "rows": len(part),
        "applications": part["group"].nunique(),
        "held_pct": round(100 * float(held.mean()), 1),
        "held_low_pct": round(100 * low, 1),
        "held_high_pct": round(100 * high, 1),
        "median_high_over_low": round(float(np.median(part["width"])), 2),
        "flagged_pct": round(100 * float(far.mean()), 1),
        **{
            f"{how}_error_{name}_pct": round(100 * float(take(error[mask])), 1) if mask.any() else ""
            for name, mask in (("flagged", far), ("other", ~far))
            for how, take in (("median", np.median), ("mean", np.mean))
        },
        "rank_correlation": round(float(spearmanr(part["typical"], error)[0]), 2),
    }


@click.command(help=__doc__)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path(__file__).parent / "results" / "xarch_intervals.csv",
)
@click.option("--level", default=0.9, help="Coverage asked for.")
def main(out: Path, level: float) -> None:
    """Run the benchmark."""
    rows: list[dict[str, object]] = []
    for source, dest in WAYS:
        pairs = geforce_pairs(shared_data(), source, dest)
        for target in ("ipc", "dram_throughput"):
            data = training_data(pairs, make_problem(target, source, dest))
            suites, groups = data.keys["suite"].to_numpy(str), np.array(groups_of(data, "application"))
            parts = {}
            for suite in sorted(set(suites)):
                there = np.flatnonzero(suites == suite)
                trained = train(data.rows(np.flatnonzero(suites != suite)), "auto")
                values, truth = data.X.iloc[there], data.y[there]
                predicted, hard = trained.model.predict(values), expected_error(trained)
                low, high = intervals(trained, predicted, level, values, hard)
                parts[suite] = pd.DataFrame(
                    {
                        "group": groups[there],
                        "held": (low <= truth) & (truth <= high),
                        "width": (high + trained.offset) / (low + trained.offset),
                        "flagged": flags(trained, values, hard)[0],
                        "error": np.abs(predicted - truth) / np.maximum(truth, trained.offset),
                        "typical": hard.typical(
                            inputs_of(trained.model, values), doubt_of(trained.model, values)
                        ),
                    }
                )
            for suite, part in (*parts.items(), ("each in turn", pd.concat(parts.values()))):
                rows.append({"source": source, "dest": dest, "target": target, "suite_left_out": suite})
                rows[-1] |= row_of(part)
                click.echo(rows[-1])
            pd.DataFrame(rows).to_csv(out, index=False)


if __name__ == "__main__":
    main()
