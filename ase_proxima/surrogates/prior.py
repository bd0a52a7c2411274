"""Any calculator or function as the mean of any surrogate, which then learns the difference to the target alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ase_proxima.errors import InputError
from ase_proxima.protocols import Surrogate
from ase_proxima.surrogates.features import continues
from ase_proxima.surrogates.wrapper import Wrapper
from ase_proxima.types import Frame, Prediction, Results
from ase_proxima.types.identity import fingerprint

__all__ = ["PriorMean", "WithPrior"]

PriorMean = Callable[[Any], Results]
"""`prior(x) -> results`, in the units of the target's; it raises, or returns what is not finite, where it fails."""

FILE, INNER = "prior.json", "surrogate"
FORMAT = 1


class WithPrior(Wrapper):
    """Answers prior + S, where the surrogate S learns what the target gives beyond the prior.

    The prior's values at the frames are kept with the model, so that a resumed run asks for none of them again and goes
    on bit for bit. Where the prior fails the prediction is NaN, which no controller trusts, and such a frame is
    not learnt from. The standard deviations are those of S: the prior is taken as exact.

    Parameters
    ----------
    surrogate : Surrogate
        What learns the difference.
    prior : callable
        `prior(x) -> results`, with at least the energy (or `value`), and everything else that the surrogate is to
        predict. It must depend on `x` alone, not on earlier calls.
        Asked for a prediction, it is not asked again when that input becomes a frame.

    References
    ----------
    Ramakrishnan, Dral, Rupp and von Lilienfeld, J. Chem. Theory Comput. 11, 2087 (2015),
    doi:10.1021/acs.jctc.5b00099: learning the difference between two levels of theory.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> from ase_proxima.surrogates.sklearn import SklearnSurrogate
    >>> inner = SklearnSurrogate(LinearRegression(), min_frames=2)
    >>> model = WithPrior(inner, lambda x: {"value": float(x[0] ** 2)})
    >>> model.fit([Frame(np.array([x]), {"value": x**2 + 3 * x}, i) for i, x in enumerate((0.0, 1.0, 2.0))])
    >>> round(model.predict(np.array([5.0])).results["value"], 6)
    40.0
    """

    def __init__(self, surrogate: Surrogate, prior: PriorMean) -> None:
        super().__init__(surrogate)
        self.prior = prior
        self._forget()

    def _forget(self) -> None:
        self._frames: list[Frame] = []
        self._means: list[Results | None] = []
        self._differences: list[Frame] = []
        self._latest: tuple[str, Results | None] = ("", None)

    def fit(self, frames: Sequence[Frame]) -> None:
        """Learn the differences at the frames that it has not seen, or start afresh on an unrelated list."""
        if not continues(self._frames, frames):
            latest = self._latest
            self._forget()
            self._latest = latest
        self._take(frames, [self._mean(frame.x) for frame in frames[len(self._frames) :]])
        if len(self._differences) >= max(self.min_frames, 1):
            self.surrogate.fit(self._differences)

    def _take(self, frames: Sequence[Frame], means: Sequence[Results | None]) -> None:
        """Add the frames beyond those known, with the prior's values there."""
        for frame, mean in zip(frames[len(self._frames) :], means, strict=True):
            self._frames.append(frame)
            self._means.append(mean)
            if mean is not None:
                results = {
                    name: _minus(value, mean[name]) for name, value in frame.results.items() if name in mean
                }
                self._differences.append(Frame(frame.x, results, frame.step))

    def _mean(self, x: Any) -> Results | None:
        """Values of the prior at `x`; None where it fails."""
        identity = fingerprint(x)
        if self._latest[0] != identity:
            self._latest = identity, self._ask(x)
        return self._latest[1]

    def _ask(self, x: Any) -> Results | None:
        try:
            results = self.prior(x)
        except (InputError, NotImplementedError):
            raise
        except Exception:
            return None
        finite = all(np.isfinite(np.asarray(value, float)).all() for value in results.values())
        return results if finite else None

    def predict(self, x: Any) -> Prediction:
        """Prior and surrogate added up; NaN where the prior failed, or has failed on every frame so far."""
        mean = self._mean(x)
        if mean is None or (self._frames and len(self._differences) < max(self.min_frames, 1)):
            known = self._frames[0].results if mean is None else mean
            return Prediction({name: _nan_like(name, value, x) for name, value in known.items()})
        learnt = self.surrogate.predict(x)
        results = {name: _plus(mean[name], value) for name, value in learnt.results.items() if name in mean}
        std = {name: value for name, value in learnt.std.items() if name in results}
        return Prediction(results, std)

    def save(self, folder: Path) -> None:
        """Write the prior's values at the frames, and the surrogate in a folder of its own."""
        values = [
            None if mean is None else {k: np.asarray(v).tolist() for k, v in mean.items()}
            for mean in self._means
        ]
        (folder / FILE).write_text(json.dumps({"format": FORMAT, "values": values}))
        (folder / INNER).mkdir()
        if self._differences:
            self.surrogate.save(folder / INNER)

    def load(self, folder: Path, frames: Sequence[Frame]) -> None:
        """Restore what `save` wrote, without a call of the prior.

        Raises
        ------
        InputError
            If the folder was written without a prior, or to other frames.
        """
        path = folder / FILE
        try:
            state: Mapping[str, Any] = json.loads(path.read_text())
            values = [None if mean is None else _arrays(mean) for mean in state["values"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path} does not hold the values of a prior ({error}): retrain the model"
            ) from error
        if state["format"] != FORMAT or len(values) != len(frames):
            raise InputError(
                f"{path} holds {len(values)} values of a prior in format {state['format']}, expected {len(frames)} "
                f"in format {FORMAT}: pass the same frames, or retrain the model"
            )
        self._forget()
        self._take(frames, values)
        if self._differences:
            self.surrogate.load(folder / INNER, self._differences)


def _plus(a: Any, b: Any) -> Any:
    total = np.asarray(a, float) + b
    return total if total.ndim else float(total)


def _minus(a: Any, b: Any) -> Any:
    return _plus(a, -np.asarray(b, float))


def _arrays(mean: Mapping[str, Any]) -> Results:
    return {k: np.asarray(v, float) if isinstance(v, list) else float(v) for k, v in mean.items()}


def _nan_like(name: str, value: Any, x: Any) -> Any:
    if name == "forces":
        return np.full((len(x), 3), np.nan)
    return np.full(np.shape(value), np.nan) if np.ndim(value) else float("nan")
