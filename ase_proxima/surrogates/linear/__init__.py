"""The Bayesian linear model on descriptors of atoms."""
