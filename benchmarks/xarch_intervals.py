"""Intervals and flags of the default on suites of programs that it has not seen, GTX 950 -> GTX 1080 Ti.

A model is trained on two suites and predicts the third: how many rows its intervals hold, how wide they are, and how
far off flagged and other rows are. SDK and Rodinia were developed on, PolyBench is for checking. Writes
benchmarks/results/xarch_intervals.csv.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pandas as pd
from xarch_heldout import geforce_pairs, shared_data

from gpu_xarch.learning.prediction import flags, intervals
from gpu_xarch.learning.rows import training_data
from gpu_xarch.learning.training import train
from gpu_xarch.models import make_problem


@click.command(help=__doc__)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path(__file__).parent / "results" / "xarch_intervals.csv",
)
@click.option("--level", default=0.9, help="Coverage asked for.")
def main(out: Path, level: float) -> None:
    """Run the benchmark."""
    pairs, rows = geforce_pairs(shared_data()), []
    for target in ("ipc", "dram_throughput"):
        data = training_data(pairs, make_problem(target, "GTX 950", "GTX 1080 Ti"))
        suites = data.keys["suite"].to_numpy(str)
        for suite in sorted(set(suites)):
            there = np.flatnonzero(suites == suite)
            trained = train(data.rows(np.flatnonzero(suites != suite)), "auto")
            values, truth = data.X.iloc[there], data.y[there]
            predicted = trained.model.predict(values)
            low, high = intervals(trained, predicted, level, values)
            far, _ = flags(trained, values)
            error = np.abs(predicted - truth) / np.maximum(truth, trained.offset)
            factor = (high + trained.offset) / (low + trained.offset)
            rows.append(
                {
                    "target": target,
                    "suite_left_out": suite,
                    "rows": len(there),
                    "held_pct": round(100 * float(((low <= truth) & (truth <= high)).mean()), 1),
                    "median_high_over_low": round(float(np.median(factor)), 2),
                    "flagged_pct": round(100 * float(far.mean()), 1),
                    **{
                        f"{how}_error_{name}_pct": round(100 * float(take(error[mask])), 1)
                        if mask.any()
                        else ""
                        for name, mask in (("flagged", far), ("other", ~far))
                        for how, take in (("median", np.median), ("mean", np.mean))
                    },
                }
            )
            click.echo(rows[-1])
            pd.DataFrame(rows).to_csv(out, index=False)


if __name__ == "__main__":
    main()
