#!/usr/bin/env python3
"""Count the rooms of each package, the import arrows between them, and the circles.

A room is a file or folder at the top level of a package; an import inside a function counts like any other.

    python scripts/rooms.py [--arrows] [PACKAGE ...]
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("ase_proxima", "gpu_xarch")


def is_module(name: str, root: Path) -> bool:
    """Tell whether a dotted name is a file or a package below `root`."""
    path = root.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def imported(path: Path, root: Path = ROOT) -> Iterator[str]:
    """Yield the dotted name of every module that a file imports, inside functions and type checks too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield inside if is_module(inside, root) else node.module


def rooms(package: str, root: Path = ROOT) -> dict[str, list[Path]]:
    """Return the files of each room of a package, by the room's name."""
    found: dict[str, list[Path]] = {}
    for path in sorted((root / package).rglob("*.py")):
        name = path.relative_to(root / package).with_suffix("").parts[0]
        found.setdefault(name, []).append(path)
    return found


def arrows(package: str, root: Path = ROOT) -> dict[str, set[str]]:
    """Return the rooms that each room of a package imports from."""
    return {
        room: {
            parts[1]
            for path in files
            for parts in (name.split(".") for name in imported(path, root))
            if parts[0] == package and len(parts) > 1 and parts[1] != room
        }
        for room, files in rooms(package, root).items()
    }


def modules(package: str, root: Path = ROOT) -> dict[str, set[str]]:
    """Return the modules that each module of a package imports, all with their dotted names."""
    found = {}
    for path in sorted((root / package).rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        found[name] = {other for other in imported(path, root) if other.split(".")[0] == package} - {name}
    return found


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return the rooms of one circle of imports, or nothing where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def main() -> None:
    """Print the counts, and with --arrows each arrow."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packages", nargs="*", default=PACKAGES, metavar="PACKAGE")
    parser.add_argument("--arrows", action="store_true", help="print each arrow")
    parser.add_argument("--root", type=Path, default=ROOT, help="another checkout")
    options = parser.parse_args()
    for package in options.packages:
        graph = arrows(package, options.root)
        inside = circle(graph) or circle(modules(package, options.root))
        count = sum(len(targets) for targets in graph.values())
        print(f"{package}: {len(graph)} rooms, {count} arrows, circle: {' -> '.join(inside) or 'none'}")
        if options.arrows:
            for room, targets in sorted(graph.items()):
                print(f"  {room} -> {', '.join(sorted(targets)) or '-'}")


if __name__ == "__main__":
    main()
