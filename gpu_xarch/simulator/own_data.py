"""The pairs that come with the package: simulated, for a first try without profiles."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gpu_xarch.profiles.ingestion import ingest
from gpu_xarch.simulator.files import write_simulation
from gpu_xarch.simulator.model import plan_runs
from gpu_xarch.specs import find_gpu
from gpu_xarch.tables.pairs import pair_runs
from gpu_xarch.tables.runs import load_runs

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DESCRIPTION", "DEST", "SOURCE", "own_pairs"]

SOURCE, DEST = "P100", "V100"
RUNS = 600
DESCRIPTION = (
    f"no --data: taking the package's own {RUNS} pairs {SOURCE} -> {DEST}. SIMULATED by an analytic model, "
    "not measured: they show how the commands work, not how well a real GPU is predicted"
)


def own_pairs(runs: int = RUNS, *, seed: int = 0, times: bool = False) -> pd.DataFrame:
    """Return simulated pairs P100 -> V100, the same ones for the same arguments; with times, if asked for."""
    with tempfile.TemporaryDirectory(prefix="xarch-") as folder:
        root = Path(folder)
        gpus = [find_gpu(SOURCE), find_gpu(DEST)]
        write_simulation(
            gpus, plan_runs(runs), root / "files", noise=0.01, seed=seed, runs_per_file=1000, times=times
        )
        ingest([root / "files"], root / "runs.parquet")
        frame = load_runs(root / "runs.parquet")
    return pair_runs(frame, source=SOURCE, dest=DEST).pairs
