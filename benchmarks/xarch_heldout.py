"""Predictions for suites, applications and kernels that no model has seen, on real profiles.

GTX 950 -> GTX 1080 Ti (147 pairs of 58 applications): each suite left out in turn, then whole applications in shuffled
folds. Teslas: kernels left out in turn, all pairs of GPUs by one model, K20, K40 and P100 among each other (developed
on) and the TitanX from and to each of them (checked on); the three once more, by models that have seen neither the
kernel nor one of the two GPUs. Suites and applications are repeated with other seeds; scores
are means over the repeats. Writes
benchmarks/results/xarch_heldout.csv and prints it. The profiles stay in ../shared/data, or in the folder that the
environment variable XARCH_SHARED_DATA names.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import pandas as pd

from gpu_xarch import ingest, load_runs, pair
from gpu_xarch.learning.evaluation import Evaluation, evaluate
from gpu_xarch.learning.fitting import fit_model
from gpu_xarch.learning.rows import TrainingData, training_data
from gpu_xarch.learning.splits import groups_of
from gpu_xarch.models import ANY, baselines_of, make_model, make_problem
from gpu_xarch.profiles.readers.table import load_map, table_reader

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
CHECKED_GPU, CHECKED_SUITE = "GTX TITAN X", "PolyBench"
GEFORCE = "GTX 950 -> GTX 1080 Ti"
TESLAS = ("K20", "K40", "P100", CHECKED_GPU)


def shared_data() -> Path:
    """Return the folder of real profiles."""
    return Path(os.environ.get("XARCH_SHARED_DATA", ROOT / ".." / "shared" / "data"))


def geforce_pairs(folder: Path, source: str = "GTX 950", dest: str = "GTX 1080 Ti") -> pd.DataFrame:
    """Return the pairs GTX 950 -> GTX 1080 Ti, or the other way round."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "runs.parquet"
        ingest([folder / "nvprof" / "gtx950", folder / "nvprof" / "gtx1080ti"], out)
        runs = load_runs(out)
    return pair(runs, source=source, dest=dest, on=("application", "kernel", "invocations")).pairs


def tesla_pairs(folder: Path, rows_of_a_kernel: int, seed: int) -> pd.DataFrame:
    """Return all pairs of the four GPUs, one a distinct input, at most so many of each kernel and pair."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "runs.parquet"
        files = sorted((folder / "gpuperfpredict").glob("*.csv.gz"))
        ingest(files, out, reader=table_reader(load_map("gpuperfpredict")))
        runs = load_runs(out)
    rng, found = np.random.default_rng(seed), []
    for source in TESLAS:
        for dest in TESLAS:
            if source != dest:
                pairs = pair(runs, source=source, dest=dest, repeats="first").pairs
                kept = [
                    rng.choice(rows, min(len(rows), rows_of_a_kernel), replace=False)
                    for _, rows in sorted(pairs.groupby("kernel").indices.items())
                ]
                found.append(pairs.iloc[np.sort(np.concatenate(kept))])
    return pd.concat(found, ignore_index=True)


def rows_of(
    case: str, result: Evaluation, parts: dict[str, np.ndarray], seconds: float
) -> list[dict[str, object]]:
    """Return the scores of every model over parts of the rows, with intervals over groups for all of them."""
    data, found = result.data, []
    intervals = {row["model"]: row for row in result.scores(draws=200)}
    for part, rows in parts.items():
        for name in result.predictions:
            scores, whole = result.score(name, rows), intervals[name] if len(rows) == len(data) else {}
            found.append(
                {
                    "case": case,
                    "target": data.problem.target,
                    "split": result.split,
                    "part": part,
                    "model": name,
                    "rows": len(rows),
                    "repeats": len(result.predictions[name]),
                    "median_ape_pct": round(100 * scores["median_ape"], 1),
                    "median_low_pct": round(100 * whole["median_ape_low"], 1) if whole else "",
                    "median_high_pct": round(100 * whole["median_ape_high"], 1) if whole else "",
                    "mape_pct": round(100 * scores["mape"], 1),
                    "mae": f"{scores['mae']:.4g}",
                    "r2": round(scores["r2"], 3),
                    "cpu_s": round(seconds),
                }
            )
    return found


def new_gpus(data: TrainingData, models: list[str]) -> tuple[Evaluation, np.ndarray]:
    """Predict pairs with a GPU by models that have seen neither it nor the kernel.

    Each row is predicted twice, with either of its GPUs left out. The GPU that was is returned beside.
    """
    kernels = np.array(groups_of(data, "kernel"))
    gpus = np.array([pair.split(" -> ") for pair in data.keys["gpus"]])
    names = [*baselines_of(data.problem), *models]
    rows: list[np.ndarray] = []
    told: dict[str, list[np.ndarray]] = {name: [] for name in names}
    left_out = []
    for gpu in sorted(set(gpus.ravel())):
        with_it = (gpus == gpu).any(axis=1)
        for kernel in sorted(set(kernels)):
            test = np.flatnonzero(with_it & (kernels == kernel))
            part = data.rows(np.flatnonzero(~with_it & (kernels != kernel)))
            for name in names:
                model = fit_model(make_model(name, data.problem), part)
                told[name].append(model.predict(data.X.iloc[test]))
            rows.append(test)
            left_out.append(np.full(len(test), gpu))
    predictions = {name: np.concatenate(each)[None] for name, each in told.items()}
    result = Evaluation(data.rows(np.concatenate(rows)), "kernel and GPU", predictions)
    return result, np.concatenate(left_out)


def parts_by(keys: pd.DataFrame, column: str) -> dict[str, np.ndarray]:
    """Return the rows of each suite or pair of GPUs, and all; keys are of the rows that data kept."""
    names = keys[column].to_numpy(str)
    parts = {
        f"{name} (checked on)" if name == CHECKED_SUITE else name: np.flatnonzero(names == name)
        for name in sorted(set(names))
    }
    return {"all": np.arange(len(keys)), **parts}


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "xarch_heldout.csv")
@click.option("--repeats", default=10, help="Seeds.")
@click.option("--folds", default=5, help="Folds of applications.")
@click.option("--models", default="forest,boosting,mlp,mechanism,auto", help="With commas.")
@click.option("--mlp-epochs", default=1000, help="The published 1,000, or fewer for a quick look.")
@click.option("--tesla-rows", default=40, help="Of each kernel and pair of Teslas.")
@click.option(
    "--only", type=click.Choice(["suite", "application", "kernel", "gpu"]), help="One of the splits."
)
@click.option("--targets", default="ipc,dram_throughput,duration", help="With commas.")
def main(
    out: Path,
    repeats: int,
    folds: int,
    models: str,
    mlp_epochs: int,
    tesla_rows: int,
    only: str | None,
    targets: str,
) -> None:
    """Run the benchmark; rows of the table, other models' too, that are not measured again stay."""
    folder = shared_data()
    if not (folder / "nvprof").is_dir():
        raise SystemExit(f"no real profiles: neither $XARCH_SHARED_DATA nor {folder} has a folder nvprof")
    rows: list[dict[str, object]] = []
    if out.exists():
        rows = pd.read_csv(out, keep_default_na=False).to_dict("records")

    def measure(
        case: str, table: pd.DataFrame, target: str, split: str, gpus: tuple[str, str], n: int
    ) -> None:
        if target not in targets.split(","):
            return
        data, start = training_data(table, make_problem(target, *gpus)), time.process_time()
        told = {"mlp": {"epochs": mlp_epochs}}
        result = evaluate(data, models.split(","), split_by=split, folds=folds, repeats=n, options=told)
        parts = parts_by(data.keys, "gpus" if gpus[0] == ANY else "suite")
        keep(case, result, parts, time.process_time() - start)

    def keep(case: str, result: Evaluation, parts: dict[str, np.ndarray], seconds: float) -> None:
        nonlocal rows
        new, target, split = rows_of(case, result, parts, seconds), result.data.problem.target, result.split
        done = {(case, target, split, name) for name in result.predictions}
        kept = [row for row in rows if (row["case"], row["target"], row["split"], row["model"]) not in done]
        rows = kept + new
        click.echo(
            pd.DataFrame(new).drop(columns=["case", "split", "repeats", "cpu_s"]).to_string(index=False)
        )
        pd.DataFrame(rows).to_csv(out, index=False)

    out.parent.mkdir(parents=True, exist_ok=True)
    for split in ("suite", "application"):
        if only in (None, split):
            pairs = geforce_pairs(folder)
            for target in ("ipc", "dram_throughput"):
                measure(GEFORCE, pairs, target, split, ("GTX 950", "GTX 1080 Ti"), repeats)
    if only in (None, "kernel"):
        pairs = tesla_pairs(folder, tesla_rows, 0)
        checked = ((pairs["source.device"] == CHECKED_GPU) | (pairs["dest.device"] == CHECKED_GPU)).to_numpy()
        for case, table in (("K20, K40, P100", pairs[~checked]), ("with the TitanX (checked on)", pairs)):
            for target in ("ipc", "dram_throughput", "duration"):
                measure(case, table.reset_index(drop=True), target, "kernel", (ANY, ANY), 1)
    if only in (None, "gpu"):
        pairs = tesla_pairs(folder, tesla_rows, 0)
        devices = pairs[["source.device", "dest.device"]].to_numpy(str)
        known = ~(devices == CHECKED_GPU).any(axis=1)
        for target in targets.split(","):
            start = time.process_time()
            data = training_data(pairs[known].reset_index(drop=True), make_problem(target, ANY, ANY))
            result, gpus = new_gpus(data, models.split(","))
            parts = {"all": np.arange(len(gpus)), **{one: np.flatnonzero(gpus == one) for one in set(gpus)}}
            keep("K20, K40, P100", result, parts, time.process_time() - start)
    click.echo(f"wrote {out}")


if __name__ == "__main__":
    main()
