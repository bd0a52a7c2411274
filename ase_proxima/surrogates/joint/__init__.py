"""Gaussian process on features of the atoms' surroundings and on inverse distances together."""
