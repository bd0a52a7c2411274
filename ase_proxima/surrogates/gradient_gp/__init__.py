"""Gaussian process on energy and forces of one molecule."""
