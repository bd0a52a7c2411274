"""PySCF as an ASE calculator: Hartree-Fock and density functionals for molecules."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import SCFError
from ase.data import chemical_symbols
from ase.units import Bohr
from numpy.typing import NDArray

from ase_proxima.errors import InputError
from ase_proxima.targets.molecule import MoleculeCalculator

__all__ = ["PySCFCalculator"]


class PySCFCalculator(MoleculeCalculator):
    """Energies and forces of a molecule from PySCF.

    Every call starts from the same guess, so that results do not depend on the calls before.

    Parameters
    ----------
    method
        `"HF"` or an exchange-correlation functional as PySCF names it, such as `"B3LYP"` or `"PBE"`.
    basis
        A basis that comes with PySCF.  The 6-31G family gets Cartesian d functions, as it was published
        (Hariharan and Pople, 1973), and as other programs do; the rest get spherical ones.
    charge, multiplicity
        Total charge of the molecule, in elementary charges, and 2S + 1; None for those that each structure asks for,
        see `ase_proxima.targets.electrons.resolve_state`.  Above 1 the reference is unrestricted.
    max_cycles
        Iterations after which the SCF counts as not converged.
    n_threads
        Threads for a calculation.

    Raises
    ------
    InputError
        If a parameter, the method, the basis or the molecule is not one that PySCF can compute, or there
        is no PySCF.
    ase.calculators.calculator.SCFError
        If the SCF iterations do not converge.
    ase.calculators.calculator.CalculationFailed
        If the results are not finite.

    References
    ----------
    Sun et al., J. Chem. Phys. 153, 024109 (2020). doi:10.1063/5.0006074
    """

    name = "pyscf"
    program = "PySCF"

    def __init__(
        self,
        method: str = "HF",
        basis: str = "6-31G*",
        *,
        charge: int | None = None,
        multiplicity: int | None = None,
        max_cycles: int = 100,
        n_threads: int = 1,
    ) -> None:
        super().__init__(
            method,
            basis,
            charge=charge,
            multiplicity=multiplicity,
            at_least_one={"max_cycles": max_cycles, "n_threads": n_threads},
            max_cycles=max_cycles,
        )
        self._n_threads = int(n_threads)

    def validate(self, atoms: Atoms | None = None) -> None:
        """Check method, basis and molecule without a calculation.

        Parameters
        ----------
        atoms
            The molecule that is to be computed; None to check with hydrogen.

        Raises
        ------
        InputError
            If one of them is not usable; the message names it, with names that are close to it.
        """
        _check_method(self.parameters.method)
        if atoms is not None:
            self._charge_and_multiplicity(atoms)
        numbers = [1] if atoms is None else sorted(set(atoms.numbers.tolist()))
        _check_basis(self.parameters.basis, [chemical_symbols[number] for number in numbers])

    def _compute(self, atoms: Atoms, wants_forces: bool) -> tuple[float, NDArray[np.float64] | None]:
        from pyscf import lib

        self.validate(atoms)
        with lib.with_omp_threads(self._n_threads):
            field = self._mean_field(atoms)
            energy = float(field.kernel())
            if not field.converged:
                raise SCFError(
                    f"PySCF's SCF did not converge in {self.parameters.max_cycles} iterations for "
                    f"{atoms.get_chemical_formula()}: check the geometry, or raise max_cycles"
                )
            gradient = field.nuc_grad_method().kernel() if wants_forces else None
        return energy, None if gradient is None else np.asarray(gradient, dtype=float)

    def _mean_field(self, atoms: Atoms) -> Any:
        """PySCF's object for the calculation, not yet run."""
        from pyscf import dft, gto, scf

        parameters = self.parameters
        charge, multiplicity = self._charge_and_multiplicity(atoms)
        molecule = gto.M(
            atom=list(zip(atoms.get_chemical_symbols(), (atoms.positions / Bohr).tolist(), strict=True)),
            unit="Bohr",
            basis=parameters.basis,
            charge=charge,
            spin=multiplicity - 1,
            cart=_is_cartesian(parameters.basis),
            verbose=0,
        )
        closed = multiplicity == 1
        if _is_hartree_fock(parameters.method):
            field = scf.RHF(molecule) if closed else scf.UHF(molecule)
        else:
            field = dft.RKS(molecule) if closed else dft.UKS(molecule)
            field.xc = parameters.method
        # As Psi4Calculator: energies and forces within 1e-6 eV of the converged ones.
        field.conv_tol = 1e-10
        field.conv_tol_grad = 1e-7
        field.max_cycle = parameters.max_cycles
        return field


def _is_hartree_fock(method: str) -> bool:
    return method.lower() in {"hf", "scf", "rhf", "uhf"}


def _is_cartesian(basis: str) -> bool:
    """Whether the d functions of a basis are the six Cartesian ones.

    Examples
    --------
    >>> [_is_cartesian(name) for name in ("6-31G*", "6-31++g(d,p)", "6-311G*", "cc-pVDZ")]
    [True, True, False, False]
    """
    return re.match(r"6-?31(?!1)\+*g", basis.lower()) is not None


def _check_method(method: str) -> None:
    try:
        from pyscf.dft import libxc
    except ImportError as error:
        raise InputError(
            "PySCF is not installed: install it with `pip install 'ase-proxima[pyscf]'`"
        ) from error
    if _is_hartree_fock(method):
        return
    try:
        hybrid, terms = libxc.parse_xc(method)
    except (KeyError, ValueError) as error:
        known = [name.lower() for name in (*libxc.XC_ALIAS, *libxc.XC_CODES) if len(name) < 12]
        near = difflib.get_close_matches(method.lower(), ["hf", *known], n=4)
        hint = "close to it: " + ", ".join(near) if near else "use HF or a density functional such as B3LYP"
        raise InputError(f"PySCF has no method {method!r}; {hint}") from error
    if not terms and not any(hybrid):
        raise InputError(f"PySCF has no method {method!r}; use HF or a density functional such as B3LYP")


def _check_basis(basis: str, symbols: Sequence[str]) -> None:
    from pyscf import gto
    from pyscf.lib.exceptions import BasisNotFoundError

    for symbol in symbols:
        try:
            with warnings.catch_warnings():
                # It advises to download the basis.
                warnings.simplefilter("ignore", UserWarning)
                gto.basis.load(basis, symbol)
        except (BasisNotFoundError, KeyError) as error:
            near = difflib.get_close_matches(re.sub(r"[-_ ]", "", basis.lower()), gto.basis.ALIAS, n=4)
            hint = "close to it: " + ", ".join(near) if near else "nothing close to it is known"
            raise InputError(f"PySCF cannot use the basis {basis!r} for {symbol}; {hint}") from error
