"""Values that cannot be: what a metric's definition and the device allow."""

from __future__ import annotations

from functools import lru_cache

from gpu_xarch.metrics import registry
from gpu_xarch.specs import GpuSpec, gpus

__all__ = ["OF_DEVICE", "device_limits", "limits", "peak_limits"]

#: metrics whose limit depends on the device
OF_DEVICE = ("ipc", "issued_ipc", "eligible_warps_per_cycle")
_CAPABILITY = "CC "
_SLACK = 1.02  # nvprof prints 100.4 % for a busy unit now and then
_BANDWIDTH = ("dram_read_throughput", "dram_write_throughput", "dram_throughput")


def limits(name: str) -> tuple[str, float]:
    """Return why a value of a registered metric above the limit cannot be, and the limit; infinite for none.

    Examples
    --------
    >>> limits("sm_efficiency"), limits("shared_efficiency"), limits("inst_executed")
    (('above 1, all that its definition allows', 1.02), ('above 4, all that its definition allows', 4.08), ('', inf))
    """
    metric = registry().get(name)
    if metric is None or metric.most == float("inf"):
        return "", float("inf")
    return f"above {metric.most:g}, all that its definition allows", metric.most * _SLACK


def device_limits(device: str) -> dict[str, tuple[str, float]]:
    """Return by metric why a value above the limit cannot be on a device, and the limit; empty for a device unknown.

    Examples
    --------
    >>> device_limits("P100")["ipc"]
    ('above the issue width of the multiprocessor, 4', 4.0)
    """
    spec = gpus().get(device)
    if spec is None and device.startswith(_CAPABILITY):
        # what is known of the device is its compute capability: the multiprocessor is that of any GPU of it
        alike = (one for one in gpus().values() if one.compute_capability == device[len(_CAPABILITY) :])
        spec = next(alike, None)
    return _of_spec(spec) if spec is not None else {}


@lru_cache(maxsize=1024)
def _of_spec(spec: GpuSpec) -> dict[str, tuple[str, float]]:
    width = (f"above the issue width of the multiprocessor, {spec.issue_width}", float(spec.issue_width))
    warps = (f"above the {spec.warps} warps that a multiprocessor holds", float(spec.warps))
    return {"ipc": width, "issued_ipc": width, "eligible_warps_per_cycle": warps}


def peak_limits(spec: GpuSpec) -> dict[str, tuple[str, float]]:
    """Return the same for peaks of the data sheet, which a board of another make may exceed."""
    return dict.fromkeys(_BANDWIDTH, ("above the peak bandwidth of the device", spec.bandwidth * _SLACK))
