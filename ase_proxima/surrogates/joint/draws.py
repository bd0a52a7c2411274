"""Draws of functions of the inverse distances from the prior of the Gaussian process."""

from __future__ import annotations

import numpy as np

__all__ = ["PriorDraws"]

WAVES = 256
"""Cosines of which each draw is made: half as many make the deviations of the forces 3 % less like the exact ones."""


class PriorDraws:
    """Functions drawn from a Gaussian process with the Matern 5/2 covariance averaged over permutations.

    A draw is a sum of cosines of random frequencies, phases and sizes, averaged over the images of its argument, which
    has just that covariance in the mean over the frequencies.

    Parameters
    ----------
    images : (p, d) integer array
        Permutations of the pairs.
    n_draws : int
    seed : int

    References
    ----------
    Rahimi and Recht, Adv. Neural Inf. Process. Syst. 20 (2007). The frequencies of a Matern covariance follow a
    Student t distribution with 2 nu = 5 degrees of freedom: Rasmussen and Williams (2006), Eq. 4.15.

    Examples
    --------
    >>> draws = PriorDraws(np.array([[0, 1]]), n_draws=2000, seed=0)
    >>> values, slopes = draws.at(np.array([[0.3, 0.1]]))
    >>> round(float(np.var(values)), 1), slopes.shape
    (1.0, (2000, 1, 2))
    """

    def __init__(self, images: np.ndarray, *, n_draws: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        p, d = images.shape
        heaviness = np.sqrt(rng.chisquare(5, (WAVES, 1)) / 5.0)
        self._frequencies = rng.normal(size=(WAVES, d)) / heaviness
        self._phases = rng.uniform(0.0, 2.0 * np.pi, WAVES)
        self._sizes = rng.normal(size=(n_draws, WAVES)) * np.sqrt(2.0 / WAVES) / p

    def at(self, q_images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values of the draws, of unit amplitude, and their derivatives by each image.

        Parameters
        ----------
        q_images : (p, d) array
            Images of a descriptor in units of the length scales.

        Returns
        -------
        values : (n_draws,) array
        slopes : (n_draws, p, d) array
            The gradient by the descriptor is the sum over the images, each permuted back.
        """
        angles = q_images @ self._frequencies.T + self._phases
        values = self._sizes @ np.cos(angles).sum(axis=0)
        tilts = -np.sin(angles) * self._sizes[:, None, :]
        return values, tilts @ self._frequencies
