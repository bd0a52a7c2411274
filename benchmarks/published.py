"""The published experiments on P100 and V100 from end to end, at their size, on SIMULATED runs.

    python benchmarks/published.py [--quick] [--models forest,mlp,nas] [--jobs 1] [--out benchmarks/results]

32,291 pairs of 116 metrics, 22,603 of them to train. Every number is of runs that the analytic model of `xarch
simulate` made: the published numbers beside them were measured on real GPUs and cannot be compared one to one. Writes
published.csv (scores), published_curves.csv (learning curves, by application too), published_composition.csv, and a
figure of each of the last two. `--quick` does the same at a twentieth of the size, as a smoke test.

The published study searched architectures for every training set. Here one search of 100 candidates is made, for IPC
across GPUs, on the smallest random training set (2.5 % of the runs), which is part of every larger random one; its best
five (as published: 50) are trained again on each training set and averaged, for every target. `nas.py` beside this
file makes one search on all the rows and retrains the published 50.
"""

from __future__ import annotations

import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from published_data import MARK, RUNS, TRAIN, Clock, Data, Report, fitted, make_data, mape, memory

from gpu_xarch import find_gpu
from gpu_xarch.advice.curation import STRATEGIES, acquisition_forest, curate
from gpu_xarch.advice.forest_variance import forest_variance
from gpu_xarch.advice.learning_curves import composition, composition_figure, curve_figure, sizes_of
from gpu_xarch.models import make_model, make_problem
from gpu_xarch.simulator.kernels import KERNELS

#: candidates of the one search, and how many of the best are trained again on each training set
CANDIDATES, NETWORKS = 100, 5
#: the target by its other names, as in the published study; `reveals("ipc")` leaves out more
LEFT_OUT = ("ipc", "issued_ipc", "issue_slot_utilization")
PARTS = ("costs", "curation", "same-gpu", "throughput", "classifier")


class Build:
    """Makes models by name.

    Parameters
    ----------
    n_jobs : int
        Threads of the forests.
    folder : Path
        Where the candidates of the architecture search are kept.
    """

    def __init__(self, n_jobs: int, folder: Path) -> None:
        self.n_jobs, self.folder = n_jobs, folder

    def search(self, X: pd.DataFrame, y: np.ndarray) -> float:
        """Search architectures on these rows; return the best reward."""
        options = {"budget": CANDIDATES, "best": 1, "final_epochs": 1, "folder": str(self.folder)}
        model: Any = make_model("nas", make_problem("ipc", "P100", "V100"), **options)
        return float(model.fit(X, y).rewards_[0])

    def __call__(self, name: str, problem: Any) -> Any:
        """Return a model, not fitted."""
        options: dict[str, Any] = {}
        if name == "forest":
            options = {"n_jobs": self.n_jobs}
        elif name == "nas":
            # many small steps: for the same number of them a quarter of the time of batches of 250
            options = {"budget": CANDIDATES, "best": NETWORKS, "batch": 64, "folder": str(self.folder)}
        return make_model(name, problem, **options)


def five_metrics(X: pd.DataFrame, y: np.ndarray) -> list[str]:
    """Choose five metrics by importance, passing over those that say the same as one chosen."""
    forest = acquisition_forest().fit(X, y)
    ranks = X.rank()
    chosen: list[str] = []
    for place in np.argsort(-forest.feature_importances_):
        name = str(X.columns[place])
        if all(abs(ranks[name].corr(ranks[other])) < 0.95 for other in chosen):
            chosen.append(name)
        if len(chosen) == 5:
            break
    return chosen


def same_gpu(data: Data, report: Report, build: Build, models: list[str], shares: tuple[float, ...]) -> None:
    """IPC of the P100 from its other metrics, from few rows."""
    problem = make_problem("ipc", "P100")
    X = data.X.drop(columns=[name for name in data.X.columns if name in LEFT_OUT])
    y = data.X["ipc"].to_numpy()
    for share in shares:
        part = data.train[: round(share * len(data.train))]
        five = five_metrics(X.iloc[part], y[part])
        for title, columns in ((f"{X.shape[1]} metrics", list(X.columns)), ("5: " + " ".join(five), five)):
            for name in models:
                model, took = fitted(lambda name=name: build(name, problem), X[columns].iloc[part], y[part])
                score = mape(model.predict(X[columns].iloc[data.test]), y[data.test])
                told = "4.11 % and 2.96 %"
                report.add(
                    "IPC, same GPU", f"{name}, {len(part)} rows, {title}, MAPE", score, "%", told, took
                )


def classifier(data: Data, report: Report, n_jobs: int) -> None:
    """Which runs are bound by memory on the V100, seen from the P100."""
    problem = make_problem("memory_bound", "P100", "V100")
    total = data.target["dram_read_throughput"] + data.target["dram_write_throughput"]
    bound = (total / find_gpu("V100").bandwidth > 0.75).astype(float)
    model, took = fitted(
        lambda: make_model("forest", problem, n_jobs=n_jobs), data.X.iloc[data.train], bound[data.train]
    )
    truth = bound[data.test] == 1
    told = model.predict(data.X.iloc[data.test]) == 1
    title = "becomes memory-bound"
    report.add(title, "false positive rate", 100 * told[~truth].mean(), "%", "0.48 %", took)
    report.add(title, "false negative rate", 100 * (~told[truth]).mean(), "%", "1.74 %")
    throughput = data.X["dram_read_throughput"] + data.X["dram_write_throughput"]
    before = (throughput / find_gpu("P100").bandwidth > 0.75).to_numpy()[data.test]
    turned = truth & ~before
    report.add(title, "test runs that change from not bound to bound", float(turned.sum()), "runs")
    if turned.any():
        report.add(title, "of these foreseen", 100 * told[turned].mean(), "%")
    report.add(title, "old = new, error rate", 100 * (before != truth).mean(), "%")


def throughput(data: Data, report: Report, build: Build, models: list[str]) -> None:
    """Device-memory throughput on the V100, capped at the peak."""
    problem = make_problem("dram_throughput", "P100", "V100")
    X = data.X.assign(dram_throughput=data.X["dram_read_throughput"] + data.X["dram_write_throughput"])
    y = data.target["dram_read_throughput"] + data.target["dram_write_throughput"]
    for name in ["old", *models]:
        model, took = fitted(lambda name=name: build(name, problem), X.iloc[data.train], y[data.train])
        predicted = np.minimum(model.predict(X.iloc[data.test]), problem.cap)
        error = float(np.abs(predicted - y[data.test]).mean()) / 1e9
        report.add("DRAM throughput", f"{name}, MAE", error, "GB/s", "15.82 GB/s", took)


def architectures(data: Data, report: Report, build: Build) -> None:
    """Search once, on the smallest random training set."""
    size = sizes_of(len(data.train))[0]
    answers = data.target["ipc"][data.train]
    batch = min(250, size)
    part = curate(
        data.X.iloc[data.train].to_numpy(), answers, size, strategy="random", batch_size=batch, initial=batch
    )
    clock = Clock()
    reward = build.search(data.X.iloc[data.train].iloc[part], answers[part])
    what = f"best R² of {CANDIDATES} candidates, {size} random rows, a fifth held out"
    report.add("architecture search", what, reward, "", took=clock.read())


def curation(
    data: Data, report: Report, build: Build, models: list[str], path: Path
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """IPC across GPUs: every model on random and on curated training sets of 12 sizes, written as they come.

    Rows of other models that are in the file stay.
    """
    problem = make_problem("ipc", "P100", "V100")
    pool, y = data.X.iloc[data.train], data.target["ipc"]
    answers, truth = y[data.train], y[data.test]
    sizes = sizes_of(len(pool))
    orders: dict[str, np.ndarray] = {}
    # the forest's sets are those whose composition is shown; the others need two strategies
    for strategy in STRATEGIES if "forest" in models else ("variance", "random"):
        clock = Clock()
        orders[strategy] = curate(
            pool.to_numpy(),
            answers,
            sizes[-1],
            strategy=strategy,
            batch_size=min(250, sizes[0]),
            initial=min(250, sizes[0]),
            n_jobs=build.n_jobs,
        )
        took = clock.read()
        report.add(
            "curation", f"{strategy}, choosing {sizes[-1]} of {len(pool)} runs", took.wall, "s", took=took
        )
    test = data.X.iloc[data.test]
    places = {name: np.flatnonzero(data.applications[data.test] == name) for name in KERNEL_NAMES}
    places = {"all": np.arange(len(test)), **{name: rows for name, rows in places.items() if len(rows)}}
    found: list[dict[str, Any]] = []
    if path.exists():
        kept = pd.read_csv(path)
        found = kept[~kept["model"].isin(["old", *models])].to_dict("records")
    for name in ["old", *models]:
        strategies = ("variance", "diversity", "random") if name == "forest" else ("variance", "random")
        for strategy in strategies:
            clock = Clock()
            for size in sizes:
                part = orders[strategy][:size]
                model, took = fitted(lambda name=name: build(name, problem), pool.iloc[part], answers[part])
                predicted = model.predict(test)
                for application, rows in places.items():
                    off = np.abs(predicted[rows] - truth[rows])
                    shares = off / truth[rows]
                    found.append(
                        {
                            "model": name,
                            "strategy": strategy,
                            "size": size,
                            "application": application,
                            "rows": len(rows),
                            "mape": float(shares.mean()),
                            "median_ape": float(np.median(shares)),
                            "mae": float(off.mean()),
                            "fit_seconds": round(took.wall, 2),
                            "fit_cpu_seconds": round(took.cpu, 2),
                            "simulated": True,
                        }
                    )
            pd.DataFrame(found).round(5).to_csv(path, index=False)
            what = f"{name} on {len(sizes)} {strategy} training sets, fitted and scored"
            report.add("curation", what, clock.read().wall, "s", took=clock.read())
    curve = pd.DataFrame(found)
    said = {"all": "about 12 %", "stream": "33 % to 3 %"}
    for name in ["old", *models]:
        for application, published_text in said.items():
            part = curve[(curve["model"] == name) & (curve["application"] == application)]
            for strategy in ("random", "variance") if name != "old" else ("random",):
                line = part[part["strategy"] == strategy]["mape"].to_numpy()
                for share, value in ((2.5, line[0]), (30, line[-1])):
                    what = f"{name}, {strategy}, {share} % of the runs, {application}, MAPE"
                    report.add("IPC, P100 -> V100", what, 100 * value, "%", published_text)
    return curve, orders


KERNEL_NAMES = sorted({model.application for model in KERNELS})


def costs(data: Data, report: Report, build: Build) -> None:
    """Time and memory of forests and of the variance at full size."""
    X, y = data.X.to_numpy(np.float32), data.target["ipc"]
    forest, took = fitted(lambda: acquisition_forest(n_jobs=build.n_jobs), X[data.train], y[data.train])
    rows = f"{len(data.train)} rows"
    unit = "s of processor"
    report.add(
        "cost", f"forest of 100 trees, {rows}, root of the metrics at a split", took.cpu, unit, took=took
    )
    problem = make_problem("ipc", "P100", "V100")
    _, took = fitted(lambda: build("forest", problem), data.X.iloc[data.train], y[data.train])
    report.add("cost", f"forest of 100 trees, {rows}, all metrics at a split", took.cpu, unit, took=took)
    points = X[:10_000]
    times = []
    for _ in range(5):
        clock = Clock()
        forest_variance(forest, points, n_jobs=build.n_jobs)
        times.append(clock.read())
    took = min(times, key=lambda one: one.cpu)
    report.add("cost", f"variance of {len(points)} points, in-bag counts included", took.cpu, unit, took=took)
    tracemalloc.start()
    forest_variance(forest, points, n_jobs=build.n_jobs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    report.add("cost", f"variance of {len(points)} points, peak of the memory it allocates", peak / 1e6, "MB")
    memory(report, "data, forests and variance")


def draw_curves(curve: pd.DataFrame, stem: str, pool: int) -> None:
    """Draw the learning curves, over all applications and of stream alone."""
    for application in ("all", "stream"):
        part = curve[curve["application"] == application]
        old = part[part["model"] == "old"]["mape"].iloc[0]
        name = "all applications" if application == "all" else application
        figure = curve_figure(
            part[part["model"] != "old"],
            title=f"{MARK}: IPC, P100 to V100, {pool:,} runs to choose from; {name}",
            lines={"old = new": old},
        )
        figure.savefig(f"{stem}_curve_{application}.png", dpi=120)


def draw_composition(parts: pd.DataFrame, stem: str) -> None:
    """Write and draw what the training sets are made of."""
    parts.assign(simulated=True).round(5).to_csv(f"{stem}_composition.csv", index=False)
    some = parts[parts["strategy"].isin(["pool", "variance", "diversity", "random"])]
    pool = int(parts[parts["strategy"] == "pool"]["size"].iloc[0])
    title = f"{MARK}: IPC, P100 to V100, {pool:,} runs to choose from"
    composition_figure(some, title=title).savefig(f"{stem}_composition.png", dpi=90)


@click.command(context_settings={"show_default": True})
@click.option("--quick", is_flag=True, help="A twentieth of the size.")
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="Only this; repeat for more.")
@click.option("--models", default="forest,mlp,nas", help="Beside old = new; nas needs DeepHyper.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep the candidates of the search here.")
@click.option("--jobs", default=1, help="Threads of the forests.")
@click.option("--out", type=click.Path(path_type=Path), default=Path(__file__).parent / "results")
def main(quick: bool, parts: tuple[str, ...], models: str, folder: Path | None, jobs: int, out: Path) -> None:
    """Run the published experiments on simulated runs; rows of other parts and models stay in the files."""
    wanted = parts or PARTS
    names = [name for name in models.split(",") if name]
    data = make_data(RUNS // 20, TRAIN // 20) if quick else make_data(RUNS, TRAIN)
    click.echo(f"{MARK}: {len(data.X)} pairs of {data.X.shape[1]} metrics, {len(data.train)} to train")
    out.mkdir(parents=True, exist_ok=True)
    stem = str(out / ("published_quick" if quick else "published"))
    report = Report(Path(f"{stem}.csv"))
    with tempfile.TemporaryDirectory(prefix="published-") as scratch:
        build = Build(jobs, folder or Path(scratch))
        if "costs" in wanted:
            costs(data, report, build)
        if "nas" in names and set(wanted) - {"costs", "classifier"}:
            architectures(data, report, build)
        if "same-gpu" in wanted:
            same_gpu(data, report, build, names, (0.1, 0.3) if quick else (451 / TRAIN, 4521 / TRAIN))
        if "classifier" in wanted:
            classifier(data, report, jobs)
        if "curation" in wanted:
            curve, orders = curation(data, report, build, names, Path(f"{stem}_curves.csv"))
            draw_curves(curve, stem, len(data.train))
            if "forest" in names:
                applications = data.applications[data.train]
                draw_composition(composition(orders, applications, sizes_of(len(data.train))), stem)
        if "throughput" in wanted:
            throughput(data, report, build, names)
    memory(report, ", ".join(wanted))
    click.echo(f"wrote {stem}*")


if __name__ == "__main__":
    main()
