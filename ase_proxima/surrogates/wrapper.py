"""What a surrogate round another one passes on unchanged."""

from __future__ import annotations

from typing import Any

from ase_proxima.protocols import Surrogate

__all__ = ["Wrapper"]


class Wrapper:
    """Tells of itself what the surrogate inside tells, beyond the protocol too.

    Parameters
    ----------
    surrogate : Surrogate
    """

    def __init__(self, surrogate: Surrogate) -> None:
        self.surrogate = surrogate

    @property
    def incremental(self) -> bool:
        """Whether the surrogate learns in place."""
        return self.surrogate.incremental

    @property
    def min_frames(self) -> int:
        """Number of frames from which the surrogate can be fitted."""
        return self.surrogate.min_frames

    @property
    def properties(self) -> tuple[str, ...]:
        """What the surrogate predicts."""
        return self.surrogate.properties

    def __getattr__(self, name: str) -> Any:
        """Give what the surrogate tells of itself beyond the protocol, such as whether it knows deviations."""
        if name.startswith("_") or name == "surrogate":  # also while a copy is being made
            raise AttributeError(name)
        return getattr(self.surrogate, name)
