"""Data-sheet facts of GPUs, each with its source.

The table is ``data/gpus.psv``, and a file of the user's own that `gpu_xarch.specs.own` writes. Bandwidths and clocks
are peaks of the data sheet: a board may run slower.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path

from gpu_xarch.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "ANY",
    "GpuSpec",
    "canonical_device",
    "find_gpu",
    "forget",
    "gpus",
    "of_entries",
    "read_sheets",
    "user_file",
]


#: in the place of a GPU: all that a table has
ANY = "any"
#: compute capability from which on a scheduler issues one instruction a cycle (Volta whitepaper, 2017)
SINGLE_ISSUE = 7.0
#: cycles of dependent arithmetic by compute capability, newest first (Jia et al., arXiv:1804.06826, 2018, table of
#: instruction latencies of Volta, Pascal, Maxwell and Kepler)
WAIT_CYCLES = ((7.0, 4.0), (5.0, 6.0), (0.0, 9.0))


@dataclass(frozen=True)
class GpuSpec:
    """What the maker states about a GPU.

    Parameters
    ----------
    name : str
        The name used in tables and on the command line, such as "P100".
    pattern : str
        Regular expression for the device name without its maker's prefix.
    architecture, compute_capability : str
        "Pascal", "6.0".
    sms : int
        Multiprocessors.
    fp32_lanes, fp64_lanes : int
        Lanes of a multiprocessor.
    base_hz, boost_hz : float
        Clocks, Hz.
    bandwidth : float
        Peak of the device memory, bytes/s.
    memory, l2, l1, shared : int
        Bytes; `l1` and `shared` of one multiprocessor (`shared` at most).
    warps, blocks, registers : int
        Limits of one multiprocessor.
    issue_width : int
        Warp instructions that a multiprocessor can issue in a cycle.
    source : str
        Where the facts are from.
    """

    name: str
    pattern: str
    architecture: str
    compute_capability: str
    sms: int
    fp32_lanes: int
    fp64_lanes: int
    base_hz: float
    boost_hz: float
    bandwidth: float
    memory: int
    l2: int
    l1: int
    shared: int
    warps: int
    blocks: int
    registers: int
    issue_width: int
    source: str

    @property
    def peak_fp32(self) -> float:
        """Single-precision operations a second at the boost clock, a fused multiply-add counted as two."""
        return 2.0 * self.sms * self.fp32_lanes * self.boost_hz

    @property
    def peak_fp64(self) -> float:
        """Double-precision operations a second at the boost clock."""
        return 2.0 * self.sms * self.fp64_lanes * self.boost_hz

    @property
    def schedulers(self) -> float:
        """Warps of which a multiprocessor can issue in a cycle: before Volta each could issue two instructions."""
        return self.issue_width / (1.0 if float(self.compute_capability) >= SINGLE_ISSUE else 2.0)

    @property
    def wait_cycles(self) -> float:
        """Cycles until a dependent arithmetic instruction can be issued (`WAIT_CYCLES`)."""
        capability = float(self.compute_capability)
        return next(cycles for since, cycles in WAIT_CYCLES if capability >= since)


#: facts of a sheet of the user's own: entry, field, factor to the field's unit, whether it must be given
_ENTRIES: tuple[tuple[str, str, float, bool], ...] = (
    ("sms", "sms", 1, True),
    ("boost_MHz", "boost_hz", 1e6, True),
    ("base_MHz", "base_hz", 1e6, False),
    ("bandwidth_GBs", "bandwidth", 1e9, True),
    ("memory_GiB", "memory", 1 << 30, True),
    ("l2_KiB", "l2", 1 << 10, True),
    ("l1_KiB", "l1", 1 << 10, False),
    ("shared_KiB", "shared", 1 << 10, False),
    ("fp32_lanes", "fp32_lanes", 1, False),
    ("fp64_lanes", "fp64_lanes", 1, False),
    ("warps", "warps", 1, False),
    ("blocks", "blocks", 1, False),
    ("registers", "registers", 1, False),
    ("issue_width", "issue_width", 1, False),
)
_REAL = ("base_hz", "boost_hz", "bandwidth")
_TEXTS = ("compute_capability", "architecture", "source")


def user_file() -> Path:
    """Return the file with the user's own data sheets: ``$XARCH_GPUS``, else one among the settings."""
    told = os.environ.get("XARCH_GPUS")
    settings = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(told) if told else Path(settings) / "gpu_xarch" / "gpus.toml"


def read_sheets(path: Path) -> dict[str, GpuSpec]:
    """Read data sheets from TOML, one table a GPU.

    The multiprocessor is that of a known GPU of the same compute capability where the sheet does not tell.

    Raises
    ------
    InputError
        If the file cannot be read, or an entry is missing, unknown or no positive number.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"cannot read the data sheets {path}: {error}") from error
    return {name: of_entries(path, name, entries) for name, entries in tables.items()}


def of_entries(path: Path, name: str, entries: object) -> GpuSpec:
    """Return the facts of one GPU from the entries of its sheet; see `read_sheets`."""
    where = f"the sheet of {name} in {path}"
    if not isinstance(entries, dict):
        raise InputError(f'{where} is no table: write ["{name}"] and its entries below')
    unknown = set(entries) - {entry for entry, *_ in _ENTRIES} - {*_TEXTS, "pattern"}
    if unknown:
        raise InputError(f"{where} has the unknown entries {', '.join(sorted(unknown))}")
    capability = str(entries.get("compute_capability", ""))
    like = next((spec for spec in _own().values() if spec.compute_capability == capability), None)
    if not re.fullmatch(r"\d+\.\d", capability):
        raise InputError(f'{where} needs compute_capability, such as "8.6", got {capability!r}')
    facts: dict[str, float] = {}
    for entry, field, factor, needed in _ENTRIES:
        if entry in entries:
            value = entries[entry]
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
                raise InputError(f"{where}: {entry} must be a number above 0, got {value!r}")
            facts[field] = value * factor
        elif needed or (like is None and entry != "base_MHz"):
            known = "" if needed else f", as no GPU of compute capability {capability} is known"
            raise InputError(f"{where} needs {entry}{known}")
    facts.setdefault("base_hz", facts["boost_hz"])
    whole = {field: value if field in _REAL else int(value) for field, value in facts.items()}
    return replace(
        like if like is not None else next(iter(_own().values())),
        name=name,
        pattern=str(entries.get("pattern", _own()[name].pattern if name in _own() else re.escape(name))),
        compute_capability=capability,
        architecture=str(entries.get("architecture", like.architecture if like is not None else "unknown")),
        source=str(entries.get("source", f"{path}")),
        **whole,  # type: ignore[arg-type]
    )


@cache
def gpus() -> Mapping[str, GpuSpec]:
    """Return every known GPU by name, those of the user's own file included.

    Raises
    ------
    InputError
        If the user's file cannot be used.

    Examples
    --------
    >>> gpus()["P100"].sms, gpus()["V100"].bandwidth
    (56, 900000000000.0)
    """
    path = user_file()
    return {**_own(), **(read_sheets(path) if path.exists() else {})}


def forget() -> None:
    """Read the user's own data sheets again at the next question."""
    for known in (gpus, _keys, _match):
        known.cache_clear()


@cache
def _own() -> Mapping[str, GpuSpec]:
    """Return the GPUs that come with the package."""
    text = resources.files("gpu_xarch").joinpath("data", "gpus.psv").read_text(encoding="utf-8")
    found = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        name, rest = line.split("|", 1)
        # the pattern may hold "|" itself: the other fields are counted from the right
        pattern, *fields = rest.rsplit("|", 17)
        arch, cc, sms, fp32, fp64, base, boost, bandwidth, memory, l2, l1, shared = fields[:12]
        warps, blocks, registers, width, source = fields[12:]
        found[name] = GpuSpec(
            name=name,
            pattern=pattern,
            architecture=arch,
            compute_capability=cc,
            sms=int(sms),
            fp32_lanes=int(fp32),
            fp64_lanes=int(fp64),
            base_hz=float(base) * 1e6,
            boost_hz=float(boost) * 1e6,
            bandwidth=float(bandwidth) * 1e9,
            memory=int(memory) << 30,
            l2=int(l2) << 10,
            l1=int(l1) << 10,
            shared=int(shared) << 10,
            warps=int(warps),
            blocks=int(blocks),
            registers=int(registers),
            issue_width=int(width),
            source=source,
        )
    return found


def _bare(device: str) -> str:
    text = re.sub(r"\s*\(\d+\)$", "", device.strip())
    text = re.sub(r"^(?:NVIDIA|GeForce|Tesla|Quadro|Graphics Device)[ -]+", "", text, flags=re.IGNORECASE)
    return re.sub(r"^(?:GeForce|Tesla|Quadro)[ -]+", "", text, flags=re.IGNORECASE)


def _key(name: str) -> str:
    """Return a name without case, blanks, hyphens, underscores and its maker's prefixes."""
    return re.sub(r"^(?:nvidia|geforce|tesla|quadro)+", "", re.sub(r"[\s_-]+", "", name.casefold()))


@cache
def _keys() -> Mapping[str, str]:
    """Return the name of every known GPU by its key, and by its number alone where only one has that."""
    keys = {_key(name): name for name in gpus()}
    numbers = [(match[1], name) for key, name in keys.items() if (match := re.match(r"[gr]tx(\d.*)", key))]
    for number, name in numbers:
        if [one for one, _ in numbers].count(number) == 1:
            keys.setdefault(number, name)
    return keys


@lru_cache(maxsize=1024)
def _match(device: str) -> str | None:
    if re.search(r"\bMIG\b", device):
        return None  # a slice has a part of the board's multiprocessors, cache and bandwidth
    bare = _bare(device)
    board = r"(?:[- ](?:PCIE|SXM\d?|\d+GB|DGXS|FHHL))*"
    known = _keys().get(_key(bare))
    if known is not None:
        return known
    # the maker's prefix may be joined to the name: TeslaK40c, tesla_p100-pcie-16gb
    joined = re.sub(r"^(?:(?:NVIDIA|GeForce|Tesla|Quadro)[\s_-]*)+", "", bare, flags=re.IGNORECASE)
    for spec in gpus().values():
        if re.fullmatch(f"(?:{spec.pattern}){board}", joined.replace("_", " "), re.IGNORECASE):
            return spec.name
    return None


def canonical_device(device: str) -> str:
    """Return the short name of a device: the table's where it is known, else its own, bare.

    Case, blanks, hyphens and underscores do not count, nor does the maker's prefix.

    Examples
    --------
    >>> [canonical_device(name) for name in ("gtx950", "1080ti", "rtx-3090", "nvidia_tesla_v100")]
    ['GTX 950', 'GTX 1080 Ti', 'RTX 3090', 'V100']
    >>> canonical_device("GeForce GTX 1080 Ti (0)"), canonical_device("Tesla P100-PCIE-16GB (1)")
    ('GTX 1080 Ti', 'P100')
    >>> canonical_device("NVIDIA H100 80GB HBM3"), canonical_device("GeForce MX150 (0)")
    ('H100', 'MX150')
    """
    return _match(device) or _bare(device)


def find_gpu(name: str) -> GpuSpec:
    """Return the facts of a GPU.

    Raises
    ------
    InputError
        If the GPU is not in the table; the message names the nearest ones.

    Examples
    --------
    >>> find_gpu("Tesla K40c").bandwidth
    288000000000.0
    """
    known = _match(name)
    if known is None:
        keys = {_key(one): one for one in gpus()}
        near = [keys[key] for key in get_close_matches(_key(_bare(name)), keys, n=3, cutoff=0.4)]
        hint = f"did you mean {', '.join(near)}?" if near else "`xarch gpus` lists all;"
        raise InputError(
            f"no data-sheet facts for the GPU {name!r}: {hint} `xarch gpus --add FILE` adds your own"
        )
    return gpus()[known]
