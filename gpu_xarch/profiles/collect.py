"""Run a program under the profiler that its GPU needs, into files that `ingest` reads.

nvprof serves GPUs below compute capability 7.5, Nsight Compute those from 7.0 on. Both replay a kernel until
all counters are read, so only the metrics asked for are requested, and for Nsight Compute the expressions
that need the fewest counters.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gpu_xarch.errors import CollectError, InputError
from gpu_xarch.metrics import find_metric, published, registry
from gpu_xarch.specs import find_gpu

__all__ = [
    "METRIC_SETS",
    "Plan",
    "choose_tool",
    "collect",
    "detect_gpu",
    "known_capability",
    "metric_set",
    "ncu_counters",
    "plan_collection",
    "times_plan",
]

#: named sets of metrics; "published" are the 116 that P100 and V100 share
METRIC_SETS: dict[str, tuple[str, ...]] = {
    "memory-bound": ("dram_read_throughput", "dram_write_throughput"),
    "ipc": ("ipc",),
    "roofline": (
        "dram_read_throughput",
        "dram_write_throughput",
        "flop_count_sp",
        "flop_count_dp",
        "flop_count_hp",
        "ipc",
        "achieved_occupancy",
    ),
}
_NVPROF_LAST = 7.5  # the first compute capability that nvprof does not profile
_NCU_FIRST = 7.0
_WITHOUT_NVPROF = frozenset({"dram_throughput", "duration"})


@dataclass(frozen=True)
class Plan:
    """A command that profiles a program.

    Parameters
    ----------
    tool : str
        "nvprof" or "ncu".
    command : tuple of str
        The whole command line.
    out : Path
        The file that it writes.
    application : tuple of str
        The program and its arguments.
    device : str
        Name of the GPU; empty where it is not known.
    missing : tuple of str
        Metrics asked for that the tool cannot give.
    """

    tool: str
    command: tuple[str, ...]
    out: Path
    application: tuple[str, ...]
    device: str
    missing: tuple[str, ...]

    @property
    def shell(self) -> str:
        """The command line for a shell."""
        return shlex.join(self.command)


def metric_set(text: str) -> tuple[str, ...]:
    """Return the metrics of a named set, or of a list with commas.

    Raises
    ------
    InputError
        If a name is unknown.

    Examples
    --------
    >>> metric_set("ipc,sm_activity")
    ('ipc', 'sm_efficiency')
    >>> len(metric_set("published"))
    116
    """
    if text == "published":
        return published()
    if text in METRIC_SETS:
        return METRIC_SETS[text]
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise InputError(f"no metrics in {text!r}: give names or one of published, {', '.join(METRIC_SETS)}")
    return tuple(dict.fromkeys(find_metric(name).name for name in names))


def detect_gpu(index: int = 0) -> tuple[str, str]:
    """Return (name, compute capability) of a GPU as the driver's tool names it.

    Raises
    ------
    CollectError
        If there is no such tool or it fails.
    """
    tool = shutil.which("nvidia-smi")
    if tool is None:
        raise CollectError("nvidia-smi is not on the PATH: name the GPU with --gpu to see the command for it")
    command = [tool, "--query-gpu=name,compute_cap", "--format=csv,noheader", "-i", str(index)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    line = done.stdout.strip().splitlines()[0] if done.stdout.strip() else ""
    name, comma, capability = line.rpartition(",")
    if done.returncode or not comma:
        raise CollectError(
            f"nvidia-smi does not tell GPU {index}: {(done.stderr or done.stdout).strip()[:200]}"
        )
    return name.strip(), capability.strip()


def choose_tool(capability: str) -> str:
    """Return the profiler for a compute capability.

    Raises
    ------
    InputError
        If the text is no compute capability.

    Examples
    --------
    >>> choose_tool("6.0"), choose_tool("9.0")
    ('nvprof', 'ncu')
    """
    try:
        number = float(capability)
    except ValueError:
        raise InputError(f"a compute capability such as 7.0 is needed, got {capability!r}") from None
    return "nvprof" if number < _NVPROF_LAST else "ncu"


def ncu_counters(metrics: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the Nsight Compute counters for metrics, few of them, and the metrics that have none.

    Of the expressions of a metric, the one that adds the fewest counters is taken.

    Examples
    --------
    >>> ncu_counters(["ipc", "cf_fu_utilization"])
    (['sm__inst_executed.avg.per_cycle_active'], ['cf_fu_utilization'])
    """
    counters: dict[str, None] = {}
    missing = []
    for name in metrics:
        alternatives = registry()[name].ncu
        if not alternatives:
            missing.append(name)
            continue
        best = min(alternatives, key=lambda terms: len({counter for _, counter in terms} - set(counters)))
        counters.update(dict.fromkeys(counter for _, counter in best))
    return list(counters), missing


def plan_collection(
    application: Sequence[str],
    out: Path,
    *,
    metrics: Sequence[str],
    capability: str,
    device: str = "",
    index: int = 0,
    tool: str = "auto",
    kernels: str | None = None,
    launches: int | None = None,
    per_launch: bool = False,
) -> Plan:
    """Write the profiler's command line.

    Parameters
    ----------
    application : sequence of str
        Program and arguments.
    out : Path
        File for the profile.
    metrics : sequence of str
        Canonical names.
    capability, device : str
        Compute capability and name of the GPU.
    index : int
        Number of the GPU.
    tool : str
        "auto", "nvprof" or "ncu".
    kernels : str, optional
        Regular expression that kernel names must contain.
    launches : int, optional
        Profile at most so many launches (Nsight Compute).
    per_launch : bool
        nvprof: one row a launch instead of the mean over all.

    Raises
    ------
    InputError
        If there is no program, the tool does not serve the GPU, or no metric is left.
    """
    if not application:
        raise InputError("no program to profile: put it after --, as in xarch collect -- ./app 1024")
    chosen = choose_tool(capability) if tool == "auto" else tool
    if chosen == "nvprof" and float(capability) >= _NVPROF_LAST:
        raise InputError(f"nvprof does not profile compute capability {capability}: use --tool ncu")
    if chosen == "ncu" and float(capability) < _NCU_FIRST:
        raise InputError(
            f"Nsight Compute does not profile compute capability {capability}: use --tool nvprof"
        )
    if chosen == "nvprof":
        return _nvprof(application, out, metrics, device, index, kernels, launches, per_launch)
    counters, missing = ncu_counters(metrics)
    if not counters:
        raise InputError(f"Nsight Compute has none of the metrics asked for: {', '.join(metrics)}")
    counters += [
        name for name in ("gpu__time_duration.sum", "device__attribute_display_name") if name not in counters
    ]
    command = [
        "ncu",
        "--csv",
        "--page",
        "raw",
        "--print-units",
        "base",
        "--log-file",
        str(out),
        "--force-overwrite",
    ]
    command += ["--devices", str(index), "--metrics", ",".join(counters)]
    command += ["--kernel-name", f"regex:{kernels}"] if kernels else []
    command += ["--launch-count", str(launches)] if launches else []
    return Plan("ncu", (*command, *application), out, tuple(application), device, tuple(missing))


def _nvprof(
    application: Sequence[str],
    out: Path,
    metrics: Sequence[str],
    device: str,
    index: int,
    kernels: str | None,
    launches: int | None,
    per_launch: bool,
) -> Plan:
    if launches:
        raise InputError("nvprof profiles all launches of the kernels chosen: leave --launches out")
    names = [name for name in metrics if registry()[name].labels and name not in _WITHOUT_NVPROF]
    if not names:
        raise InputError(f"nvprof has none of the metrics asked for: {', '.join(metrics)}")
    command = ["nvprof", "--csv", "--log-file", str(out), "--devices", str(index)]
    command += ["--print-gpu-trace"] if per_launch else []
    command += ["--kernels", kernels] if kernels else []
    command += ["--metrics", ",".join(names)]
    missing = tuple(name for name in metrics if name not in names)
    return Plan("nvprof", (*command, *application), out, tuple(application), device, missing)


def times_plan(plan: Plan, index: int = 0) -> Plan | None:
    """Return the plan of a second run for the times of the launches; None where the first run has them.

    nvprof replays kernels while it counts, so it measures times in a run of its own; Nsight Compute gives both.

    Examples
    --------
    >>> plan = plan_collection(["./app"], Path("p.csv"), metrics=["ipc"], capability="6.0")
    >>> times_plan(plan).shell
    'nvprof --csv --log-file p_trace.csv --devices 0 --print-gpu-trace ./app'
    """
    if plan.tool != "nvprof":
        return None
    out = plan.out.with_name(f"{plan.out.stem}_trace{plan.out.suffix}")
    command = ("nvprof", "--csv", "--log-file", str(out), "--devices", str(index), "--print-gpu-trace")
    return replace(plan, command=(*command, *plan.application), out=out, missing=())


def known_capability(name: str) -> tuple[str, str]:
    """Return (name, compute capability) of a GPU of the data sheets.

    Raises
    ------
    InputError
        If it is not among them.
    """
    spec = find_gpu(name)
    return spec.name, spec.compute_capability


def collect(plan: Plan) -> None:
    """Run a plan, and note program and device at the head of the profile.

    Raises
    ------
    CollectError
        If the profiler is missing or fails, or writes nothing.
    """
    tool = shutil.which(plan.command[0])
    if tool is None:
        raise CollectError(f"{plan.tool} is not on the PATH; the command would be: {plan.shell}")
    plan.out.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([tool, *plan.command[1:]], check=False)  # noqa: S603
    text = plan.out.read_text(encoding="utf-8", errors="surrogateescape") if plan.out.exists() else ""
    if text:
        head = f"==XARCH== command: {shlex.join(plan.application)}\n"
        head += f"==XARCH== device: {plan.device}\n" if plan.device else ""
        plan.out.write_text(head + text, encoding="utf-8", errors="surrogateescape")
    if done.returncode:
        words = [line for line in text.splitlines() if line.startswith("==") and "error" in line.lower()]
        last = words[-1] if words else "see its output above"
        raise CollectError(f"{plan.tool} ended with code {done.returncode}: {last[:300]}")
    if not text:
        raise CollectError(f"{plan.tool} wrote nothing to {plan.out}")
