"""Predictions for applications and kernels that no model has seen, on real profiles.

GTX 950 -> GTX 1080 Ti (147 pairs of 58 applications, ten folds of whole applications) by suite, and K40 ->
P100 and K20 -> K40 (six kernels, each left out in turn, at most 250 of its rows, drawn evenly). Writes
benchmarks/results/xarch_heldout.csv and prints it. The profiles stay in ../shared/data, or in the folder
that the environment variable XARCH_SHARED_DATA names.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import pandas as pd

from gpu_xarch import ingest, load_runs, pair_runs
from gpu_xarch.learning.domain import Domain
from gpu_xarch.learning.evaluation import Evaluation, evaluate
from gpu_xarch.learning.prediction import TOLERANCE
from gpu_xarch.learning.rows import TrainingData, training_data
from gpu_xarch.learning.scores import score
from gpu_xarch.learning.splits import groups_of, split
from gpu_xarch.models import make_problem
from gpu_xarch.profiles.readers.table import load_map, table_reader

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
ROWS_OF_A_KERNEL = 250


def shared_data() -> Path:
    """Return the folder of real profiles."""
    return Path(os.environ.get("XARCH_SHARED_DATA", ROOT / ".." / "shared" / "data"))


def geforce_pairs(folder: Path) -> pd.DataFrame:
    """Return the pairs GTX 950 -> GTX 1080 Ti with their suite."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "runs.parquet"
        ingest([folder / "nvprof" / "gtx950", folder / "nvprof" / "gtx1080ti"], out)
        runs = load_runs(out)
    on = ("application", "kernel", "invocations")
    pairs = pair_runs(runs, source="GTX 950", dest="GTX 1080 Ti", on=on).pairs
    pairs["suite"] = pairs["dest.file"].str.extract(r"metrics_([a-z0-9]+)_")[0]
    return pairs


def tesla_pairs(folder: Path, source: str, dest: str, seed: int) -> pd.DataFrame:
    """Return pairs of the six kernels, one a distinct input, at most `ROWS_OF_A_KERNEL` of each."""
    files = [
        path
        for path in sorted((folder / "gpuperfpredict").glob("*.csv.gz"))
        if path.name.endswith((f"-{source}.csv.gz", f"-{dest}.csv.gz"))
    ]
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "runs.parquet"
        ingest(files, out, reader=table_reader(load_map("gpuperfpredict")))
        runs = load_runs(out)
    pairs = pair_runs(runs, source=source, dest=dest, repeats="first").pairs
    rng = np.random.default_rng(seed)
    kept = [
        rng.choice(rows, min(len(rows), ROWS_OF_A_KERNEL), replace=False)
        for _, rows in sorted(pairs.groupby("kernel").indices.items())
    ]
    pairs = pairs.iloc[np.sort(np.concatenate(kept))].reset_index(drop=True)
    pairs["suite"] = pairs["kernel"].str.replace(r"\(.*", "", regex=True)
    return pairs


def rows_of(case: str, split_by: str, result: Evaluation, suites: np.ndarray) -> list[dict[str, object]]:
    """Return the scores of every model over all rows and by suite."""
    data, found = result.data, []
    intervals = {row["model"]: row for row in result.scores(draws=400)}
    grouped = split_by != "random"
    flagged = flags(data, split_by) if grouped else np.zeros(len(data))
    for suite in ("all", *sorted(set(suites))):
        rows = np.flatnonzero(np.ones(len(data), dtype=bool) if suite == "all" else suites == suite)
        for name, predicted in result.predictions.items():
            scores = score(data.y[rows], predicted[rows])
            whole = intervals[name] if suite == "all" else {}
            found.append(
                {
                    "case": case,
                    "target": data.problem.target,
                    "split": split_by,
                    "suite": suite,
                    "model": name,
                    "rows": len(rows),
                    "median_ape_pct": round(100 * scores["median_ape"], 1),
                    "median_low_pct": round(100 * whole["median_ape_low"], 1) if whole else "",
                    "median_high_pct": round(100 * whole["median_ape_high"], 1) if whole else "",
                    "mape_pct": round(100 * scores["mape"], 1),
                    "mae": f"{scores['mae']:.4g}",
                    "r2": round(scores["r2"], 3),
                    "out_of_domain_pct": round(100 * float(flagged[rows].mean()), 1)
                    if name == "auto" and grouped
                    else "",
                }
            )
    return found


def flags(data: TrainingData, split_by: str) -> np.ndarray:
    """Say of every row whether a model fitted without its group calls it out of its domain.

    Each training part judges its own domain by predictions that it makes for its own groups, left out one
    after another; the row's group takes no part in that. They are made with 50 trees, not 200, to save time.
    """
    flagged = np.zeros(len(data), dtype=bool)
    for train_rows, test_rows in split(data, split_by, 10, 0):
        part = data.rows(train_rows)
        inner = evaluate(part, ("auto",), split_by=split_by, folds=5, options={"auto": {"n_estimators": 50}})
        error = np.abs(inner.predictions["auto"] - part.y) / np.maximum(part.y, 1e-3 * np.median(part.y))
        domain = Domain.fit(
            part.X.to_numpy(float), groups=groups_of(part, split_by), errors=error, tolerance=TOLERANCE
        )
        flagged[test_rows] = domain.flags(data.X.iloc[test_rows].to_numpy(float))
    return flagged


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "xarch_heldout.csv")
@click.option("--seed", type=int, default=0)
@click.option("--source", "sources", multiple=True, help="Only from this GPU; other rows of the table stay.")
@click.option("--grouped", is_flag=True, help="Leave out the random splits.")
@click.option("--mlp-epochs", type=int, default=1000, help="The published 1,000, or fewer for a quick look.")
def main(out: Path, seed: int, sources: tuple[str, ...], grouped: bool, mlp_epochs: int) -> None:
    """Run the benchmark."""
    folder = shared_data()
    if not (folder / "nvprof").is_dir():
        raise SystemExit(f"no real profiles: neither $XARCH_SHARED_DATA nor {folder} has a folder nvprof")
    models = ("forest", "boosting", "mlp", "auto")
    cases = [
        ("GTX 950", "GTX 1080 Ti", geforce_pairs(folder), ("application", "random")),
        ("K40", "P100", tesla_pairs(folder, "K40", "P100", seed), ("kernel", "random")),
        ("K20", "K40", tesla_pairs(folder, "K20", "K40", seed), ("kernel", "random")),
    ]
    cases = [case for case in cases if not sources or case[0] in sources]
    rows: list[dict[str, object]] = []
    if sources and out.exists():
        ran = [f"{source} -> {dest}" for source, dest, _, _ in cases]
        before = pd.read_csv(out, keep_default_na=False)
        rows = before[~before["case"].isin(ran)].to_dict("records")
    for source, dest, pairs, splits in cases:
        for target in ("ipc", "dram_throughput"):
            data = training_data(pairs, make_problem(target, source, dest))
            suites = pairs["suite"].to_numpy(str)
            if len(suites) != len(data):
                raise SystemExit("some pairs lack the target: their suites cannot be told apart")
            for split_by in splits[:1] if grouped else splits:
                start = time.perf_counter()
                options = {"mlp": {"epochs": mlp_epochs}}
                result = evaluate(data, models, split_by=split_by, folds=10, seed=seed, options=options)
                part = rows_of(f"{source} -> {dest}", split_by, result, suites)
                rows += part
                click.echo(
                    pd.DataFrame([row for row in part if row["suite"] == "all"]).to_string(index=False)
                )
                click.echo(result.words("auto"))
                click.echo(f"{time.perf_counter() - start:.0f} s", err=True)
                out.parent.mkdir(parents=True, exist_ok=True)
                pd.DataFrame(rows).to_csv(out, index=False)
    click.echo(f"wrote {out}")


if __name__ == "__main__":
    main()
