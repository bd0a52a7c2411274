"""Radial functions of the descriptors, tabulated once and interpolated by cubic splines."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

__all__ = ["STEP", "density_table", "pair_table"]

STEP = 0.02
"""Spacing of the tables, Å: a cubic spline through functions 0.25 Å wide is then exact to some 1e-7."""
POINTS_PER_WIDTH = 12
"""Points of the quadrature over the smeared density in a Gaussian's width: doubling changes nothing to 1e-9."""
TAPER = 1.0
"""Largest width of the smooth step to zero below the cutoff, Å, as in common SOAP codes."""
TAPER_SHARE = 0.2
"""The same as a share of the cutoff."""
UPWARD = 30.0
"""Argument of the Bessel functions from which their upward recurrence loses no digit up to degree 10."""
EXTRA_DEGREES = 40
"""Degrees above the highest at which the downward recurrence starts: exact to 1e-13 below UPWARD."""
PAIR_STRETCH = 3.0
"""How much finer pair functions resolve short distances than long ones: exp(PAIR_STRETCH) at the two ends."""


def density_table(r_cut: float, width: float, n_max: int, l_max: int) -> np.ndarray:
    r"""Splines of the expansion coefficients of one Gaussian neighbour.

    .. math:: R_{nl}(r) = f(r) \int_0^\infty x^2 g_n(x) e^{-(x^2 + r^2) / 2 \sigma^2} i_l(x r / \sigma^2) dx

    with orthonormal :math:`g_n` made from :math:`x^n e^{-x^2 / 2 s_n^2}`, :math:`s_n = r_c \max(\sqrt n, 1) / n_{max}`,
    and `f` a smooth step.

    Returns
    -------
    array, shape (n_intervals, 4, l_max + 1, n_max)
        Coefficients of ascending powers of the distance from the left end of the interval, Å; read-only.

    References
    ----------
    Bartók, Kondor, Csányi, Phys. Rev. B 87, 184115 (2013); Musil et al., J. Chem. Phys. 154, 114109 (2021).
    """
    return _density_table(float(r_cut), float(width), int(n_max), int(l_max))


@lru_cache(maxsize=64)
def _density_table(r_cut: float, width: float, n_max: int, l_max: int) -> np.ndarray:
    r = _grid(r_cut)
    x = np.arange(0.0, r_cut + 8.0 * width, width / POINTS_PER_WIDTH)
    n = np.arange(n_max)
    spread = r_cut * np.maximum(np.sqrt(n), 1.0) / n_max
    primitive = x ** n[:, None] * np.exp(-0.5 * (x / spread[:, None]) ** 2)
    weight = np.full(len(x), width / POINTS_PER_WIDTH)
    weight[[0, -1]] *= 0.5
    weight *= x**2
    primitive /= np.sqrt(np.sum(weight * primitive**2, axis=1))[:, None]
    overlap = (primitive * weight) @ primitive.T
    values, vectors = np.linalg.eigh(overlap)
    basis = (vectors / np.sqrt(values)) @ vectors.T @ primitive
    z = np.outer(r, x) / width**2
    bell = np.exp(-0.5 * ((r[:, None] - x) / width) ** 2) * weight
    bessel = _scaled_bessel(z, l_max)
    table = np.einsum("lrx,nx->rln", bessel * bell, basis, optimize=True)
    table *= (4.0 * np.pi) / (np.pi * width**2) ** 0.75 * _taper(r, r_cut)[:, None, None]
    return _splines(table)


def pair_table(r_cut: float, n: int) -> np.ndarray:
    """Splines of `n` smooth functions of a distance: Chebyshev polynomials of a stretched distance times a smooth step.

    Returns
    -------
    array, shape (n_intervals, 4, n)
        As in `density_table`.
    """
    return _pair_table(float(r_cut), int(n))


@lru_cache(maxsize=64)
def _pair_table(r_cut: float, n: int) -> np.ndarray:
    r = _grid(r_cut)
    near = np.expm1(PAIR_STRETCH * (1.0 - r / r_cut)) / np.expm1(PAIR_STRETCH)
    angle = np.arccos(np.clip(2.0 * near - 1.0, -1.0, 1.0))
    table = np.cos(np.arange(n) * angle[:, None]) * (np.clip(1.0 - r / r_cut, 0.0, None) ** 2)[:, None]
    return _splines(table)


def _grid(r_cut: float) -> np.ndarray:
    return np.linspace(0.0, r_cut, int(np.ceil(r_cut / STEP)) + 1)


def _taper(r: np.ndarray, r_cut: float) -> np.ndarray:
    width = min(TAPER, TAPER_SHARE * r_cut)
    share = np.clip((r - (r_cut - width)) / width, 0.0, 1.0)
    step: np.ndarray = 0.5 * (1.0 + np.cos(np.pi * share))
    return step


def _splines(table: np.ndarray) -> np.ndarray:
    from scipy.interpolate import CubicSpline

    spacing = np.arange(len(table), dtype=float)  # the kernels work in units of the spacing
    pieces = CubicSpline(spacing, table, axis=0).c[::-1]
    coefficients = np.ascontiguousarray(np.moveaxis(pieces, 0, 1))
    coefficients.flags.writeable = False
    return coefficients


def _scaled_bessel(z: np.ndarray, l_max: int) -> np.ndarray:
    """Modified spherical Bessel functions of the first kind times exp(-z), degrees 0 to `l_max`.

    Miller's downward recurrence below UPWARD, the upward one, stable there, above.
    """
    z = np.maximum(z, 1e-12)
    found = np.empty((l_max + 1, *z.shape))
    exact = -np.expm1(-2.0 * z) / (2.0 * z)
    found[0] = exact
    if l_max:
        found[1] = (0.5 * (1.0 + np.exp(-2.0 * z)) - exact) / z
    for degree in range(1, l_max):
        found[degree + 1] = found[degree - 1] - (2 * degree + 1) / z * found[degree]
    small = z < UPWARD
    argument = z[small]
    above, here = np.zeros_like(argument), np.full_like(argument, 1e-250)
    below = np.empty((l_max + 1, len(argument)))
    for degree in range(l_max + EXTRA_DEGREES, -1, -1):
        if degree <= l_max:
            below[degree] = here
        above, here = here, above + (2 * degree + 1) / argument * here
        large = here > 1e150
        for part in (above, here):
            part[large] *= 1e-150
        if degree <= l_max:
            below[degree:, large] *= 1e-150
    found[:, small] = below * (exact[small] / below[0])
    return found
