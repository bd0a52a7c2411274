"""How fast `xarch ingest` is, on simulated nvprof files at the size of the published study.

    python benchmarks/ingest.py [--runs 30000] [--files 1000] [--out benchmarks/results/ingest.csv]

Writes some 580 MB into a temporary folder and deletes them. Each ingestion runs in a process of its own,
whose wall and processor time and greatest memory (Linux: VmHWM) are taken. The overhead of a file is what a
thousand files of one run take more than the same runs in one file; these two are the best of three.
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


def measure(folder: Path, out: Path) -> tuple[float, float, float]:
    """Return wall and processor seconds and the greatest memory in bytes of one ingestion."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "ingest", str(folder), "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
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
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "ingest.csv")
    args = parser.parse_args()
    gpu = find_gpu("P100")
    rows = []
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
            repeats = 1 if number == 0 else 3
            measured = [measure(folder, root / f"{number}-{i}.parquet") for i in range(repeats)]
            wall, cpu, memory = (min(values) for values in zip(*measured, strict=True))
            rows.append(
                {
                    "case": title,
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
    overhead = (rows[1]["cpu_s"] - rows[2]["cpu_s"]) / (rows[1]["files"] - rows[2]["files"])
    for row in rows:
        row["file_overhead_ms"] = round(1e3 * overhead, 2) if row is rows[1] else ""
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    print(f"overhead of a file: {1e3 * overhead:.2f} ms; wrote {args.out}")


if __name__ == "__main__":
    main()
