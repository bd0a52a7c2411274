"""The analytic model and its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gpu_xarch.errors import InputError
from gpu_xarch.metrics import published, registry
from gpu_xarch.profiles.ingestion import ingest
from gpu_xarch.simulator.files import write_simulation
from gpu_xarch.simulator.kernels import KERNELS
from gpu_xarch.simulator.model import plan_runs, simulate
from gpu_xarch.specs import find_gpu, gpus
from gpu_xarch.tables.inspection import describe
from gpu_xarch.tables.pairs import pair_runs
from gpu_xarch.tables.runs import load_runs


def share(values: dict[str, np.ndarray], name: str) -> np.ndarray:
    return (values["dram_read_throughput"] + values["dram_write_throughput"]) / find_gpu(name).bandwidth


def runs_of(plan: object, kernel: str) -> np.ndarray:
    return np.array([kernel in KERNELS[i].kernel for i in plan.kernel])  # type: ignore[attr-defined]


def test_the_plan_has_the_runs_asked_for_and_backprop_fills_most() -> None:
    plan = plan_runs(32291)
    assert len(plan) == 32291
    names = np.array([KERNELS[i].application for i in plan.kernel])
    assert (names == "backprop").mean() > 0.5
    assert len({*zip(plan.kernel.tolist(), plan.size.tolist(), strict=True)}) == 32291


MODELLED = sorted(name for name, spec in gpus().items() if spec.architecture != "Blackwell")


@pytest.mark.parametrize("gpu", MODELLED)
def test_every_value_is_possible(gpu: str) -> None:
    plan = plan_runs(500)
    spec = find_gpu(gpu)
    values = simulate(spec, plan)
    assert set(values) == {"duration", *published()}
    for name, column in values.items():
        assert np.isfinite(column).all(), name
        assert (column >= 0).all(), name
        if registry()[name].unit == "fraction":
            assert (column <= 1 + 1e-9).all(), name
        if registry()[name].unit == "level":
            assert (column <= 10).all(), name
    assert (share(values, gpu) < 1).all()
    assert (values["ipc"] < spec.issue_width).all()
    stalls = sum(values[name] for name in published() if name.startswith("stall_"))
    assert np.allclose(stalls, 1.0)
    assert (values["inst_executed"] <= values["inst_issued"]).all()


def test_streams_are_bound_by_memory_and_nbody_is_not() -> None:
    plan = plan_runs(2000)
    values = simulate(find_gpu("P100"), plan, noise=0)
    triad = runs_of(plan, "triad") & (plan.size > 1e7)
    assert (share(values, "P100")[triad] > 0.75).all()
    assert (share(values, "P100")[runs_of(plan, "integrateBodies")] < 0.1).all()


def test_a_gpu_that_is_not_filled_runs_at_low_efficiency() -> None:
    plan = plan_runs(2000)
    values = simulate(find_gpu("V100"), plan, noise=0)
    diagonal = runs_of(plan, "lud_diagonal")
    assert (values["sm_efficiency"][diagonal] < 1.01 / 80).all()
    assert (values["achieved_occupancy"][diagonal] <= 1 / 64 + 1e-9).all()


def test_more_bandwidth_makes_streams_faster_in_proportion() -> None:
    plan = plan_runs(2000)
    triad = runs_of(plan, "triad") & (plan.size > 3e7)
    times = {gpu: simulate(find_gpu(gpu), plan, noise=0)["duration"][triad] for gpu in ("P100", "V100")}
    assert np.median(times["P100"] / times["V100"]) == pytest.approx(900 / 732, rel=0.05)


def test_the_seed_fixes_the_noise() -> None:
    plan = plan_runs(100)
    one, two, other = (simulate(find_gpu("K40"), plan, seed=s)["ipc"] for s in (1, 1, 2))
    assert (one == two).all()
    assert (one != other).mean() > 0.9


def test_files_read_back_and_say_that_they_are_simulated(tmp_path: Path) -> None:
    plan = plan_runs(300)
    files = write_simulation([find_gpu("P100"), find_gpu("V100")], plan, tmp_path / "sim", runs_per_file=100)
    out = tmp_path / "runs.parquet"
    report = ingest([tmp_path / "sim"], out)
    assert (report.read, report.new, report.n_problems, report.failed) == (len(files), 600, 0, [])
    frame = load_runs(out)
    assert frame["simulated"].all()
    facts = describe(frame)
    assert facts["simulated"] == 600
    assert facts["impossible"] == []
    assert facts["missing"] == {}
    pairing = pair_runs(frame, source="P100", dest="V100")
    assert len(pairing.pairs) == 300
    assert pairing.pairs["source.simulated"].all()
    values = simulate(find_gpu("P100"), plan)
    part = frame[frame["device"] == "P100"]
    assert np.sort(part["inst_executed"]) == pytest.approx(np.sort(values["inst_executed"]))
    assert np.sort(part["dram_read_throughput"]) == pytest.approx(
        np.sort(values["dram_read_throughput"]), rel=1e-6
    )


def test_bad_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown application 'doom'"):
        plan_runs(100, ["doom"])
    with pytest.raises(InputError, match="at least"):
        plan_runs(2)
    with pytest.raises(InputError, match=r"only .* different runs"):
        plan_runs(10_000, ["lavaMD"])
    with pytest.raises(InputError, match="noise"):
        simulate(find_gpu("P100"), plan_runs(100), noise=-1)
    with pytest.raises(InputError, match="1 or more"):
        write_simulation([find_gpu("P100")], plan_runs(100), tmp_path, runs_per_file=0)


def test_an_architecture_without_constants_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="no model constants for the architecture Blackwell"):
        simulate(find_gpu("RTX 5090"), plan_runs(60))
