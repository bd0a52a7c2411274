"""Which mark stands before decimals and which between thousands: decided once a file, never by cell.

A profiler on a machine with a European locale writes ``243.968`` for 243968 and ``71,04`` for 71.04. Some numbers
tell which it is (``71,04``, ``33.554.432``, ``1.234,5``), others can be read both ways (``243.968``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from gpu_xarch.units import GAPS

__all__ = ["DECIMALS", "ENOUGH", "Separators", "find_separators", "told_by"]

#: what may be given as the mark before decimals
DECIMALS = (".", ",")
#: numbers that tell the convention after which no more are looked for: one damaged cell cannot outvote them
ENOUGH = 1000
#: the minority that damage may explain, as a share of the majority; the cells that say otherwise are refused
_DAMAGE = 0.05
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)+(?:[eE][+-]?\d+)?", re.ASCII)


def told_by(text: str) -> str:
    """Return the mark before decimals that a number tells of: "." or ",", "?" if it can be read both ways, else "".

    Examples
    --------
    >>> [told_by(text) for text in ("71,04", "33.554.432", "1,234.5", "0.482", "243.968", "1,482", "17", "f(int)")]
    [',', ',', '.', '.', '?', '?', '', '']
    """
    bare = GAPS.sub("", text)
    if not _NUMBER.fullmatch(bare):
        return ""
    mantissa, exponent, _ = bare.lstrip("+-").lower().partition("e")
    marks = re.sub(r"\d", "", mantissa)
    last = marks[-1]
    other = "," if last == "." else "."
    if set(marks) == {".", ","}:
        return last if marks.count(last) == 1 else ""
    if len(marks) > 1:
        return other  # the only mark comes again: it stands between thousands
    whole, _, rest = mantissa.partition(last)
    if len(rest) != 3 or len(whole) > 3 or whole.startswith("0") or exponent:
        return last
    return "?"


@dataclass(frozen=True)
class Separators:
    """What is known of a file's numbers.

    Parameters
    ----------
    decimal : str
        The mark before decimals; empty where nothing shows it, so that no number with a mark can be taken.
    why : str
        In that case, what is missing.
    contradicts : bool
        Some numbers show one mark and some the other.
    """

    decimal: str
    why: str = ""
    contradicts: bool = False


def find_separators(numbers: Iterable[str]) -> Separators:
    """Decide the convention of a file from the texts of its numbers.

    Examples
    --------
    >>> find_separators(["243.968", "71,04"]).decimal
    ','
    >>> find_separators(["243.968"]).decimal
    ''
    """
    counts = {".": 0, ",": 0}
    for text in numbers:
        told = told_by(text)
        if told in counts:
            counts[told] += 1
            if counts[told] >= ENOUGH:
                break
    less, more = sorted(counts, key=lambda mark: counts[mark])
    if not counts[more]:
        return Separators("", "no number of the file shows which")
    if counts[less] > _DAMAGE * counts[more]:
        why = f"{counts['.']} numbers of the file show one and {counts[',']} the other"
        return Separators("", why, contradicts=True)
    return Separators(more)
