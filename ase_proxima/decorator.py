"""`proxima`: the error-bounded surrogate round any function of numbers."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Generic, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from ase_proxima.assembly import Parts, assemble_for_function
from ase_proxima.errors import InputError
from ase_proxima.executor import Executor
from ase_proxima.executor.options import Options
from ase_proxima.protocols import Controller, ErrorMetric, Surrogate, TrainingPolicy, Uncertainty
from ase_proxima.runs.memory_store import MemoryStore
from ase_proxima.types import Decision, Frame, Results, Stats

__all__ = ["ProximaFunction", "proxima"]

P = ParamSpec("P")
R = TypeVar("R")


def proxima(
    *,
    error_bound: float,
    error_metric: str | ErrorMetric = "value",
    bound_over: str = "trusted",
    surrogate: Any = None,
    uncertainty: str | Uncertainty = "auto",
    controller: str | Controller = "risk",
    training: str | int | TrainingPolicy = "lazy",
    audit_rate: float = 0.02,
    seed: int = 0,
    when_not_worthwhile: str = "warn",
) -> Callable[[Callable[P, R]], ProximaFunction[P, R]]:
    """Replace most calls of an expensive function by a surrogate that learns from the others.

    Parameters
    ----------
    error_bound : float
        What the mean error may be, in the unit of the function's value.
    error_metric : "value" or callable
        `"value"` is the largest absolute difference between the numbers that target and surrogate return;
        a callable gets both as `{"value": ...}` and returns the error.
    bound_over : {"trusted", "all"}
        Whether the mean is over the calls that the surrogate answered, or over all, those of the target
        counting as zero.
    surrogate : scikit-learn regressor or pipeline, or Surrogate
        By default a Gaussian process on standardised inputs, with a length scale each.
    uncertainty : {"auto", "distance", "posterior"} or Uncertainty
        `"distance"` to the nearest input on which the function ran; `"posterior"`, the regressor's own standard
        deviation; `"auto"`, the latter where there is one.
    training : "lazy", "never", int or TrainingPolicy
        As in `ProximaCalculator`, but a surrogate that is fitted afresh each time waits with `"lazy"` until the
        values have grown by a fifth.
    controller, audit_rate, seed, when_not_worthwhile
        As in `ProximaCalculator`.

    Returns
    -------
    callable
        A decorator that gives a `ProximaFunction`.

    Raises
    ------
    InputError
        If an argument is wrong: what it was, and what to do.

    Examples
    --------
    >>> @proxima(error_bound=0.01)
    ... def slow(x: float) -> float:
    ...     return x * x
    >>> slow(3.0)
    9.0
    >>> slow.last_decision
    <Decision.TARGET: 'target'>
    """

    def decorate(function: Callable[P, R]) -> ProximaFunction[P, R]:
        if not callable(function):
            raise InputError(f"proxima wraps a function, got {type(function).__name__}")
        if isinstance(error_bound, Mapping):
            raise InputError("error_bound of a function must be one number, got a mapping")
        options, parts = assemble_for_function(
            error_bound=error_bound,
            error_metric=error_metric,
            bound_over=bound_over,
            surrogate=surrogate,
            uncertainty=uncertainty,
            controller=controller,
            training=training,
            audit_rate=audit_rate,
            seed=seed,
            when_not_worthwhile=when_not_worthwhile,
        )
        return ProximaFunction(function, options, parts)

    return decorate


class ProximaFunction(Generic[P, R]):
    """A function that a surrogate answers for where it may; made by `proxima`.

    Scalars come back as `float`, arrays as arrays of floats.  A call while another one runs, in another thread, is
    refused.

    Attributes
    ----------
    target
        The function itself.
    """

    def __init__(self, function: Callable[P, R], options: Options, parts: Parts) -> None:
        functools.update_wrapper(self, function)
        self.target = function
        self._name = getattr(function, "__name__", type(function).__name__)
        self._signature = inspect.signature(function)
        self._shapes: dict[str, tuple[int, ...]] | None = None
        self._shape: tuple[int, ...] | None = None
        self._asked: dict[bytes, inspect.BoundArguments] = {}
        self._store = MemoryStore()
        self._executor = Executor(
            self._run_target,
            parts.surrogate,
            parts.criteria,
            parts.training,
            store=self._store,
            seed=options.seed,
            when_not_worthwhile=options.when_not_worthwhile,
        )

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Value of the function, or of its surrogate.

        Raises
        ------
        InputError
            If the arguments are not finite numbers, or of another shape than before; if the function
            returns what is no number, or is not implemented for them.
        TypeError
            If the arguments are not those of the function.
        TargetError
            If the function fails, retry included.
        """
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self._name}(): {error}") from None
        bound.apply_defaults()
        x = self._flatten(bound)
        with self._executor.guard.call():
            self._asked = {x.tobytes(): bound}
            value = self._executor(x)["value"]
        return value.copy() if isinstance(value, np.ndarray) else value  # type: ignore[return-value]

    def __get__(self, instance: Any, owner: type) -> ProximaFunction[P, R]:
        if instance is None:
            return self
        raise InputError(
            f"proxima cannot wrap the method {owner.__name__}.{self._name}, since instances would share one "
            f"surrogate: wrap it on each instance, self.{self._name} = proxima(...)(self.{self._name}), or use "
            "a staticmethod"
        )

    def _flatten(self, bound: inspect.BoundArguments) -> NDArray[np.float64]:
        """One row of all numbers, in the order of the signature."""
        arguments: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            if self._signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                arguments.update(sorted(value.items()))
            else:
                arguments[name] = value
        arrays = {name: self._numbers(name, value) for name, value in arguments.items()}
        shapes = {name: array.shape for name, array in arrays.items()}
        if self._shapes is None:
            if not sum(array.size for array in arrays.values()):
                raise InputError(f"{self._name} was called without a number: there is nothing to learn from")
            self._shapes = shapes
        if shapes != self._shapes:
            raise InputError(
                f"{self._name} was first called with arguments of shapes {self._shapes}, got {shapes}: "
                "wrap the function once for each"
            )
        return np.concatenate([array.ravel() for array in arrays.values()])

    def _numbers(self, name: str, value: Any) -> NDArray[np.float64]:
        try:
            array = np.asarray(value)
            numbers = (
                array.astype(float, casting="same_kind") if array.dtype.kind in "fc" else array.astype(float)
            )
        except (TypeError, ValueError) as error:
            raise InputError(
                f"argument {name!r} of {self._name} must be numbers, got {value!r}: keep other arguments out of "
                "the wrapped function, with functools.partial"
            ) from error
        if array.dtype.kind not in "fiub" or not np.isfinite(numbers).all():
            raise InputError(f"argument {name!r} of {self._name} must be finite numbers, got {value!r}")
        return numbers

    def _run_target(self, x: NDArray[np.float64]) -> Results:
        bound = self._asked[x.tobytes()]  # the arguments as they came
        try:
            returned = self.target(*bound.args, **bound.kwargs)
        except NotImplementedError as error:
            raise InputError(f"{self._name} is not implemented for these arguments: {error}") from error
        try:
            if returned is None:
                raise TypeError("nothing came back")
            value = np.array(returned, float)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{self._name} must return a number or an array of numbers, got {returned!r}"
            ) from error
        if self._shape is not None and value.shape != self._shape:
            raise InputError(f"{self._name} returned shape {self._shape} before, now {value.shape}")
        self._shape = value.shape
        return {"value": value if value.ndim else float(value)}

    @property
    def last_decision(self) -> Decision | None:
        """Who answered the latest call; None before the first."""
        return self._executor.last_decision

    @property
    def stats(self) -> Stats:
        """Where the calls and the time went, and the error estimates so far."""
        return self._executor.stats

    @property
    def frames(self) -> tuple[Frame, ...]:
        """Inputs on which the function ran, as rows of numbers, with its values."""
        return tuple(self._store.frames)

    @property
    def surrogate(self) -> Surrogate:
        """The surrogate in use."""
        return self._executor.surrogate
