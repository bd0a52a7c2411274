"""How far predictions are off, and how sure that number is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["bootstrap", "confusion", "harmonic_mean", "score"]


def score(y: Floats, predicted: Floats, *, classifies: bool = False) -> dict[str, float]:
    """Return the scores of predictions.

    Relative errors are over the rows whose true value is above zero; "n_zero" counts the others.

    Parameters
    ----------
    y, predicted : ndarray, shape (n_rows,)
        True and predicted values.
    classifies : bool
        The values are labels: accuracy, false positive and false negative rates instead.

    Examples
    --------
    >>> import numpy as np
    >>> found = score(np.array([1.0, 2.0, 4.0]), np.array([1.1, 2.0, 3.0]))
    >>> round(found["mape"], 4), round(found["median_ape"], 2), round(found["mae"], 4)
    (0.1167, 0.1, 0.3667)
    """
    import numpy as np

    if classifies:
        table = confusion(y, predicted)
        positive, negative = table["tp"] + table["fn"], table["tn"] + table["fp"]
        return {
            "n": float(len(y)),
            "accuracy": (table["tp"] + table["tn"]) / max(len(y), 1),
            "false_positive_rate": table["fp"] / negative if negative else float("nan"),
            "false_negative_rate": table["fn"] / positive if positive else float("nan"),
        }
    error = np.abs(predicted - y)
    above = y > 0
    relative = error[above] / y[above]
    total = float(((y - y.mean()) ** 2).sum()) if len(y) else 0.0
    return {
        "n": float(len(y)),
        "n_zero": float((~above).sum()),
        "mape": float(relative.mean()) if len(relative) else float("nan"),
        "median_ape": float(np.median(relative)) if len(relative) else float("nan"),
        "mae": float(error.mean()) if len(y) else float("nan"),
        "mse": float((error**2).mean()) if len(y) else float("nan"),
        "r2": 1.0 - float((error**2).sum()) / total if total > 0 else float("nan"),
    }


def confusion(y: Floats, predicted: Floats) -> dict[str, int]:
    """Count true and false positives and negatives of labels 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> confusion(np.array([1.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0]))
    {'tp': 1, 'fn': 1, 'fp': 0, 'tn': 1}
    """
    truth, said = y > 0.5, predicted > 0.5
    return {
        "tp": int((truth & said).sum()),
        "fn": int((truth & ~said).sum()),
        "fp": int((~truth & said).sum()),
        "tn": int((~truth & ~said).sum()),
    }


def harmonic_mean(values: Sequence[float]) -> float:
    """Return the harmonic mean of errors; zero as soon as one is zero, gaps left out.

    Examples
    --------
    >>> harmonic_mean([0.1, 0.4])
    0.16
    """
    kept = [value for value in values if value == value]
    if not kept:
        return float("nan")
    if min(kept) <= 0:
        return 0.0
    return len(kept) / sum(1.0 / value for value in kept)


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], float],
    groups: Sequence[str],
    *,
    n: int = 1000,
    level: float = 0.9,
    seed: int = 0,
) -> tuple[float, float]:
    """Return a percentile interval of a statistic, groups drawn with replacement (Efron and Tibshirani 1993).

    Rows of one application are alike, so whole applications are drawn, not rows.

    Parameters
    ----------
    statistic : callable
        Takes row numbers, returns the value.
    groups : sequence of str, length n_rows
    n, level, seed :
        Draws, coverage of the interval, seed.

    Examples
    --------
    >>> low, high = bootstrap(lambda rows: float(rows.mean()), ["a", "b", "c", "d"], n=200)
    >>> 0 <= low < 1.5 < high <= 3
    True
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    names, inverse = np.unique(np.asarray(groups), return_inverse=True)
    members = [np.flatnonzero(inverse == i) for i in range(len(names))]
    values = []
    for _ in range(n):
        drawn = rng.integers(0, len(names), len(names))
        values.append(statistic(np.concatenate([members[i] for i in drawn])))
    tail = 0.5 - 0.5 * level
    low, high = np.nanquantile(values, [tail, 1.0 - tail])
    return float(low), float(high)
