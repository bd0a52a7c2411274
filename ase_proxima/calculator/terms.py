"""What a calculator may be asked: properties, and one electronic state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ase import Atoms

from ase_proxima.errors import InputError
from ase_proxima.targets.contract import offered
from ase_proxima.types.identity import INITIAL, electronic_state

__all__ = ["Electrons", "choose_properties", "may_be_asked"]

OFFERED = ("energy", "forces", "stress")
"""Properties that surrogates can learn."""


@dataclass
class Electrons:
    """The electronic state of a run, which the surrogate does not see.

    Attributes
    ----------
    state
        That of the first structure; None before.
    n_atoms
        Its number of atoms.
    """

    state: Mapping[str, Any] | None = None
    n_atoms: int = 0

    def check(self, atoms: Atoms) -> None:
        """Refuse a structure in another state: of another number of atoms, in another one as a whole."""
        state = electronic_state(atoms)
        if self.state is None:
            self.state, self.n_atoms = state, len(atoms)
        elif state != self.state and not (
            len(atoms) != self.n_atoms and _of_whole(state) == _of_whole(self.state)
        ):
            raise InputError(
                "the charge, the spin, or the initial charges or magnetic moments changed, which the surrogate does "
                "not see: use another ProximaCalculator for another electronic state"
            )


def _of_whole(state: Mapping[str, Any]) -> dict[str, Any]:
    """What an electronic state says of the whole, and not atom by atom."""
    return {name: value for name, value in state.items() if name not in INITIAL}


def choose_properties(target: Any, properties: Sequence[str] | None) -> tuple[str, ...]:
    """What target and surrogates both offer, or what of it was chosen."""
    learned = tuple(name for name in OFFERED if name in offered(target))
    if properties is None:
        return learned
    if isinstance(properties, str):
        raise InputError(
            f"properties must be a sequence of names, got {properties!r}: write [{properties!r}]"
        )
    missing = [name for name in properties if name not in learned]
    if missing or not properties:
        raise InputError(
            f"properties {list(properties)} cannot be had: this target and the surrogates offer {list(learned)}"
        )
    return tuple(name for name in OFFERED if name in properties)


def may_be_asked(target: Any, chosen: Sequence[str]) -> list[str]:
    """Properties that may be asked for: those chosen, or all of the target; with the energy, the free energy."""
    names = [*chosen, *(offered(target) if chosen == choose_properties(target, None) else ())]
    return list(dict.fromkeys([*names, *(["free_energy"] if "energy" in names else [])]))
