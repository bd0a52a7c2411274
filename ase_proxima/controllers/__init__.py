"""Controllers: the pure rules by which the threshold moves."""
