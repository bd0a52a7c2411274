"""An architecture search at the published size: 100 candidates, the best 50 trained again, on SIMULATED runs.

    python benchmarks/nas.py [--workers 2] [--budget 100] [--best 50] [--ratio 24] [--out benchmarks/results]

IPC, P100 -> V100, all 22,603 training runs of `published.py`, a fifth of them held out for the reward. Then the gain of
a second worker: searches of fewer candidates with one and with two workers in turns, and the medians of their times.
Writes nas.csv. Set OMP_NUM_THREADS=1; let the process use as many cores as there are workers. On cores that other work
shares the comparison says nothing: a second worker then gets no more of the processor.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click
import deephyper.evaluator
import deephyper.hpo  # noqa: F401
import numpy as np
from joblib.externals.loky import get_reusable_executor
from published_data import MARK, RUNS, TRAIN, Clock, Data, Report, Took, make_data, mape, memory

from gpu_xarch.models import make_model, make_problem
from gpu_xarch.models.nas import Nas


def search(data: Data, **options: Any) -> tuple[Nas, Took]:
    """Fit on all training rows; return the model and the time."""
    model: Any = make_model("nas", make_problem("ipc", "P100", "V100"), **options)
    clock = Clock()
    model.fit(data.X.iloc[data.train], data.target["ipc"][data.train])
    # joblib keeps its workers; the time of the processor is known of those that ended
    get_reusable_executor().shutdown(wait=True)
    return model, clock.read()


def published_search(data: Data, report: Report, folder: str, budget: int, best: int, workers: int) -> None:
    """Search, train the best again, and score means of more and more of them on the test rows."""
    options: dict[str, Any] = {"budget": budget, "workers": workers, "folder": folder}
    cores = f"{workers} workers"
    model, spent = search(data, **options, best=1, final_epochs=1)
    report.add("search", f"{budget} candidates, {cores}", spent.wall, "s", "", took=spent)
    report.add("search", "best R² on the rows held out", model.rewards_[0], "")
    report.add("search", "median R² on the rows held out", float(np.median(model.rewards_)), "")
    model, again = search(data, **options, best=best)
    report.add("search", f"best {best} trained again on all rows, {cores}", again.wall, "s", "", took=again)
    total = Took(spent.wall + again.wall, spent.cpu + again.cpu)
    report.add("search", "both", total.wall, "s", "", took=total)
    X, truth = data.X.iloc[data.test], data.target["ipc"][data.test]
    networks = model.networks_
    for count in sorted({1, min(5, best), best}):
        model.networks_ = networks[:count]
        told = "about 12 %" if count == best else ""
        report.add("search", f"MAPE on the test rows, best {count}", mape(model.predict(X), truth), "%", told)
    memory(report, "search")


def second_worker(data: Data, report: Report, budget: int, rounds: int) -> None:
    """Time searches with one and two workers in turns."""
    times: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for workers, found in times.items():
            options = {"budget": budget, "best": 1, "epochs": 5, "final_epochs": 1}
            _, spent = search(data, workers=workers, **options)
            found.append(spent.wall)
            what = f"{budget} candidates of 5 epochs, {workers} worker{'s' * (workers > 1)}"
            report.add("second worker", what, spent.wall, "s", "", took=spent)
    one, two = (float(np.median(found)) for found in times.values())
    report.add("second worker", f"speedup, medians of {rounds} runs each", one / two, "times")


@click.command(context_settings={"show_default": True})
@click.option("--workers", default=2, help="Processes that train candidates.")
@click.option("--budget", default=100, help="Candidates; 0 to compare one and two workers only.")
@click.option("--best", default=50, help="Of them trained again.")
@click.option(
    "--ratio", default=24, help="Candidates of the searches with one and with two workers; 0 for none."
)
@click.option("--rounds", default=3, help="Searches of each kind.")
@click.option("--size", default=1.0, help="Share of the published number of runs.")
@click.option("--out", type=click.Path(path_type=Path), default=Path(__file__).parent / "results")
def main(workers: int, budget: int, best: int, ratio: int, rounds: int, size: float, out: Path) -> None:
    """Search architectures at the published size, on simulated runs."""
    data = make_data(round(size * RUNS), round(size * TRAIN))
    click.echo(f"{MARK}: {len(data.train)} runs to train")
    out.mkdir(parents=True, exist_ok=True)
    report = Report(out / "nas.csv")
    if ratio:
        second_worker(data, report, ratio, rounds)
    if not budget:
        return
    with tempfile.TemporaryDirectory(prefix="nas-") as folder:
        published_search(data, report, folder, budget, best, workers)
    click.echo(f"wrote {report.path}")


if __name__ == "__main__":
    main()
