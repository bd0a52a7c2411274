#!/usr/bin/env python3
"""Count the lines of code of each package: without docstrings, comments and blank lines.

    python scripts/lines.py [REVISION ...]

Each revision is a column, and the working tree is the last one.
"""

from __future__ import annotations

import argparse
import ast
import io
import subprocess
import tokenize
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("ase_proxima", "gpu_xarch", "cli")
NO_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER,
    tokenize.ENCODING,
}  # fmt: skip


def code_lines(source: str) -> int:
    r"""Return the number of lines that hold code: a text that stands as a statement of its own is none.

    Examples
    --------
    >>> code_lines('"What it is."\\n\\n# why\\nx = (1,\\n     2)\\n')
    2
    """
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def rooms_of(paths: list[str], read: dict[str, str]) -> Counter[str]:
    """Return the lines of each package, and of each room of it: a file or folder at its top level."""
    counts: Counter[str] = Counter()
    for path in paths:
        package, *rest = Path(path).with_suffix("").parts
        n = code_lines(read[path])
        counts[package] += n
        counts[f"  {package}/{rest[0]}"] += n
    return counts


def git(*words: str) -> str:
    """Return what a git command prints."""
    return subprocess.run(["git", "-C", ROOT, *words], check=True, capture_output=True, text=True).stdout


def lines_at(revision: str | None) -> Counter[str]:
    """Return the counts at a revision, or in the working tree."""
    if revision is None:
        files = {
            str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
            for package in PACKAGES
            for path in sorted((ROOT / package).rglob("*.py"))
        }
    else:
        names = git("ls-tree", "-r", "--name-only", revision, "--", *PACKAGES).splitlines()
        files = {name: git("show", f"{revision}:{name}") for name in names if name.endswith(".py")}
    return rooms_of(list(files), files)


def main() -> None:
    """Print a table of rooms and revisions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("revisions", nargs="*", metavar="REVISION")
    parser.add_argument("--rooms", action="store_true", help="each room too, not only each package")
    options = parser.parse_args()
    columns = [lines_at(revision) for revision in (*options.revisions, None)]
    names = {name for counts in columns for name in counts if options.rooms or not name.startswith(" ")}
    titles = [*(revision[:12] for revision in options.revisions), "now"]
    print(f"{'':40}" + "".join(f"{title:>14}" for title in titles))
    for name in sorted(names, key=str.strip):
        print(f"{name:40}" + "".join(f"{counts[name]:14,}" for counts in columns))
    totals = (sum(counts[package] for package in PACKAGES) for counts in columns)
    print(f"{'total':40}" + "".join(f"{total:14,}" for total in totals))


if __name__ == "__main__":
    main()
