"""Simulations that use the calculator."""
