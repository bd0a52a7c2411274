"""Surrogates: models that learn the target while the simulation runs."""
