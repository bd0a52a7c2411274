"""Tables of runs and of pairs: what a run is, on disk."""
