"""Modules that need an extra are collected for their examples where it is installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("torch") else ["gpu_xarch/models/network.py"]
