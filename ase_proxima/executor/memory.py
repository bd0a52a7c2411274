"""The latest answers, for inputs that are asked for again a moment later."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from ase_proxima.types import Decision, Results

__all__ = ["REMEMBERED", "Answer", "Memory"]

REMEMBERED = 64
"""Answers kept: an NEB asks for each of its images about five times in a step, and has fewer images than that."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered to a call.

    Attributes
    ----------
    x
        The input; None where only its fingerprint is left, after a resume.
    decision
    results
        None where they were not kept, after a resume: the surrogate gives them again.
    """

    x: Any
    decision: Decision
    results: Results | None


class Memory:
    """The latest answers by the fingerprint of their input; the oldest goes when there are `REMEMBERED`.

    Examples
    --------
    >>> memory = Memory()
    >>> for k in range(70):
    ...     memory.add(str(k), Answer(k, Decision.TARGET, {"value": 0.1 * k}))
    >>> memory.find("5"), memory.find("69").results
    (None, {'value': 6.9})
    """

    def __init__(self) -> None:
        self._answers: OrderedDict[str, Answer] = OrderedDict()

    def find(self, identity: str) -> Answer | None:
        """Return the answer to an input; None where it is not remembered."""
        return self._answers.get(identity)

    def add(self, identity: str, answer: Answer) -> None:
        """Remember an answer as the latest."""
        self._answers.pop(identity, None)
        self._answers[identity] = answer
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)

    @property
    def inputs(self) -> list[Any]:
        """Inputs remembered, the oldest first."""
        return [answer.x for answer in self._answers.values() if answer.x is not None]
