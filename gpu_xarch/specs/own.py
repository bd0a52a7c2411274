"""Data sheets of the user's own: from TOML, from deviceQuery, or from nvidia-smi."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path

from gpu_xarch.errors import InputError
from gpu_xarch.specs import GpuSpec, canonical_device, find_gpu, forget, of_entries, read_sheets, user_file

__all__ = ["add_gpus", "sheets_of"]

Entries = dict[str, "str | float"]
_DEVICE = re.compile(r'^\s*Device \d+: "(.+)"', re.MULTILINE)
#: deviceQuery's lines: what is found there, as groups of numbers
_QUERY = {
    "capability": re.compile(r"CUDA Capability Major/Minor version number:\s+(\d+\.\d)"),
    "memory": re.compile(r"Total amount of global memory:.*\((\d+) bytes\)"),
    "sms": re.compile(r"\(\s*(\d+)\) Multiprocessors, \(\s*\d+\) CUDA Cores/MP"),
    "lanes": re.compile(r"\(\s*\d+\) Multiprocessors, \(\s*(\d+)\) CUDA Cores/MP"),
    "clock": re.compile(r"GPU Max Clock rate:\s+(\d+(?:\.\d+)?) MHz"),
    "memory_clock": re.compile(r"Memory Clock rate:\s+(\d+(?:\.\d+)?) Mhz", re.IGNORECASE),
    "bus": re.compile(r"Memory Bus Width:\s+(\d+)-bit"),
    "l2": re.compile(r"L2 Cache Size:\s+(\d+) bytes"),
    "threads": re.compile(r"Maximum number of threads per multiprocessor:\s+(\d+)"),
}
_NEEDED = ("capability", "memory", "sms", "clock", "memory_clock", "bus", "l2")
_SMI_NAME = re.compile(r"^\s*Product Name\s*:\s*(.+?)\s*$", re.MULTILINE)
_SMI_MEMORY = re.compile(r"FB Memory Usage\s*\n\s*Total\s*:\s*(\d+) MiB")
_SMI_CLOCKS = re.compile(r"^\s*Max Clocks\s*$(?:\n\s*\w+\s*:\s*\d+ MHz)*", re.MULTILINE)
_TRANSFERS = 2.0  # a clock of memory, as deviceQuery prints it


def sheets_of(path: Path) -> dict[str, GpuSpec]:
    """Read data sheets from a file of the user's.

    Parameters
    ----------
    path : Path
        TOML with one table a GPU, what ``deviceQuery`` of the CUDA samples prints, or what ``nvidia-smi -q`` prints.
        The latter tells neither multiprocessors nor caches: it corrects clock and memory of a known GPU.

    Raises
    ------
    InputError
        If the file cannot be read or does not tell what is needed.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if _DEVICE.search(text):
        return _checked(path, _of_query(path, text))
    if "NVSMI LOG" in text or _SMI_NAME.search(text):
        return _checked(path, _of_smi(path, text))
    return read_sheets(path)


def add_gpus(path: Path, *, to: Path | None = None) -> list[GpuSpec]:
    """Add the data sheets of a file to the user's own, in place of those of the same names.

    Parameters
    ----------
    path : Path
        See `sheets_of`.
    to : Path, optional
        The user's own file, `user_file` unless given.

    Raises
    ------
    InputError
        If the file tells too little, or the user's own file cannot be written.
    """
    new = sheets_of(path)
    if not new:
        raise InputError(f"no GPU in {path}: write one table a GPU, or give the output of deviceQuery")
    own = to or user_file()
    kept = read_sheets(own) if own.exists() else {}
    text = "".join(_toml(spec) for spec in {**kept, **new}.values())
    partial = own.with_name(f".{own.name}.part")
    try:
        own.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(own)
    except OSError as error:
        raise InputError(f"cannot write the data sheets {own}: {error.strerror or error}") from error
    forget()
    return list(new.values())


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _toml(spec: GpuSpec) -> str:
    entries: Entries = {
        "compute_capability": spec.compute_capability,
        "architecture": spec.architecture,
        "sms": spec.sms,
        "base_MHz": spec.base_hz / 1e6,
        "boost_MHz": spec.boost_hz / 1e6,
        "bandwidth_GBs": spec.bandwidth / 1e9,
        "memory_GiB": spec.memory / 2**30,
        "l2_KiB": spec.l2 / 2**10,
        "l1_KiB": spec.l1 / 2**10,
        "shared_KiB": spec.shared / 2**10,
        "fp32_lanes": spec.fp32_lanes,
        "fp64_lanes": spec.fp64_lanes,
        "warps": spec.warps,
        "blocks": spec.blocks,
        "registers": spec.registers,
        "issue_width": spec.issue_width,
        "pattern": spec.pattern,
        "source": spec.source,
    }
    return _table(spec.name, entries)


def _table(name: str, entries: Mapping[str, str | float]) -> str:
    lines = [
        f"{key} = {_quoted(value) if isinstance(value, str) else repr(value)}"
        for key, value in entries.items()
    ]
    return "\n".join([f"[{_quoted(name)}]", *lines, "", ""])


def _checked(path: Path, found: Mapping[str, Entries]) -> dict[str, GpuSpec]:
    """Let the entries found in other output go through the same door as TOML."""
    return {name: of_entries(path, name, entries) for name, entries in found.items()}


def _of_query(path: Path, text: str) -> dict[str, Entries]:
    starts = [*(match.start() for match in _DEVICE.finditer(text)), len(text)]
    found: dict[str, Entries] = {}
    for start, end in itertools.pairwise(starts):
        part = text[start:end]
        device = _DEVICE.search(part)
        values = {key: match[1] for key, pattern in _QUERY.items() if (match := pattern.search(part))}
        missing = [key for key in _NEEDED if key not in values]
        if device is None or missing:
            told = ", ".join(key.replace("_", " ") for key in missing)
            raise InputError(
                f"the output of deviceQuery in {path} does not tell {told}: write a data sheet in TOML"
            )
        entries: Entries = {
            "compute_capability": values["capability"],
            "sms": int(values["sms"]),
            "boost_MHz": float(values["clock"]),
            "bandwidth_GBs": _TRANSFERS * float(values["memory_clock"]) * 1e6 * int(values["bus"]) / 8 / 1e9,
            "memory_GiB": int(values["memory"]) / 2**30,
            "l2_KiB": int(values["l2"]) / 2**10,
            "source": f"deviceQuery, {path.name}",
        }
        if "lanes" in values:
            entries["fp32_lanes"] = int(values["lanes"])
        if "threads" in values:
            entries["warps"] = int(values["threads"]) // 32
        found[canonical_device(device[1])] = entries
    return found


def _of_smi(path: Path, text: str) -> dict[str, Entries]:
    names = list(dict.fromkeys(match[1] for match in _SMI_NAME.finditer(text)))
    found: dict[str, Entries] = {}
    for name in names:
        part = text[text.index(name) :]
        try:
            like = find_gpu(name)
        except InputError as error:
            raise InputError(
                f"nvidia-smi tells no multiprocessors, caches and memory bus of {name}, and it is not among the known "
                "GPUs: give the output of deviceQuery, or a data sheet in TOML"
            ) from error
        clocks = _SMI_CLOCKS.search(part)
        boost = re.search(r"SM\s*:\s*(\d+) MHz", clocks[0]) if clocks else None
        memory = _SMI_MEMORY.search(part)
        if boost is None or memory is None:
            raise InputError(
                f"the output of nvidia-smi in {path} has no Max Clocks or FB Memory: run `nvidia-smi -q`"
            )
        found[like.name] = {
            "compute_capability": like.compute_capability,
            "architecture": like.architecture,
            "sms": like.sms,
            "base_MHz": like.base_hz / 1e6,
            "boost_MHz": float(boost[1]),
            "bandwidth_GBs": like.bandwidth / 1e9,
            "memory_GiB": int(memory[1]) / 1024,
            "l2_KiB": like.l2 / 2**10,
            "source": f"nvidia-smi, {path.name}, for clock and memory; else as {like.name}: {like.source}",
        }
    return found
