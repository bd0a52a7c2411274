"""Covalent crystals by published many-body potentials, through matscipy."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

from ase import Atoms

from ase_proxima.errors import InputError

__all__ = ["POTENTIALS", "manybody_calculator"]

POTENTIALS = {
    "sw:si": ("stillinger_weber", "StillingerWeber", "Stillinger_Weber_PRB_31_5262_Si", {"Si"}),
    "kumagai:si": ("kumagai", "Kumagai", "Kumagai_Comp_Mat_Sci_39_Si", {"Si"}),
    "tersoff:si": ("tersoff_brenner", "TersoffBrenner", "Tersoff_PRB_39_5566_Si_C", {"Si"}),
    "tersoff:sic": ("tersoff_brenner", "TersoffBrenner", "Tersoff_PRB_39_5566_Si_C", {"Si", "C"}),
}
"""Names, with matscipy's module, form and set of parameters, and the elements that they are for."""


def manybody_calculator(form: str, elements: str, atoms: Atoms | None = None) -> Any:
    """Make a calculator of matscipy.

    Parameters
    ----------
    form, elements
        The two parts of a name of `POTENTIALS`, in any case.
    atoms
        The structure that is to be computed, where it is known.

    Raises
    ------
    InputError
        If there is no such potential, it lacks an element, or matscipy is not installed.

    References
    ----------
    Stillinger and Weber, Phys. Rev. B 31, 5262 (1985); Tersoff, Phys. Rev. B 39, 5566 (1989); Kumagai, Izumi, Hara,
    Sakai, Comput. Mater. Sci. 39, 457 (2007).
    """
    name = f"{form}:{elements}".lower()
    if name not in POTENTIALS:
        raise InputError(
            f"unknown target '{form}:{elements}': use one of sw:Si, kumagai:Si, tersoff:Si, tersoff:SiC"
        )
    module, function, parameters, known = POTENTIALS[name]
    unknown = sorted(set(atoms.get_chemical_symbols()) - known) if atoms is not None else []
    if unknown:
        raise InputError(
            f"target '{form}:{elements}' has no parameters for {', '.join(unknown)}, only for "
            f"{', '.join(sorted(known))}: choose another target"
        )
    try:
        from matscipy.calculators.manybody import Manybody

        forms = importlib.import_module(f"matscipy.calculators.manybody.explicit_forms.{module}")
    except ImportError as error:
        raise InputError(
            "matscipy is not installed: install it with `pip install 'ase-proxima[manybody]'`"
        ) from error

    class NamedManybody(Manybody):  # type: ignore[misc]  # matscipy has no types
        """matscipy's calculator, under the name of its potential."""

        name: ClassVar[str] = f"{form.lower()}:{elements}"
        implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

        def calculate(self, atoms: Atoms, properties: Sequence[str], system_changes: Sequence[str]) -> None:
            with warnings.catch_warnings():
                # matscipy leaves powers of zero unset, and does not use them.
                warnings.filterwarnings("ignore", message="'where' used without 'out'")
                super().calculate(atoms, properties, system_changes)

    return NamedManybody(**getattr(forms, function)(getattr(forms, parameters)))
