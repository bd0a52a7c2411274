"""Mutation testing of the pure core: which small changes of the code no test notices.

Each module is mutated by cosmic-ray in a copy of the tree, and only its own tests run on each mutant.  Mutants of
annotations are left out: nothing evaluates them.  Prints the share of survivors of each module and what they are.

    python scripts/mutants.py                       # all modules, hours
    python scripts/mutants.py confidence units      # some of them
    python scripts/mutants.py --sample 60           # 60 mutants of each module, chosen by chance
"""

from __future__ import annotations

import argparse
import ast
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = "tests/controllers"
MODULES = {
    "ase_proxima/controllers/calibration.py": f"{TESTS}/test_calibration.py",
    "ase_proxima/controllers/confidence.py": f"{TESTS}/test_confidence.py",
    "ase_proxima/controllers/risk.py": f"{TESTS}/test_risk.py",
    "ase_proxima/controllers/risk_total.py": f"{TESTS}/test_risk_total.py",
    "ase_proxima/controllers/linear.py": f"{TESTS}/test_linear.py",
    "ase_proxima/controllers/fixed.py": f"{TESTS}/test_fixed.py",
    "ase_proxima/controllers/baseline.py": f"{TESTS}/test_fixed.py",
    "ase_proxima/metrics.py": "tests/test_metrics.py",
    "ase_proxima/costs.py": "tests/test_cost_model.py",
    "ase_proxima/apps/statistics.py": "tests/apps/test_statistics.py",
    "gpu_xarch/units.py": "tests/gpu_xarch/test_units.py",
    "gpu_xarch/learning/splits.py": "tests/gpu_xarch/learning/test_splits.py",
    "gpu_xarch/learning/scores.py": "tests/gpu_xarch/learning/test_scores.py",
}
"""Modules of the pure core, with the tests that must notice a change; their doctests run as well."""
TIMEOUT_S = 60.0
"""A mutant that runs this long counts as killed: the longest of the test files takes ten seconds."""


def annotations(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Begin and end, as (line, column), of every annotation in `source`."""
    nodes = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.arg | ast.AnnAssign):
            nodes.append(node.annotation)
        elif isinstance(node, ast.FunctionDef):
            nodes.append(node.returns)
    return [
        ((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset))
        for node in nodes
        if node is not None and node.end_lineno is not None and node.end_col_offset is not None
    ]


def choose(session: Path, source: str, sample: int | None) -> None:
    """Mark the mutants of annotations, and all but `sample` of the others, as not to be run."""
    from cosmic_ray.work_db import use_db
    from cosmic_ray.work_item import WorkerOutcome, WorkResult

    hints = annotations(source)
    with use_db(str(session)) as database:
        items = sorted(
            database.work_items,
            key=lambda item: (item.mutations[0].start_pos, item.mutations[0].operator_name),
        )
        real = [
            item
            for item in items
            if not any(begin <= item.mutations[0].start_pos < end for begin, end in hints)
        ]
        run = real if sample is None or sample >= len(real) else random.Random(0).sample(real, sample)  # noqa: S311
        kept = {item.job_id for item in run}
        for item in items:
            if item.job_id not in kept:
                database.set_result(item.job_id, WorkResult(worker_outcome=WorkerOutcome.SKIPPED))


def survivors(module: str, tests: str, work: Path, sample: int | None) -> tuple[int, list[str]]:
    """Mutate `module` in the copy `work`; return the number of mutants run and those that no test killed."""
    from cosmic_ray.work_db import use_db
    from cosmic_ray.work_item import TestOutcome

    tests += f" {TESTS}/test_values.py" if "ase_proxima" in module else ""
    command = f"{sys.executable} -m pytest -q -x -p no:cacheprovider --hypothesis-seed=0 {module} {tests}"
    config = work / "mutants.toml"
    config.write_text(
        f'[cosmic-ray]\nmodule-path = "{module}"\ntimeout = {TIMEOUT_S}\nexcluded-modules = []\n'
        f'test-command = "{command}"\n[cosmic-ray.distributor]\nname = "local"\n'
    )
    session = work / f"{Path(module).stem}.sqlite"
    tool = [sys.executable, "-m", "cosmic_ray.cli"]
    for step in (["baseline", str(config)], ["init", str(config), str(session)]):
        subprocess.run([*tool, *step], cwd=work, check=True)
    choose(session, (work / module).read_text(), sample)
    subprocess.run([*tool, "exec", str(config), str(session)], cwd=work, check=True)
    places = []
    with use_db(str(session)) as database:
        results = [(item, result) for item, result in database.completed_work_items if result.test_outcome]
        for item, result in results:
            if result.test_outcome == TestOutcome.SURVIVED:
                mutation = item.mutations[0]
                changed = re.findall(r"^[+](?![+][+]).*", result.diff or "", re.MULTILINE)
                operator = mutation.operator_name.removeprefix("core/")
                places.append(
                    f"{module}:{mutation.start_pos[0]}: {operator}: {' '.join(changed)[1:].strip()}"
                )
    return len(results), sorted(places)


def main() -> None:
    """Mutate the modules that are named, by default all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="parts of the names of modules, by default all")
    parser.add_argument("--sample", type=int, help="mutants of each module, chosen by chance; by default all")
    arguments = parser.parse_args()
    names = arguments.names
    chosen = {
        module: tests
        for module, tests in MODULES.items()
        if not names or any(re.search(rf"\b{re.escape(name)}\b", module) for name in names)
    }
    if not chosen:
        parser.error(f"no module is called {', '.join(names)}: choose among {', '.join(MODULES)}")
    total = alive = 0
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "tree"
        tracked = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for name in tracked.splitlines():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, work / name)
        for module, tests in chosen.items():
            n, places = survivors(module, tests, work, arguments.sample)
            total, alive = total + n, alive + len(places)
            print(f"{module}: {len(places)} of {n} mutants survive", flush=True)
            for place in places:
                print(f"  {place}", flush=True)
    print(f"in all {alive} of {total} survive, {alive / total:.1%}")


if __name__ == "__main__":
    main()
