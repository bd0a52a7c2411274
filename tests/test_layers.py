"""Imports point one way, files stay short, and importing the package brings nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(
    path
    for folder in ("ase_proxima", "gpu_xarch", "cli", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
)
HEAVY = {
    "dask", "deepmd", "deephyper", "dscribe", "featomic", "matplotlib", "metatensor", "pandas", "psi4", "pyarrow",
    "pyscf", "sklearn", "skops", "tblite", "torch",
}  # fmt: skip

# What each part of the package may import of the package itself.
LEAVES = {"types", "errors", "protocols"}
SHARED = LEAVES | {"features", "metrics", "serialisation"}
LOOP = SHARED | {"calibration", "confidence", "controllers", "costs", "training"}
ALLOWED = {
    "types": set(),
    "errors": set(),
    "protocols": {"types"},
    "calibration": LEAVES,
    "confidence": LEAVES,
    "costs": LEAVES,
    "serialisation": LEAVES,
    "statistics": LEAVES,
    "controllers": LEAVES | {"calibration", "confidence"},
    "metrics": LEAVES,
    "features": LEAVES,
    "training": LEAVES,
    "store": LEAVES | {"serialisation"},
    "targets": LEAVES,
    "surrogates": SHARED,
    "uncertainty": SHARED,
    "executor": LOOP,
    "testing": LOOP,
}


def package_of(path):
    return path.relative_to(ROOT).parts[0]


def part_of(path):
    return path.relative_to(ROOT).with_suffix("").parts[1]


def imports(path, *, top_level_only=False):
    """Names of the modules that a file imports."""
    tree = ast.parse(path.read_text())
    inside = set()
    if top_level_only:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                inside |= {id(child) for child in ast.walk(node)}
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                inside |= {id(child) for child in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in inside:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield node.module
            if node.module in ("ase_proxima", "gpu_xarch"):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def named(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_imports_point_one_way(path):
    package = package_of(path)
    for name in imports(path):
        head, *rest = name.split(".")
        if package == "ase_proxima":
            assert head not in ("gpu_xarch", "proxima_cli", "cli"), name
        if package == "gpu_xarch":
            assert head not in ("ase_proxima", "proxima_cli", "cli"), name
        if package != "cli":
            assert head != "proxima_cli" or package == "benchmarks", name
        if package == "ase_proxima" and head == "ase_proxima" and rest:
            part = part_of(path)
            if part in ALLOWED:
                assert rest[0] in ALLOWED[part] | {part}, f"{part} must not import {name}"
            elif part not in ("apps", "report", "replay", "run_data"):  # the latter read what the apps write
                assert rest[0] != "apps", f"{part} must not import {name}"


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_heavy_packages_are_imported_inside_functions(path):
    heavy = {name.split(".")[0] for name in imports(path, top_level_only=True)} & HEAVY
    if package_of(path) == "ase_proxima":
        assert heavy <= ({"matplotlib"} if part_of(path) == "plots" else set())


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_files_stay_short(path):
    lines = len(path.read_text().splitlines())
    pure = package_of(path) == "ase_proxima" and part_of(path) in (
        "controllers",
        "calibration",
        "confidence",
        "types",
        "serialisation",
    )
    assert lines <= (200 if pure else 400)


@pytest.mark.parametrize("module", ["ase_proxima", "ase_proxima.testing", "ase_proxima.apps.monte_carlo"])
def test_importing_brings_no_heavy_package(module):
    script = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & HEAVY
