"""IPC and DRAM throughput from the other metrics of the same GPU, with and without those that give them away.

GTX 950 and GTX 1080 Ti, real nvprof metrics; whole suites left out, and whole applications in shuffled folds. A target
is learnt without its other names alone ("other names"), as in the published study; and without any metric from which
a chain of formulas leads to it ("all that tell it"), which is what every command does (`gpu_xarch.reveals`). SDK and
Rodinia were developed on, PolyBench is for checking. Writes benchmarks/results/xarch_same_gpu.csv and prints it.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import click
import pandas as pd
from xarch_heldout import parts_by, shared_data

from gpu_xarch import ingest, load_runs
from gpu_xarch.learning.evaluation import evaluate
from gpu_xarch.learning.rows import TrainingData, run_values, training_data
from gpu_xarch.models import make_problem

#: the target by its other names, as the published study left them out
NAMES = {
    "ipc": {"ipc", "issued_ipc", "issue_slot_utilization"},
    "dram_throughput": {"dram_throughput", "dram_utilization"},
    "dram_read_throughput": {"dram_read_throughput", "dram_utilization"},
}
FOLDERS = {"GTX 950": "gtx950", "GTX 1080 Ti": "gtx1080ti"}
#: left out where more than a tenth of the runs lack it, as every command does
MOST_GAPS = 0.1


def with_metrics(data: TrainingData, runs: pd.DataFrame, gone: set[str]) -> TrainingData:
    """Return the same rows with all metrics but those."""
    places = [f"{file}:{line}" for file, line in zip(runs["file"], runs["line"], strict=True)]
    values = run_values(runs).set_axis(places)
    if values.index.has_duplicates:
        raise SystemExit("two runs stand at one place of a file: they cannot be told apart")
    values = values.loc[data.keys["place"]].drop(columns=[name for name in gone if name in values])
    kept = [name for name in values if values[name].isna().mean() <= MOST_GAPS and values[name].nunique() > 1]
    values = values[kept].astype(float)
    return replace(data, X=values.fillna(values.median()).reset_index(drop=True))


@click.command(help=__doc__, context_settings={"show_default": True})
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path(__file__).parent / "results" / "xarch_same_gpu.csv",
)
@click.option("--models", default="forest,mlp", help="With commas, beside the mean of the training rows.")
@click.option("--repeats", default=3, help="Seeds.")
@click.option("--folds", default=5, help="Folds of applications.")
def main(out: Path, models: str, repeats: int, folds: int) -> None:
    """Run the benchmark."""
    rows: list[dict[str, object]] = []
    for gpu, folder in FOLDERS.items():
        with tempfile.TemporaryDirectory() as scratch:
            table = Path(scratch) / "runs.parquet"
            ingest([shared_data() / "nvprof" / folder], table)
            runs = load_runs(table)
        for target, names in NAMES.items():
            data = training_data(runs, make_problem(target, gpu))
            sets = {"other names": with_metrics(data, runs, names), "all that tell it": data}
            for split in ("suite", "application"):
                for title, part in sets.items():
                    start = time.process_time()
                    result = evaluate(part, models.split(","), split_by=split, folds=folds, repeats=repeats)
                    seconds = time.process_time() - start
                    for suite, places in parts_by(data.keys, "suite").items():
                        for name in result.predictions:
                            scores = result.score(name, places)
                            rows.append(
                                {
                                    "gpu": gpu,
                                    "target": target,
                                    "split": split,
                                    "left_out_of_the_inputs": title,
                                    "metrics": part.X.shape[1],
                                    "part": suite,
                                    "model": name,
                                    "rows": len(places),
                                    "repeats": repeats,
                                    "median_ape_pct": round(100 * scores["median_ape"], 1),
                                    "mape_pct": round(100 * scores["mape"], 1),
                                    "mae": f"{scores['mae']:.4g}",
                                    "r2": round(scores["r2"], 3),
                                    "cpu_s": round(seconds),
                                }
                            )
                    shown = pd.DataFrame(
                        [row for row in rows if row["part"] == "all"][-len(result.predictions) :]
                    )
                    click.echo(shown.drop(columns=["part", "repeats"]).to_string(index=False))
                    out.parent.mkdir(parents=True, exist_ok=True)
                    pd.DataFrame(rows).to_csv(out, index=False)
    click.echo(f"wrote {out}")


if __name__ == "__main__":
    main()
