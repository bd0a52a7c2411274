"""Numbers as the profilers print them, in SI units.

Every conversion of the package happens here, once. A text that is no number of the expected form raises
`ValueError`: it never becomes NaN in silence.
"""

from __future__ import annotations

import re

__all__ = [
    "GAPS",
    "UNIT_CLASSES",
    "named_in",
    "parse_ncu",
    "parse_nvprof",
    "squared",
    "unit_class",
    "unit_factor",
]

# nvprof scales by 1024: on real files the bytes of a "MB/s" row and of a "GB/s" row of one kernel, both
# transactions x 32 bytes, agree to 0.1 % with 1024 and are 2.2 % apart with 1000.
_KIB = 1024.0
NVPROF_SUFFIXES: dict[str, tuple[float, str]] = {
    "": (1.0, "plain"),
    "%": (0.01, "fraction"),
    "B/s": (1.0, "bytes/s"),
    "KB/s": (_KIB, "bytes/s"),
    "MB/s": (_KIB**2, "bytes/s"),
    "GB/s": (_KIB**3, "bytes/s"),
    "TB/s": (_KIB**4, "bytes/s"),
    "B": (1.0, "bytes"),
    "KB": (_KIB, "bytes"),
    "MB": (_KIB**2, "bytes"),
    "GB": (_KIB**3, "bytes"),
    "s": (1.0, "s"),
    "ms": (1e-3, "s"),
    "us": (1e-6, "s"),
    "ns": (1e-9, "s"),
}
_LEVELS = {
    "Idle": range(1),
    "Low": range(11),
    "Mid": range(11),
    "High": range(11),
    "Max": range(10, 11),
}
_NVPROF = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(%|[KMGT]?B(?:/s)?|[mun]?s)?", re.ASCII)
_LEVEL = re.compile(r"(Idle|Low|Mid|High|Max) \((\d{1,2})\)", re.ASCII)
#: blanks and apostrophes between thousands, as French and Swiss locales write them
GAPS = re.compile(r"(?<=\d)[ '\u2019\u00a0\u202f](?=\d{3}(?!\d))")
_NCU = {
    decimal: re.compile(
        rf"[+-]?(?:\d{{1,3}}(?:\{thousands}\d{{3}})+|\d+)(?:\{decimal}\d+)?(?:[eE][+-]?\d+)?", re.ASCII
    )
    for decimal, thousands in (".,", ",.")
}

# Nsight Compute scales by 1000 ("Kbyte" is 10^3 bytes).
_PREFIX = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "K": 1e3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "Ki": _KIB,
    "Mi": _KIB**2,
    "Gi": _KIB**3,
    "Ti": _KIB**4,
}
_BASE = {
    "byte": (1.0, "bytes"),
    "B": (1.0, "bytes"),
    "second": (1.0, "s"),
    "s": (1.0, "s"),
    "hz": (1.0, "1/s"),
    "Hz": (1.0, "1/s"),
    "cycle": (1.0, "plain"),
    "inst": (1.0, "plain"),
    "warp": (1.0, "plain"),
    "sector": (1.0, "plain"),
    "request": (1.0, "plain"),
}
# which unit classes a metric of a registered unit may arrive in
UNIT_CLASSES: dict[str, frozenset[str]] = {
    "fraction": frozenset({"fraction"}),
    "bytes/s": frozenset({"bytes/s"}),
    "bytes": frozenset({"bytes", "plain"}),
    "s": frozenset({"s"}),
    "1/s": frozenset({"1/s"}),
    "level": frozenset({"level", "fraction"}),
}
PLAIN = frozenset({"plain"})


def unit_class(unit: str) -> frozenset[str]:
    """Return the unit classes that a value of registered `unit` may be printed in.

    Examples
    --------
    >>> sorted(unit_class("bytes/s"))
    ['bytes/s']
    >>> sorted(unit_class("count"))
    ['plain']
    """
    return UNIT_CLASSES.get(unit, PLAIN)


def parse_nvprof(text: str) -> tuple[float, str]:
    """Read a value of nvprof into SI units.

    Parameters
    ----------
    text : str
        As printed: ``0.727098``, ``99.84%``, ``1.5GB/s`` (1 GB is 2^30 bytes), ``Low (1)``.

    Returns
    -------
    value : float
        In SI units; percentages as fractions, levels as 0 to 10.
    unit_class : str
        "plain", "fraction", "bytes/s", "bytes", "s" or "level".

    Raises
    ------
    ValueError
        If the text has no such form.

    Examples
    --------
    >>> parse_nvprof("50.000000%")
    (0.5, 'fraction')
    >>> parse_nvprof("2.000000KB/s")
    (2048.0, 'bytes/s')
    >>> parse_nvprof("High (7)")
    (7.0, 'level')
    """
    match = _NVPROF.fullmatch(text)
    if match:
        factor, kind = NVPROF_SUFFIXES[match[2] or ""]
        value = float(match[1])
        if value - value != 0.0:  # 1e999 is read as infinity
            raise ValueError(f"not a finite number: {text[:40]!r}")
        if (
            kind == "fraction"
        ):  # the double nearest to 0.99844129 for 99.844129 %, which a division would miss
            return (float(f"{match[1]}e-2") if "e" not in match[1].lower() else value / 100.0), kind
        return _scaled(value, factor), kind
    level = _LEVEL.fullmatch(text)
    if level and int(level[2]) in _LEVELS[level[1]]:
        return float(level[2]), "level"
    raise ValueError(f"not a value that nvprof prints: {text[:40]!r}")


def _scaled(value: float, factor: float) -> float:
    """Return a product that is the double nearest to it where the factor is a negative power of ten.

    Examples
    --------
    >>> 100.0 * 1e-9, _scaled(100.0, 1e-9)
    (1.0000000000000001e-07, 1e-07)
    """
    return value / round(1.0 / factor) if factor < 1.0 else value * factor


def unit_factor(unit: str) -> tuple[float, str]:
    """Return the factor to SI and the unit class of a unit that Nsight Compute or a units row names.

    Raises
    ------
    ValueError
        If a known base unit has an unknown prefix.

    Examples
    --------
    >>> unit_factor("Gbyte/second")
    (1000000000.0, 'bytes/s')
    >>> unit_factor("usecond")
    (1e-06, 's')
    >>> unit_factor("%")
    (0.01, 'fraction')
    >>> unit_factor("register/thread")
    (1.0, 'plain')
    """
    if unit == "%":
        return 0.01, "fraction"
    top, _, bottom = unit.partition("/")
    factor, kind = _one(top)
    if not bottom:
        return factor, kind
    below, below_kind = _one(bottom)
    if below_kind == "s":
        kind = "bytes/s" if kind == "bytes" else "1/s"
        return factor * round(1.0 / below) if below < 1.0 else factor / below, kind
    if below_kind == "bytes":
        return factor / below, "plain"
    return factor / below, kind


def _one(unit: str) -> tuple[float, str]:
    if unit in _BASE:
        return _BASE[unit]
    for name, (factor, kind) in _BASE.items():
        prefix = unit[: -len(name)]
        if unit.endswith(name) and prefix in _PREFIX:
            return _PREFIX[prefix] * factor, kind
    if re.fullmatch(r"[a-zA-Z]*(byte|second|[Hh]z)", unit):
        raise ValueError(f"unknown prefix in the unit {unit!r}")
    return 1.0, "plain"


def parse_ncu(text: str, unit: str, decimal: str = ".") -> tuple[float, str]:
    """Read a value of Nsight Compute, thousands separators and all, into SI units.

    Parameters
    ----------
    text, unit : str
        As printed.
    decimal : str
        The mark before decimals, "." or ","; the other one may stand between thousands.

    Raises
    ------
    ValueError
        If the text is no number with an optional mark every three digits, or the unit has an unknown prefix.

    Examples
    --------
    >>> parse_ncu("10,240,000", "byte")
    (10240000.0, 'bytes')
    >>> parse_ncu("21.5", "%")
    (0.215, 'fraction')
    >>> parse_ncu("33.554.432", "byte", ",")
    (33554432.0, 'bytes')
    """
    bare = GAPS.sub("", text) if not text.isascii() or " " in text or "'" in text else text
    if not _NCU[decimal].fullmatch(bare):
        raise ValueError(f"not a number: {text[:40]!r}")
    value = float(bare.replace(",", "") if decimal == "." else bare.replace(".", "").replace(",", "."))
    factor, kind = unit_factor(unit)
    value = value / 100.0 if kind == "fraction" else _scaled(value, factor)
    if value - value != 0.0:
        raise ValueError(f"not a finite number: {text[:40]!r}")
    return value, kind


def squared(unit: str) -> str:
    """Return the unit of a square.

    Examples
    --------
    >>> squared("bytes/s"), squared("cycles"), squared("unknown")
    ('(bytes/s)²', 'cycles²', 'unknown')
    """
    if unit in ("", "unknown"):
        return unit
    return f"({unit})²" if "/" in unit else f"{unit}²"


def named_in(score: str, unit: str) -> str:
    """Return the name of a score with its unit, where that is known.

    Examples
    --------
    >>> named_in("MAE", "1/cycle"), named_in("MAE", "unknown")
    ('MAE, 1/cycle', 'MAE')
    """
    return score if unit in ("", "unknown") else f"{score}, {unit}"
