"""Uncertainties: cheap numbers that rank the surrogate's error."""
