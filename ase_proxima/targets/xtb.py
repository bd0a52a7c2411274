"""Extended tight binding through tblite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from ase_proxima.errors import InputError

__all__ = ["METHODS", "xtb_calculator"]

METHODS = {"gfn2": "GFN2-xTB", "gfn1": "GFN1-xTB", "ipea1": "IPEA1-xTB"}
"""Short names, in lower case, and tblite's own."""


def xtb_calculator(method: str = "GFN2", *, periodic: bool = False, **options: Any) -> Calculator:
    """Make a silent tblite calculator whose results do not depend on earlier calls.

    Parameters
    ----------
    method
        `"GFN2"`, `"GFN1"` or `"IPEA1"`, with or without tblite's ending `-xTB`.
    periodic
        Whether it will compute crystals, for which there is a stress.
    **options
        Parameters of `tblite.ase.TBLite`, such as `charge`, `multiplicity` or `accuracy`.

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

    class FreshTBLite(TBLite):  # type: ignore[misc]
        """tblite, starting from its own guess on every call: a resumed run repeats it bit for bit."""

        name = "xtb"
        implemented_properties: ClassVar[list[str]] = ["energy", "forces", *(["stress"] if periodic else [])]

        def calculate(
            self,
            atoms: Atoms | None = None,
            properties: Sequence[str] | None = None,
            system_changes: Sequence[str] = all_changes,
        ) -> None:
            self._res = None
            super().calculate(atoms, properties, system_changes)

    return FreshTBLite(method=METHODS[short], **{"verbosity": 0, **options})
