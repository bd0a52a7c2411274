"""Mutation testing of the pure core: which small changes of the code no test notices.

cosmic-ray makes the mutants of each module; in a copy of the tree, only its own tests run on each, in a fork of a
process that holds the libraries already.  Mutants of annotations are left out: nothing evaluates them.  Prints the
share of survivors of each module and what they are.

    python scripts/mutants.py                       # all modules, hours
    python scripts/mutants.py confidence units      # some of them
    python scripts/mutants.py --sample 60           # 60 mutants of each module, chosen by chance
"""

from __future__ import annotations

import argparse
import ast
import difflib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import ase.build  # noqa: F401  (held for the forks)
import hypothesis.extra.numpy  # noqa: F401
import pandas  # noqa: F401
import pytest
import scipy.stats  # noqa: F401
import sklearn.model_selection  # noqa: F401
from cosmic_ray.commands import init
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import use_db

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
    "ase_proxima/executor/costs.py": "tests/test_cost_model.py",
    "ase_proxima/apps/statistics.py": "tests/apps/test_statistics.py",
    "gpu_xarch/units.py": "tests/gpu_xarch/test_units.py",
    "gpu_xarch/learning/splits.py": "tests/gpu_xarch/learning/test_splits.py",
    "gpu_xarch/learning/scores.py": "tests/gpu_xarch/learning/test_scores.py",
}
"""Modules of the pure core, with the tests that must notice a change; their doctests run as well."""
EQUIVALENT = {
    "if not TYPE_CHECKING:": "imports for annotations alone",
    "(truth * ": "the product of truths is their conjunction",
    "(~truth * ": "the product of truths is their conjunction",
    "else -1.0": "what is not positive is no spread",
    "if total != 0": "a sum of squares is not negative",
    "if value >= value": "only NaN is not itself",
    "if value <= value": "only NaN is not itself",
    'if decimal >= "."': "the mark before decimals is a dot or a comma",
    "rfft(x, 3 * len(x))": "more zeros than enough change nothing",
    "covariance[0] >= 1e-300": "no variance is that number",
    "if n_independent > 0": "a chain that moves has two independent samples at least",
    "least: float = -1.0": "only a positive one is used",
    "/,": "all callers name what follows",
    "if full != 0 else": "a distance is not negative",
    "1e-200 <= ratio": "no ratio is that number",
    "< 1e+200": "a number so large and the next one are the same",
    "<= 1e200": "no ratio is that number",
    "share_target != 0": "a share is not negative",
    "strict=False": "both sequences are made of the same rows",
    'how >= "suite"': "no other kind of split comes later in the alphabet",
    'how >= "kernel"': "application is the only other one that comes so far",
    "is not name": "names of applications are kept once, in one mapping",
    "< name:": "a root is the first of its names in the alphabet",
    "groups[ -1]": "there is one group alone",
    "groups[ 1]": "there is one group alone",
    "groups_of(data, how))) != 1": "a table has rows",
}
"""Changes that no input can tell from the original, and why; they are counted apart."""
PYTEST = [
    "-q",
    "-x",
    "-p",
    "no:cacheprovider",
    "--hypothesis-seed=0",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
]
TIMEOUT_S = 60
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


@dataclass(frozen=True)
class Mutant:
    """One change of a module: where it is, what made it, and the changed source."""

    line: int
    operator: str
    source: str


def mutants_of(path: Path) -> list[Mutant]:
    """Every mutant of a module but those of its annotations."""
    source = path.read_text()
    hints = annotations(source)
    found = []
    with use_db(":memory:") as database:
        init([path], database, {})
        for item in database.work_items:
            mutation = item.mutations[0]
            if any(begin <= mutation.start_pos < end for begin, end in hints):
                continue
            operator = get_operator(mutation.operator_name)(**mutation.operator_args)
            changed = mutate_code(source, operator, mutation.occurrence)
            if changed is not None and changed != source:
                found.append(
                    Mutant(mutation.start_pos[0], mutation.operator_name.removeprefix("core/"), changed)
                )
    return sorted(found, key=lambda mutant: (mutant.line, mutant.operator, mutant.source))


def passes(arguments: list[str], work: Path) -> bool:
    """Whether pytest passes with `arguments` in the tree `work`, in a fork of this process."""
    child = os.fork()
    if child == 0:
        sys.dont_write_bytecode = True
        os.chdir(work)
        sys.path.insert(0, str(work))
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        signal.alarm(TIMEOUT_S)
        status = 1
        try:
            status = int(pytest.main([*PYTEST, *arguments]))
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def survivors(module: str, tests: str, work: Path, sample: int | None) -> tuple[int, list[str]]:
    """Mutate `module` in the copy `work`; return the number of mutants that differ and those that no test killed."""
    arguments = [module, *tests.split()]
    if "ase_proxima" in module:
        arguments.append(f"{TESTS}/test_values.py")
    if not passes(arguments, work):
        raise SystemExit(f"{module}: its tests fail on the code as it is: pytest {' '.join(arguments)}")
    path = work / module
    original = path.read_text()
    mutants = mutants_of(path)
    if sample is not None and sample < len(mutants):
        mutants = random.Random(0).sample(mutants, sample)  # noqa: S311
    alive, n_equivalent = [], 0
    for mutant in mutants:
        path.write_text(mutant.source)
        if passes(arguments, work):
            lines = difflib.ndiff(original.splitlines(), mutant.source.splitlines())
            changed = " ".join(line[2:].strip() for line in lines if line.startswith("+ "))
            reason = next((why for part, why in EQUIVALENT.items() if part in changed), None)
            n_equivalent += reason is not None
            if reason is None:
                alive.append(f"{module}:{mutant.line}: {mutant.operator}: {changed}")
    path.write_text(original)
    return len(mutants) - n_equivalent, alive


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
