"""Small profiles written for the tests, and the folder with real ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from gpu_xarch.profiles.readers import Problem, Run, read_runs

HEADER = '"Device","Kernel","Invocations","Metric Name","Metric Description","Min","Max","Avg"'
PREAMBLE = (
    "==29979== NVPROF is profiling process 29979, command: ./saxpy.exe 1024\n"
    "==29979== Profiling application: ./saxpy.exe 1024\n"
    "==29979== Profiling result:\n"
    "==29979== Metric result:\n"
)
LABELS = {
    "ipc": "Executed IPC",
    "executed_ipc": "Executed IPC",
    "sm_efficiency": "Multiprocessor Activity",
    "achieved_occupancy": "Achieved Occupancy",
    "inst_executed": "Instructions Executed",
    "dram_read_throughput": "Device Memory Read Throughput",
    "dram_write_throughput": "Device Memory Write Throughput",
    "dram_utilization": "Device Memory Utilization",
    "flop_count_sp": "Floating Point Operations(Single Precision)",
    "flop_count_dp": "Floating Point Operations(Double Precision)",
}
METRICS = {
    "ipc": "0.727098",
    "sm_efficiency": "99.844129%",
    "achieved_occupancy": "0.998011",
    "inst_executed": "123456",
    "dram_read_throughput": "1.500000GB/s",
    "dram_write_throughput": "512.000000MB/s",
    "dram_utilization": "Low (1)",
}


def row(
    name: str,
    value: str,
    kernel: str = "saxpy(int, float, float const *, float*)",
    device: str = "Tesla P100-PCIE-16GB (0)",
    invocations: int = 1,
) -> str:
    return (
        f'"{device}","{kernel}",{invocations},"{name}","{LABELS.get(name, name)}",{value},{value},{value}\n'
    )


def profile(
    metrics: dict[str, str] | None = None,
    *,
    kernels: Iterable[str] = ("saxpy(int, float, float const *, float*)",),
    device: str = "Tesla P100-PCIE-16GB (0)",
    command: str = "./saxpy.exe 1024",
    invocations: int = 1,
) -> str:
    rows = "".join(
        row(name, value, kernel, device, invocations)
        for kernel in kernels
        for name, value in (METRICS if metrics is None else metrics).items()
    )
    return PREAMBLE.replace("./saxpy.exe 1024", command) + HEADER + "\n" + rows


class Profiles:
    """Writes small profiles and reads them."""

    row = staticmethod(row)
    profile = staticmethod(profile)
    header = HEADER
    preamble = PREAMBLE
    metrics = METRICS

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, content: str | bytes, name: str = "profile.csv") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def read(self, content: str | bytes) -> tuple[list[Run], list[Problem]]:
        items = list(read_runs(self.write(content)))
        return [i for i in items if isinstance(i, Run)], [i for i in items if isinstance(i, Problem)]


@pytest.fixture
def profiles(tmp_path: Path) -> Profiles:
    return Profiles(tmp_path)


@pytest.fixture(scope="session")
def make_profiles() -> Callable[[Path], Profiles]:
    return Profiles


@pytest.fixture(scope="session")
def shared_data() -> Path:
    root = Path(__file__).parents[2]
    folder = Path(os.environ.get("XARCH_SHARED_DATA", root / ".." / "shared" / "data"))
    if not (folder / "nvprof").is_dir():
        pytest.skip(f"no real profiles: neither $XARCH_SHARED_DATA nor {folder} has a folder nvprof")
    return folder
