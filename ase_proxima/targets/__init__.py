"""Targets: the expensive functions, by name."""
