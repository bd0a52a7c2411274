"""Mutation testing of the pure core: which small changes of the code no test notices.

Each module is mutated by cosmic-ray in a copy of the tree, and only its own tests run on each mutant.  Prints the share
of survivors of each module and where they are.

    python scripts/mutants.py                       # all modules, hours
    python scripts/mutants.py confidence units      # some of them
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONTROLLERS = "tests/controllers tests/contracts/test_controllers.py"
MODULES = {
    "ase_proxima/controllers/calibration.py": "tests/controllers/test_calibration.py",
    "ase_proxima/controllers/confidence.py": "tests/controllers/test_confidence.py tests/controllers/test_risk.py",
    "ase_proxima/controllers/risk.py": CONTROLLERS,
    "ase_proxima/controllers/risk_total.py": CONTROLLERS,
    "ase_proxima/controllers/linear.py": CONTROLLERS,
    "ase_proxima/controllers/fixed.py": CONTROLLERS,
    "ase_proxima/controllers/baseline.py": CONTROLLERS,
    "ase_proxima/metrics.py": "tests/test_arguments.py tests/test_executor.py",
    "ase_proxima/costs.py": "tests/test_costs.py",
    "ase_proxima/apps/statistics.py": "tests/apps/test_statistics.py",
    "gpu_xarch/units.py": "tests/gpu_xarch/test_units.py",
    "gpu_xarch/learning/splits.py": "tests/gpu_xarch/learning",
    "gpu_xarch/learning/scores.py": "tests/gpu_xarch/learning",
}
"""Modules of the pure core, with the tests that must notice a change; their doctests run as well."""
TIMEOUT_S = 300.0


def survivors(module: str, tests: str, work: Path) -> tuple[int, list[str]]:
    """Mutate `module` in the copy `work`; return the number of mutants and where those are that no test killed."""
    command = f"{sys.executable} -m pytest -q -x -p no:cacheprovider --hypothesis-seed=0 {module} {tests}"
    config = work / "mutants.toml"
    config.write_text(
        f'[cosmic-ray]\nmodule-path = "{module}"\ntimeout = {TIMEOUT_S}\nexcluded-modules = []\n'
        f'test-command = "{command}"\n[cosmic-ray.distributor]\nname = "local"\n'
    )
    session = work / f"{Path(module).stem}.sqlite"
    tool = [sys.executable, "-m", "cosmic_ray.cli"]
    for step in ("baseline", "init", "exec"):
        arguments = [str(config)] if step == "baseline" else [str(config), str(session)]
        subprocess.run([*tool, step, *arguments], cwd=work, check=True)
    dump = subprocess.run(
        [*tool, "dump", str(session)], cwd=work, check=True, capture_output=True, text=True
    ).stdout
    places = []
    pairs = [json.loads(line) for line in dump.splitlines()]
    for item, result in pairs:
        if result and result["test_outcome"] == "survived":
            mutation = item["mutations"][0]
            operator = mutation["operator_name"].removeprefix("core/")
            places.append(f"{module}:{mutation['start_pos'][0]}: {operator}")
    return len(pairs), places


def main() -> None:
    """Mutate the modules that are named, by default all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="parts of the names of modules, by default all")
    names = parser.parse_args().names
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
        ignored = shutil.ignore_patterns(".venv", ".git", "runs", "results", ".*_cache")
        shutil.copytree(ROOT, work, ignore=ignored)
        for module, tests in chosen.items():
            n, places = survivors(module, tests, work)
            total, alive = total + n, alive + len(places)
            print(f"{module}: {len(places)} of {n} mutants survive", flush=True)
            for place in places:
                print(f"  {place}", flush=True)
    print(f"in all {alive} of {total} survive, {alive / total:.1%}")


if __name__ == "__main__":
    main()
