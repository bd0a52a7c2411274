"""Compiled loops over atoms and their neighbours: spectra, and one reverse pass for many weights at once.

Every array is C-contiguous float64 or int64.  Names of the axes: i atom, j neighbour, s species of a neighbour,
z species of a centre, (l, m) or `lm` spherical harmonic, n radial function, q channel (a combination of s and n),
f feature of a spectrum, a component, t product of components, k lane (one weight vector each).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

__all__ = [
    "LANES",
    "Lanes",
    "Layout",
    "Pairs",
    "add_rows",
    "compiled",
    "describe",
    "energies_and_forces",
    "find_components",
    "interpolate",
    "spectra",
]

LANES = 16
"""Weight vectors of one pass: the mean and 15 samples.  A constant, so that the compiler unrolls inner loops."""

compiled = njit(cache=True, nogil=True, fastmath={"nsz", "arcp", "contract", "reassoc"})


class Pairs(NamedTuple):
    """Neighbours of a run of atoms, those of one atom after those of the other.

    `first` (atom + 1,) says where the neighbours of each begin, `offset` is the number of the run's first atom,
    `kinds` (i,) the species of all atoms; the rest has one row a pair: `vectors` (3,), `distances`, and values and
    derivatives of the pair functions (n,), radial functions (l n,) and harmonics (lm,), (3, lm).
    """

    offset: int
    first: np.ndarray
    kinds: np.ndarray
    neighbours: np.ndarray
    vectors: np.ndarray
    distances: np.ndarray
    pair_values: np.ndarray
    pair_slopes: np.ndarray
    radial: np.ndarray
    slopes: np.ndarray
    harmonics: np.ndarray
    tilts: np.ndarray


class Layout(NamedTuple):
    """What a basis is made of.

    `degree_of` (lm,); `own` (n,) what an atom adds to the density around itself; `channels` (l, s, n, q);
    `features` (f, 4) of first lm, end of lm, q1, q2; `means` (z, f) and `components` (a, f): the components of an
    atom are `components @ (spectrum - means[z])`; `products` (t, 3) of a, b, c, the latter -1 where there are two
    factors; `pair_kinds` (z, s).
    """

    degree_of: np.ndarray
    own: np.ndarray
    channels: np.ndarray
    features: np.ndarray
    means: np.ndarray
    components: np.ndarray
    products: np.ndarray
    pair_kinds: np.ndarray


class Lanes(NamedTuple):
    """Weight vectors side by side.

    `constants` (z, k), `pair` (kind, n, k), `linear` (z, f, k) and `products` (z, t, k).
    """

    constants: np.ndarray
    pair: np.ndarray
    linear: np.ndarray
    products: np.ndarray


@compiled
def interpolate(table, distances, inverse_step):  # type: ignore[no-untyped-def]
    """Values and slopes of splines, table (interval, 4, function), at many distances."""
    n = table.shape[2]
    values, slopes = np.empty((len(distances), n)), np.empty((len(distances), n))
    for pair in range(len(distances)):
        scaled = distances[pair] * inverse_step
        interval = min(int(scaled), table.shape[0] - 1)
        t = scaled - interval
        row = table[interval]
        for f in range(n):
            c3, c2, c1 = row[3, f], row[2, f], row[1, f]
            values[pair, f] = row[0, f] + t * (c1 + t * (c2 + t * c3))
            slopes[pair, f] = (c1 + t * (2.0 * c2 + t * 3.0 * c3)) * inverse_step
    return values, slopes


@compiled
def describe(  # type: ignore[no-untyped-def]
    kinds, neighbours, begin, end, kind, radial, harmonics, degree_of, own, channels, features,
    density, channel, spectrum,
):  # fmt: skip
    """Fill in the density (s, lm, n), the channels (lm, q) and the power spectrum of an atom."""
    n_species, n_lm, n_max = density.shape
    n_channels = channel.shape[1]
    density[:] = 0.0
    for n in range(n_max):
        density[kind, 0, n] = own[n]
    for pair in range(begin, end):
        s = kinds[neighbours[pair]]
        for lm in range(n_lm):
            y = harmonics[pair, lm]
            start = degree_of[lm] * n_max
            for n in range(n_max):
                density[s, lm, n] += y * radial[pair, start + n]
    channel[:] = 0.0
    for s in range(n_species):
        for lm in range(n_lm):
            degree = degree_of[lm]
            for n in range(n_max):
                c = density[s, lm, n]
                for q in range(n_channels):
                    channel[lm, q] += c * channels[degree, s, n, q]
    for f in range(len(spectrum)):
        q1, q2 = features[f, 2], features[f, 3]
        total = 0.0
        for lm in range(features[f, 0], features[f, 1]):
            total += channel[lm, q1] * channel[lm, q2]
        spectrum[f] = total


@compiled
def spectra(pairs, layout):  # type: ignore[no-untyped-def]
    """Densities (i, s, lm, n) and power spectra (i, f) of the atoms of a run."""
    first, kinds = pairs.first, pairs.kinds
    n_atoms, n_lm = len(first) - 1, len(layout.degree_of)
    _, n_species, n_max, n_channels = layout.channels.shape
    densities = np.empty((n_atoms, n_species, n_lm, n_max))
    channel = np.empty((n_lm, n_channels))
    found = np.empty((n_atoms, len(layout.features)))
    for here in range(n_atoms):
        describe(
            kinds, pairs.neighbours, first[here], first[here + 1], kinds[pairs.offset + here], pairs.radial,
            pairs.harmonics, layout.degree_of, layout.own, layout.channels, layout.features,
            densities[here], channel, found[here],
        )  # fmt: skip
    return densities, found


@compiled
def find_components(components, means, z, spectrum, x):  # type: ignore[no-untyped-def]
    """Fill in the components `x` (a,) of an atom."""
    for a in range(len(x)):
        total = 0.0
        for f in range(len(spectrum)):
            total += components[a, f] * (spectrum[f] - means[z, f])
        x[a] = total


@compiled
def add_rows(rows, start, into):  # type: ignore[no-untyped-def]
    """Add rows to those from `start` on; numba compiles a loop in a twentieth of the time of a slice."""
    for row in range(rows.shape[0]):
        for column in range(rows.shape[1]):
            into[start + row, column] += rows[row, column]


@compiled
def energies_and_forces(pairs, layout, lanes, forces, virials):  # type: ignore[no-untyped-def]
    """Energies (LANES,) of the atoms of a run.

    Adds to the forces (i, 3, LANES) and to the derivatives by strain (3, 3, LANES).
    """
    first, kinds, neighbours = pairs.first, pairs.kinds, pairs.neighbours
    vectors, distances, pair_values, pair_slopes = (
        pairs.vectors, pairs.distances, pairs.pair_values, pairs.pair_slopes,
    )  # fmt: skip
    radial, slopes, harmonics, tilts = pairs.radial, pairs.slopes, pairs.harmonics, pairs.tilts
    degree_of, own, channels, features = layout.degree_of, layout.own, layout.channels, layout.features
    means, components, products, pair_kinds = (
        layout.means, layout.components, layout.products, layout.pair_kinds,
    )  # fmt: skip
    constants, of_pairs, linear, of_products = lanes.constants, lanes.pair, lanes.linear, lanes.products
    n_lm, n_f, n_a, n_t, n_p = (
        len(degree_of), len(features), len(components), len(products), pair_values.shape[1],
    )  # fmt: skip
    _, n_species, n_max, n_channels = channels.shape
    energies = np.zeros(LANES)
    density = np.empty((n_species, n_lm, n_max))
    channel = np.empty((n_lm, n_channels))
    spectrum, x = np.empty(n_f), np.empty(n_a)
    by_component, by_spectrum = np.empty((n_a, LANES)), np.empty((n_f, LANES))
    by_channel = np.empty((n_channels * n_lm, LANES))  # for each degree (q, m)
    transposed = np.ascontiguousarray(components.T)
    most = 1
    for here in range(len(first) - 1):
        most = max(most, first[here + 1] - first[here])
    functions = np.empty((2 * most, n_max))
    steep, pull = np.empty((most, LANES)), np.empty((most, 3, LANES))
    for here in range(len(first) - 1):
        i = pairs.offset + here
        z = kinds[i]
        begin, end = first[here], first[here + 1]
        describe(
            kinds, neighbours, begin, end, z, radial, harmonics, degree_of, own, channels, features,
            density, channel, spectrum,
        )  # fmt: skip
        for k in range(LANES):
            energies[k] += constants[z, k]
        for f in range(n_f):
            value = spectrum[f]
            for k in range(LANES):
                w = linear[z, f, k]
                energies[k] += value * w
                by_spectrum[f, k] = w
        if n_a:
            find_components(components, means, z, spectrum, x)
            by_component[:] = 0.0
            for t in range(n_t):
                a, b, c = products[t, 0], products[t, 1], products[t, 2]
                x_c = x[c] if c >= 0 else 1.0
                ab, bc, ac = x[a] * x[b], x[b] * x_c, x[a] * x_c
                for k in range(LANES):
                    w = of_products[z, t, k]
                    energies[k] += ab * x_c * w
                    by_component[a, k] += bc * w
                    by_component[b, k] += ac * w
                if c >= 0:
                    for k in range(LANES):
                        by_component[c, k] += ab * of_products[z, t, k]
            add_rows(np.dot(transposed, by_component), 0, by_spectrum)
        by_channel[:] = 0.0
        for f in range(n_f):
            low, high = features[f, 0], features[f, 1]
            row_1 = low * n_channels + features[f, 2] * (high - low)
            row_2 = low * n_channels + features[f, 3] * (high - low)
            for m in range(high - low):
                c1, c2 = channel[low + m, features[f, 2]], channel[low + m, features[f, 3]]
                for k in range(LANES):
                    by_channel[row_1 + m, k] += c2 * by_spectrum[f, k]
                    by_channel[row_2 + m, k] += c1 * by_spectrum[f, k]
        steep[:] = 0.0
        pull[:] = 0.0
        low = begin
        while low < end:  # neighbours come in the order of their species
            s = kinds[neighbours[low]]
            high = low + 1
            while high < end and kinds[neighbours[high]] == s:
                high += 1
            size = high - low
            kind = pair_kinds[z, s]
            for pair in range(low, high):
                for n in range(n_p):
                    value, slope = 0.5 * pair_values[pair, n], 0.5 * pair_slopes[pair, n]
                    for k in range(LANES):
                        w = of_pairs[kind, n, k]
                        energies[k] += value * w
                        steep[pair - begin, k] += slope * w
            for degree in range(channels.shape[0]):
                lm, width = degree * degree, 2 * degree + 1
                upstream = by_channel[lm * n_channels : (lm + width) * n_channels]
                by_density = np.dot(channels[degree, s], upstream.reshape(n_channels, width * LANES))
                for place in range(size):
                    for n in range(n_max):
                        functions[place, n] = slopes[low + place, degree * n_max + n]
                        functions[size + place, n] = radial[low + place, degree * n_max + n]
                along = np.dot(functions[: 2 * size], by_density)
                for place in range(size):
                    pair, local = low + place, low + place - begin
                    for m in range(width):
                        y = harmonics[pair, lm + m]
                        y0, y1, y2 = tilts[pair, 0, lm + m], tilts[pair, 1, lm + m], tilts[pair, 2, lm + m]
                        for k in range(LANES):
                            turned = along[size + place, m * LANES + k]
                            steep[local, k] += y * along[place, m * LANES + k]
                            pull[local, 0, k] += y0 * turned
                            pull[local, 1, k] += y1 * turned
                            pull[local, 2, k] += y2 * turned
            low = high
        for pair in range(begin, end):
            j, local, inverse = neighbours[pair], pair - begin, 1.0 / distances[pair]
            for axis in range(3):
                direction = vectors[pair, axis] * inverse
                for k in range(LANES):
                    step = pull[local, axis, k] + direction * steep[local, k]
                    pull[local, axis, k] = step
                    forces[i, axis, k] += step
                    forces[j, axis, k] -= step
                for other in range(3):
                    away = vectors[pair, other]
                    for k in range(LANES):
                        virials[other, axis, k] += away * pull[local, axis, k]
    return energies
