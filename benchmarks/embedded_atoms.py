"""Embedded-atom potential of body-centred metals: Zhou, Johnson and Wadley, Phys. Rev. B 69, 144113 (2004).

Unlike EMT and the potential of Finnis and Sinclair it is smooth among thermal distances. Its pair and density functions
go to zero between `SWITCH` by a polynomial of degree five, so that three derivatives are continuous there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list

SWITCH = (5.0, 6.0)
"""Å: where the functions begin to be cut, and where they are zero."""

# r_e, f_e, rho_e, alpha, beta, A, B, kappa, lambda; Fn0..Fn3; F0..F3; eta, F_e. rho_s equals rho_e for these four.
METALS: dict[str, tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...], tuple[float, float]]] = {
    "Fe": (
        (2.481987, 1.885957, 20.041463, 9.818270, 5.236411, 0.392811, 0.646243, 0.170306, 0.340613),
        (-2.534992, -0.059605, 0.193065, -2.282322),
        (-2.54, 0.0, 0.200269, -0.148770),
        (0.391750, -2.539945),
    ),
    "Mo": (
        (2.728100, 2.723710, 29.354065, 8.393531, 4.476550, 0.708787, 1.120373, 0.137640, 0.275280),
        (-3.692913, -0.178812, 0.380450, -3.133650),
        (-3.71, 0.0, 0.875874, 0.776222),
        (0.790879, -3.712093),
    ),
    "Ta": (
        (2.860082, 3.086341, 33.787168, 8.489528, 4.527748, 0.611679, 1.032101, 0.176977, 0.353954),
        (-5.103845, -0.405524, 1.112997, -3.585325),
        (-5.14, 0.0, 1.640098, 0.221375),
        (0.848843, -5.141526),
    ),
    "W": (
        (2.740840, 3.487340, 37.234847, 8.900114, 4.746728, 0.882435, 1.394592, 0.139209, 0.278417),
        (-4.946281, -0.148818, 0.365057, -4.432406),
        (-4.96, 0.0, 0.661935, 0.348147),
        (-0.582714, -4.961306),
    ),
}


def decay(
    r: np.ndarray, r_e: float, height: float, rate: float, shift: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return height exp(-rate (x - 1)) / (1 + (x - shift)^20), x = r / r_e, and its derivative."""
    x = r / r_e - shift
    value = height * np.exp(-rate * (r / r_e - 1)) / (1 + x**20)
    return value, value * (-rate - 20 * x**19 / (1 + x**20)) / r_e


def pair_and_density(symbol: str, r: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the pair energy (eV) and the density of a metal at distances r (Å), each followed by its derivative."""
    r_e, f_e, _, alpha, beta, A, B, kappa, lambda_ = METALS[symbol][0]
    repelled, repelled_slope = decay(r, r_e, A, alpha, kappa)
    bound, bound_slope = decay(r, r_e, B, beta, lambda_)
    return (repelled - bound, repelled_slope - bound_slope, *decay(r, r_e, f_e, beta, lambda_))


def embedding(symbol: str, rho: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the energies (eV) of atoms of a metal in densities rho, and the derivatives."""
    (_, _, rho_e, *_), low, middle, (eta, F_e) = METALS[symbol]
    thin, thick = rho < 0.85 * rho_e, rho >= 1.15 * rho_e
    below = np.polynomial.Polynomial(low, domain=(0.0, 2 * 0.85 * rho_e))
    around = np.polynomial.Polynomial(middle, domain=(0.0, 2 * rho_e))
    y = np.maximum(rho, 1e-9) / rho_e
    above = F_e * (1 - eta * np.log(y)) * y**eta
    above_slope = -F_e * eta**2 * np.log(y) * y ** (eta - 1) / rho_e
    energy = np.where(thin, below(rho), np.where(thick, above, around(rho)))
    slope = np.where(thin, below.deriv()(rho), np.where(thick, above_slope, around.deriv()(rho)))
    return energy, slope


def along_pairs(
    atoms: Atoms, energy: float, i: np.ndarray, r: np.ndarray, D: np.ndarray, slope: np.ndarray
) -> dict[str, Any]:
    """Results where an atom i is pulled along D by the slope (eV/Å) of the energy with its distance r, both ways."""
    pull = (slope / r)[:, None] * D
    forces = np.column_stack([np.bincount(i, pull[:, axis], minlength=len(atoms)) for axis in range(3)])
    virial = 0.5 * D.T @ pull / atoms.get_volume()
    return {
        "energy": energy,
        "free_energy": energy,
        "forces": forces,
        "stress": virial.ravel()[[0, 4, 8, 5, 2, 1]],
    }


class EmbeddedAtoms(Calculator):  # type: ignore[misc]
    """Fe, Mo, Ta and W, pure and mixed: pairs of unlike atoms follow from the pure metals and their densities."""

    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Fill in energy, forces and stress."""
        super().calculate(atoms, properties, system_changes)
        n = len(self.atoms)
        i, j, r, D = neighbor_list("ijdD", self.atoms, SWITCH[1])
        symbols = np.array(self.atoms.get_chemical_symbols())
        present = sorted(set(symbols))
        functions = {symbol: pair_and_density(symbol, r) for symbol in present}
        kind = np.searchsorted(present, symbols)
        tables = np.array([functions[symbol] for symbol in present])  # (n_species, 4, n_pairs)
        each = np.arange(len(r))
        phi_i, phi_i_slope, f_i, f_i_slope = tables[kind[i], :, each].T
        phi_j, phi_j_slope, f_j, f_j_slope = tables[kind[j], :, each].T
        share = f_j / f_i
        share_slope = (f_j_slope - share * f_i_slope) / f_i
        pair = 0.5 * (share * phi_i + phi_j / share)
        pair_slope = 0.5 * (
            share_slope * (phi_i - phi_j / share**2) + share * phi_i_slope + phi_j_slope / share
        )

        t = np.clip((r - SWITCH[0]) / (SWITCH[1] - SWITCH[0]), 0.0, 1.0)
        cut = 1 - t**3 * (10 - 15 * t + 6 * t**2)
        cut_slope = -30 * t**2 * (1 - t) ** 2 / (SWITCH[1] - SWITCH[0])
        rho = np.bincount(i, f_j * cut, minlength=n)
        bound, bent = np.zeros(n), np.zeros(n)
        for number, symbol in enumerate(present):
            bound[kind == number], bent[kind == number] = embedding(symbol, rho[kind == number])
        energy = 0.5 * (pair * cut).sum() + bound.sum()
        slope = pair_slope * cut + pair * cut_slope
        slope += bent[i] * (f_j_slope * cut + f_j * cut_slope) + bent[j] * (f_i_slope * cut + f_i * cut_slope)
        self.results = along_pairs(self.atoms, energy, i, r, D, slope)
