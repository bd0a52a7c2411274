"""Extended tight binding through tblite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from ase_proxima.errors import InputError
from ase_proxima.targets.contract import StateAwareCalculator
from ase_proxima.targets.electrons import resolve_state

__all__ = ["METHODS", "xtb_calculator"]

METHODS = {"gfn2": "GFN2-xTB", "gfn1": "GFN1-xTB", "ipea1": "IPEA1-xTB"}
"""Short names, in lower case, and tblite's own."""

HALF_AN_ELECTRON = 0.5
"""Rounding of sums of occupations, which are whole numbers of electrons."""


def xtb_calculator(method: str = "GFN2", *, periodic: bool = False, **options: Any) -> Calculator:
    """Make a silent tblite calculator whose results do not depend on earlier calls.

    Parameters
    ----------
    method
        `"GFN2"`, `"GFN1"` or `"IPEA1"`, with or without tblite's ending `-xTB`.
    periodic
        Whether it will compute crystals, for which there is a stress.
    **options
        Parameters of `tblite.ase.TBLite`, such as `accuracy`; `charge` and `multiplicity` are those that each
        structure asks for, see `ase_proxima.targets.electrons.resolve_state`, and must not contradict it where given.

    Raises
    ------
    InputError
        If the method or an option is unknown, or tblite is not installed.

    References
    ----------
    Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput. 15, 1652 (2019). doi:10.1021/acs.jctc.8b01176
    """
    short = method.lower().removesuffix("-xtb")
    if short not in METHODS:
        raise InputError(
            f"unknown xTB method {method!r}: use one of {', '.join(name.upper() for name in METHODS)}"
        )
    try:
        from tblite.ase import TBLite
    except ImportError as error:
        raise InputError(
            "tblite is not installed: install it with `pip install 'ase-proxima[xtb]'`"
        ) from error
    unknown = sorted(set(options) - set(TBLite.default_parameters))
    if unknown:
        raise InputError(
            f"unknown xTB option {unknown[0]!r}: use one of {', '.join(sorted(TBLite.default_parameters))}"
        )

    class FreshTBLite(StateAwareCalculator, TBLite):  # type: ignore[misc]
        """tblite, starting from its own guess on every call: a resumed run repeats it bit for bit."""

        name = "xtb"
        implemented_properties: ClassVar[list[str]] = ["energy", "forces", *(["stress"] if periodic else [])]

        _res: Any
        atoms: Atoms

        def calculate(
            self,
            atoms: Atoms | None = None,
            properties: Sequence[str] | None = None,
            system_changes: Sequence[str] = all_changes,
        ) -> None:
            structure = self.atoms if atoms is None else atoms
            asked = resolve_state(
                structure, charge=self.parameters.charge, multiplicity=self.parameters.multiplicity
            )
            told = structure.copy()  # tblite reads the sums of the initial arrays alone
            told.set_initial_charges([asked.charge] + [0] * (len(told) - 1))
            if asked.multiplicity is not None:
                told.set_initial_magnetic_moments([asked.multiplicity - 1] + [0] * (len(told) - 1))
            self._res = None
            super().calculate(told, properties, system_changes)
            n_valence = self._res["orbital-occupations"].sum()
            if (
                asked.multiplicity or 1
            ) - 1 > n_valence + HALF_AN_ELECTRON:  # tblite would take fewer, silently
                self.reset()
                raise InputError(
                    f"{structure.get_chemical_formula()} has {n_valence:.0f} valence electrons in xTB, which cannot "
                    f"have the multiplicity {asked.multiplicity}: choose a lower one"
                )
            self.atoms = structure.copy()

    return FreshTBLite(method=METHODS[short], **{"verbosity": 0, **options})
