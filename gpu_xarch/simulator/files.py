"""Simulated runs as files in nvprof's format, each marked as simulated on every section."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gpu_xarch.errors import InputError
from gpu_xarch.metrics import published, registry
from gpu_xarch.simulator.kernels import KERNELS
from gpu_xarch.simulator.model import MODEL_VERSION, RunPlan, simulate
from gpu_xarch.specs import GpuSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["MARK", "write_simulation"]

MARK = f"SIMULATED by xarch simulate, model {MODEL_VERSION}: computed, not measured"
_HEADER = '"Device","Kernel","Invocations","Metric Name","Metric Description","Min","Max","Avg"\n'
_TRACE_HEADER = 'GPU trace:\n"Start","Duration","Device","Context","Stream","Name"\nms,us,,,,\n'
_LEVEL_NAMES = ("Idle", "Low", "Low", "Low", "Mid", "Mid", "Mid", "High", "High", "High", "Max")
_LEVELS = tuple(f"{name} ({level})" for level, name in enumerate(_LEVEL_NAMES))
_SCALES = (("GB/s", 1024.0**3), ("MB/s", 1024.0**2), ("KB/s", 1024.0))


def _rate(value: float) -> str:
    for suffix, scale in _SCALES:
        if value >= scale:
            return f"{value / scale:.6f}{suffix}"
    return f"{value:.6f}B/s"


def _texts(name: str, unit: str, values: NDArray[np.float64]) -> list[str]:
    """Return values as nvprof prints them."""
    if unit == "bytes/s":
        return [_rate(value) for value in values.tolist()]
    if unit == "level":
        return [_LEVELS[int(value)] for value in values.tolist()]
    if unit == "fraction" and name != "achieved_occupancy":
        return [f"{100 * value:.6f}%" for value in values.tolist()]
    if unit == "count" and name != "inst_per_warp":
        return [str(int(value)) for value in values.tolist()]
    return [f"{value:.6f}" for value in values.tolist()]


def _device_name(gpu: GpuSpec) -> str:
    prefix = "GeForce " if gpu.name.startswith(("GTX", "RTX")) else "Tesla "
    return f"{prefix}{gpu.name} (0)"


def write_simulation(
    gpus: Sequence[GpuSpec],
    plan: RunPlan,
    out: Path | str,
    *,
    noise: float = 0.01,
    seed: int = 0,
    runs_per_file: int = 1000,
    times: bool = False,
    on_file: Callable[[Path, int, int], None] | None = None,
) -> list[Path]:
    """Simulate a plan on GPUs and write the results as nvprof files.

    Parameters
    ----------
    gpus : sequence of GpuSpec
        Devices; each gets a folder.
    plan : RunPlan
        What to run.
    out : Path
        Folder for the files; made if it does not exist.
    noise, seed : float, int
        Passed to `simulate`.
    runs_per_file : int
        A file is closed after the command with which it reaches so many runs.
    times : bool
        Write a trace with the times of the launches beside each file of metrics: nvprof takes a run of its own for it.
    on_file : callable, optional
        Called with (file, index, number of files at most) before each file.

    Returns
    -------
    list of Path
        The files of metrics.

    Raises
    ------
    InputError
        If `runs_per_file` is below 1 or the folder cannot be written.
    """
    if runs_per_file < 1:
        raise InputError(f"the runs of a file must be 1 or more, got {runs_per_file}")
    commands: dict[tuple[str, int], list[int]] = {}
    for index, (kernel, size) in enumerate(zip(plan.kernel.tolist(), plan.size.tolist(), strict=True)):
        commands.setdefault((KERNELS[kernel].application, size), []).append(index)
    batches = _batches(sorted(commands.items()), runs_per_file)
    files: list[Path] = []
    try:
        for gpu in gpus:
            folder = Path(out) / gpu.name.replace(" ", "_")
            folder.mkdir(parents=True, exist_ok=True)
            values = simulate(gpu, plan, noise=noise, seed=seed)
            lines = _run_lines(gpu, plan, values)
            for number, (application, batch) in enumerate(batches):
                path = folder / f"metrics_{application}_{number:04d}.csv"
                if on_file is not None:
                    on_file(path, len(files), len(batches) * len(gpus))
                _write(path, plan, batch, lines, f"Metric result:\n{_HEADER}")
                if times:
                    trace = _trace_lines(gpu, plan, values["duration"])
                    _write(
                        folder / f"trace_{application}_{number:04d}.csv", plan, batch, trace, _TRACE_HEADER
                    )
                files.append(path)
    except OSError as error:
        raise InputError(f"cannot write to {out}: {error.strerror or error}") from error
    return files


def _write(
    path: Path,
    plan: RunPlan,
    batch: list[tuple[int, list[int]]],
    lines: Callable[[int], str],
    header: str,
) -> None:
    """Write a section for each process, with what `lines` gives for each of its runs."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for process, (size, indices) in enumerate(batch, start=1):
            command = KERNELS[int(plan.kernel[indices[0]])].command.format(n=size)
            file.write(_preamble(process, command, header))
            for index in indices:
                file.write(lines(index))


def _preamble(process: int, command: str, header: str) -> str:
    return (
        f"=={process}== NVPROF is profiling process {process}, command: {command}\n"
        f"=={process}== {MARK}\n"
        f"=={process}== Profiling application: {command}\n"
        f"=={process}== Profiling result:\n"
        f"=={process}== {MARK}\n"
        f"=={process}== {header}"
    )


def _batches(
    commands: list[tuple[tuple[str, int], list[int]]], runs_per_file: int
) -> list[tuple[str, list[tuple[int, list[int]]]]]:
    batches: list[tuple[str, list[tuple[int, list[int]]]]] = []
    count = 0
    for (application, size), indices in commands:
        if not batches or batches[-1][0] != application or count >= runs_per_file:
            batches.append((application, []))
            count = 0
        batches[-1][1].append((size, indices))
        count += len(indices)
    return batches


def _trace_lines(gpu: GpuSpec, plan: RunPlan, duration: NDArray[np.float64]) -> Callable[[int], str]:
    device = _device_name(gpu)
    kernels = plan.kernel.tolist()
    micro = (duration * 1e6).tolist()

    def lines(index: int) -> str:
        return f'{index}.0,{micro[index]:.6f},"{device}","1","7","{KERNELS[kernels[index]].kernel} [{index + 1}]"\n'

    return lines


def _run_lines(
    gpu: GpuSpec, plan: RunPlan, values: Mapping[str, NDArray[np.float64]]
) -> Callable[[int], str]:
    known = registry()
    columns = []
    for name in published():
        metric = known[name]
        columns.append((f',1,"{name}","{metric.labels[0]}",', _texts(name, metric.unit, values[name])))
    starts = [f'"{_device_name(gpu)}","{model.kernel}"' for model in KERNELS]
    kernels = plan.kernel.tolist()

    def lines(index: int) -> str:
        start = starts[kernels[index]]
        parts = []
        for middle, texts in columns:
            text = texts[index]
            parts.append(f"{start}{middle}{text},{text},{text}\n")
        return "".join(parts)

    return lines
