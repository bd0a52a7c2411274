"""How fast `xarch ingest` is, on simulated nvprof files at the size of the published study.

    python benchmarks/ingest.py [--runs 30000] [--files 1000] [--before PYTHON] [--out benchmarks/results/ingest.csv]

Writes some 580 MB into a temporary folder and deletes them. Each ingestion runs in a process of its own,
whose wall and processor time and greatest memory (Linux: VmHWM) are taken. The overhead of a file is what a
thousand files of one run take more than the same runs in one file; these two are the best of three. With `--before`
another version, that of the interpreter named, reads the same files in turn with this one.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gpu_xarch.simulator.files import write_simulation
from gpu_xarch.simulator.model import plan_runs
from gpu_xarch.specs import find_gpu

SCRIPT = """
import sys
from proxima_cli.xarch import main
main(sys.argv[1:], standalone_mode=False)
words = open("/proc/self/status").read().split()
print(words[words.index("VmHWM:") + 1], file=sys.stderr)
"""


def measure(python: str, folder: Path, out: Path) -> tuple[float, float, float]:
    """Return wall and processor seconds and the greatest memory in bytes of one ingestion by an interpreter."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [python, "-c", SCRIPT, "ingest", str(folder), "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=out.parent,  # where no package lies that would be imported instead of the interpreter's own
    )
    assert process.stderr is not None  # noqa: S101
    words = process.stderr.read().split()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"xarch ingest ended with code {process.returncode}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, float(words[-1]) * 1024.0


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=30_000)
    parser.add_argument("--files", type=int, default=1_000)
    parser.add_argument(
        "--before", help="The Python of an environment that has another version of this package."
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "ingest.csv")
    args = parser.parse_args()
    gpu = find_gpu("P100")
    versions = {"this": sys.executable} | (
        {"before": str(Path(args.before).absolute())} if args.before else {}
    )
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        cases = [
            ("published size", args.runs, 1000),
            ("one run a file", args.files, 1),
            ("the same in few files", args.files, args.files),
        ]
        for number, (title, runs, runs_per_file) in enumerate(cases):
            folder = root / str(number)
            applications = None if number == 0 else ["kmeans"]  # one kernel a command
            files = write_simulation(
                [gpu], plan_runs(runs, applications), folder, runs_per_file=runs_per_file
            )
            size = sum(path.stat().st_size for path in files)
            lines = sum(path.read_bytes().count(b"\n") for path in files)
            measured: dict[str, list[tuple[float, float, float]]] = {version: [] for version in versions}
            for repeat in range(1 if number == 0 else 3):
                for version, python in versions.items():
                    out = root / f"{version}-{number}-{repeat}.parquet"
                    measured[version].append(measure(python, folder, out))
            for version in versions:
                wall, cpu, memory = (min(values) for values in zip(*measured[version], strict=True))
                rows.append(
                    {
                        "case": title,
                        "version": version,
                        "runs": runs,
                        "files": len(files),
                        "lines": lines,
                        "megabytes": round(size / 1e6, 1),
                        "wall_s": round(wall, 2),
                        "cpu_s": round(cpu, 2),
                        "memory_MB": round(memory / 1e6),
                    }
                )
                print(rows[-1], flush=True)
    for version in versions:
        _, many, few = (row for row in rows if row["version"] == version)
        for row in rows:
            row.setdefault("file_overhead_ms", "")
        overhead = (many["cpu_s"] - few["cpu_s"]) / (many["files"] - few["files"])
        many["file_overhead_ms"] = round(1e3 * overhead, 2)
        print(f"overhead of a file, {version} version: {1e3 * overhead:.2f} ms")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
