"""Compiled loop over atoms and their neighbours: features and all their derivatives, where a frame is learnt.

Names of the axes are those of `kernels`.
"""

from __future__ import annotations

import numpy as np

from ase_proxima.surrogates.linear.kernels import add_rows, compiled, describe, find_components

__all__ = ["feature_rows"]


@compiled
def _scatter(rises, n_columns, start, row_of, own_row, into):  # type: ignore[no-untyped-def]
    """Add what each neighbour's step does to its own row, and subtract it from the row of the centre."""
    for column in range(n_columns):
        target = into[start + column]
        for lane in range(len(row_of)):
            if row_of[lane] >= 0:
                target[row_of[lane]] += rises[column, lane]
        if own_row >= 0:
            for lane in range(len(row_of)):
                target[own_row + lane % 3] -= rises[column, lane]


@compiled
def feature_rows(pairs, layout, wanted, values, gradient, strain):  # type: ignore[no-untyped-def]
    """Add the features of the atoms of a run, and their derivatives, to sums over all atoms.

    The columns are pair functions (kind, n), then for each species of centres its spectrum, then for each its
    products.

    Parameters
    ----------
    wanted : (i,) array
        Place of each atom in `gradient`, -1 for those that are left out; `strain` is complete where none is.
    values, gradient, strain
        (column,), (column, 3 places) and (column, 9).
    """
    first, kinds, neighbours = pairs.first, pairs.kinds, pairs.neighbours
    vectors, distances = pairs.vectors, pairs.distances
    radial, slopes, harmonics, tilts = pairs.radial, pairs.slopes, pairs.harmonics, pairs.tilts
    degree_of, own, channels, features = layout.degree_of, layout.own, layout.channels, layout.features
    means, components, products, pair_kinds = (
        layout.means, layout.components, layout.products, layout.pair_kinds,
    )  # fmt: skip
    n_lm, n_f, n_t, n_a = len(degree_of), len(features), len(products), len(components)
    _, n_species, n_max, n_channels = channels.shape
    n_p = pairs.pair_values.shape[1]
    spectrum_start = (pair_kinds[-1, -1] + 1) * n_p  # the last kind is that of the last species with itself
    product_start = spectrum_start + len(means) * n_f
    density, channel = np.empty((n_species, n_lm, n_max)), np.empty((n_lm, n_channels))
    spectrum, x = np.empty(n_f), np.empty(n_a)
    for here in range(len(first) - 1):
        i = pairs.offset + here
        z = kinds[i]
        begin, end = first[here], first[here + 1]
        describe(
            kinds, neighbours, begin, end, z, radial, harmonics, degree_of, own, channels, features,
            density, channel, spectrum,
        )  # fmt: skip
        find_components(components, means, z, spectrum, x)
        linear, product = spectrum_start + z * n_f, product_start + z * n_t
        for f in range(n_f):
            values[linear + f] += spectrum[f]
        by_component = np.zeros((n_t, n_a))
        for t in range(n_t):
            a, b, c = products[t, 0], products[t, 1], products[t, 2]
            x_c = x[c] if c >= 0 else 1.0
            values[product + t] += x[a] * x[b] * x_c
            by_component[t, a] += x[b] * x_c
            by_component[t, b] += x[a] * x_c
            if c >= 0:
                by_component[t, c] += x[a] * x[b]
        among = np.empty(end - begin, dtype=np.int64)
        n_among = 0
        for pair in range(begin, end):
            columns = pair_kinds[z, kinds[neighbours[pair]]] * n_p
            for n in range(n_p):
                values[columns + n] += 0.5 * pairs.pair_values[pair, n]
            if wanted[i] >= 0 or wanted[neighbours[pair]] >= 0:
                among[n_among] = pair
                n_among += 1
        if n_among == 0:
            continue
        n_lanes = 3 * n_among
        row_of = np.empty(n_lanes, dtype=np.int64)
        away = np.zeros((n_lanes, 9))
        raw = np.empty((n_max, n_lanes))
        moved = np.zeros((n_lm, n_channels, n_lanes))
        rises = np.zeros((n_f, n_lanes))
        own_row = 3 * wanted[i] if wanted[i] >= 0 else -1
        for place in range(n_among):
            pair = among[place]
            j = neighbours[pair]
            columns = pair_kinds[z, kinds[j]] * n_p
            for axis in range(3):
                lane = 3 * place + axis
                row = 3 * wanted[j] + axis if wanted[j] >= 0 else -1
                row_of[lane] = row
                half = 0.5 * vectors[pair, axis] / distances[pair]
                for other in range(3):
                    away[lane, 3 * other + axis] = vectors[pair, other]
                for n in range(n_p):
                    rise = half * pairs.pair_slopes[pair, n]
                    if row >= 0:
                        gradient[columns + n, row] += rise
                    if own_row >= 0:
                        gradient[columns + n, own_row + axis] -= rise
                    for other in range(3):
                        strain[columns + n, 3 * other + axis] += vectors[pair, other] * rise
        for lm in range(n_lm):
            degree = degree_of[lm]
            for place in range(n_among):
                pair = among[place]
                y, inverse = harmonics[pair, lm], 1.0 / distances[pair]
                for axis in range(3):
                    along, across = vectors[pair, axis] * inverse * y, tilts[pair, axis, lm]
                    for n in range(n_max):
                        raw[n, 3 * place + axis] = (
                            along * slopes[pair, degree * n_max + n]
                            + across * radial[pair, degree * n_max + n]
                        )
            low = 0
            while low < n_lanes:  # neighbours come in the order of their species
                s = kinds[neighbours[among[low // 3]]]
                high = low + 3
                while high < n_lanes and kinds[neighbours[among[high // 3]]] == s:
                    high += 3
                for n in range(n_max):
                    for q in range(n_channels):
                        u = channels[degree, s, n, q]
                        if u != 0.0:
                            for lane in range(low, high):
                                moved[lm, q, lane] += u * raw[n, lane]
                low = high
        for f in range(n_f):
            q1, q2 = features[f, 2], features[f, 3]
            for lm in range(features[f, 0], features[f, 1]):
                c1, c2 = channel[lm, q1], channel[lm, q2]
                for lane in range(n_lanes):
                    rises[f, lane] += c2 * moved[lm, q1, lane] + c1 * moved[lm, q2, lane]
        _scatter(rises, n_f, linear, row_of, own_row, gradient)
        add_rows(np.dot(rises, away), linear, strain)
        if n_t:
            product_rises = np.dot(by_component, np.dot(components, rises))
            _scatter(product_rises, n_t, product, row_of, own_row, gradient)
            add_rows(np.dot(product_rises, away), product, strain)
