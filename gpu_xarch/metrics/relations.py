"""What is computed from what: which metrics give another one away when both are of the same run.

The relations stand in ``data/relations.psv``. From them follows, both ways, what a model must not see of a target
of the same GPU: neither ``dram_read_throughput`` as a difference of throughputs, nor ``ipc`` as instructions over a
time that any count and its rate tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources

from gpu_xarch.metrics import registry

__all__ = ["Relation", "relations", "reveals"]

_CONSTANT = "1"
#: a counter of Nsight Compute without its unit (sm, smsp, gpc, ...) and its roll-up
_COUNTER = re.compile(r"[a-z0-9]+__([a-z0-9_]+)\.\w[\w.]*")


@dataclass(frozen=True)
class Relation:
    """Metrics of which any one follows from all the others.

    Parameters
    ----------
    members : tuple of str
        In the order in which they are left out where one must not be found; the whole of a sum first.
    how : str
        "product", "sum" or "near".
    source : str
        Definition, and how well it holds on real kernels.
    """

    members: tuple[str, ...]
    how: str
    source: str


@cache
def relations() -> tuple[Relation, ...]:
    """Return all relations between metrics.

    Examples
    --------
    >>> [one.members for one in relations() if one.members[0] == "dram_throughput"]
    [('dram_throughput', 'dram_read_throughput', 'dram_write_throughput')]
    """
    text = resources.files("gpu_xarch").joinpath("data", "relations.psv").read_text(encoding="utf-8")
    found = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            members, how, source = line.split("|")
            found.append(Relation(tuple(members.split(";")), how, source))
    return tuple(found)


def _proofs(known: set[str]) -> dict[str, Relation]:
    """Return what follows from the known metrics, each with the relation by which it was first found."""
    proofs: dict[str, Relation] = {}
    have = known | {_CONSTANT}
    grown = True
    while grown:
        grown = False
        for relation in relations():
            missing = [name for name in relation.members if name not in have]
            if len(missing) == 1:
                proofs[missing[0]] = relation
                have.add(missing[0])
                grown = True
    return proofs


def _same(target: str) -> set[str]:
    """Return a metric and those that are nearly the same, with the parts of each that is a sum."""
    found, new = {target}, [target]
    while new:
        name = new.pop()
        for relation in relations():
            if name not in relation.members:
                continue
            is_whole = relation.how == "sum" and relation.members[0] == name
            others = set(relation.members) - found if relation.how == "near" or is_whole else set()
            found |= others
            new.extend(others if relation.how == "near" else ())
    return found


@lru_cache(maxsize=256)
def _registered(target: str) -> frozenset[str]:
    everything = {name for relation in relations() for name in relation.members} | set(registry())
    same = _same(target) - {_CONSTANT}
    gone = set(same)
    while target in (proofs := _proofs(everything - gone)):
        name = target
        while name in gone:
            # the first other member breaks this proof; where it is gone already, the proof by which it was found again
            name = next(one for one in proofs[name].members if one not in (name, _CONSTANT))
        gone.add(name)
    for name in sorted(gone - same):  # a later one may have made an earlier one needless
        if target not in _proofs(everything - gone | {name}):
            gone.remove(name)
    return frozenset(gone)


def reveals(target: str, among: Iterable[str] = ()) -> frozenset[str]:
    """Return the metrics that give a target away when both are of the same run on the same GPU.

    Without them no relation, nor any chain of relations, leads from what is left to the target.

    Parameters
    ----------
    target : str
        Canonical name.
    among : iterable of str
        Further names at hand: counters of Nsight Compute that the registry does not know are taken in where they are
        roll-ups of a counter that a revealing metric is computed from.

    Returns
    -------
    frozenset of str
        Names, the target included.

    Examples
    --------
    >>> sorted(reveals("dram_read_throughput") & {"dram_throughput", "dram_write_throughput", "dram_read_transactions"})
    ['dram_read_transactions', 'dram_throughput']
    >>> "inst_executed" in reveals("ipc"), "l2_read_throughput" in reveals("ipc")
    (True, False)
    >>> sorted(reveals("mine"))
    ['mine']
    """
    gone = _registered(target)
    known = registry()
    counters = {
        match[1]
        for name in gone
        if name in known
        for terms in known[name].ncu
        for _, counter in terms
        if (match := _COUNTER.fullmatch(counter))
    }
    raw = (name for name in among if (match := _COUNTER.fullmatch(name)) and match[1] in counters)
    return gone | frozenset(raw)
