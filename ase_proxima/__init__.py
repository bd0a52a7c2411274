"""Error-bounded machine-learned surrogates for ASE calculators and for functions."""
