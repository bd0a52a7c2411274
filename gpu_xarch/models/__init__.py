"""Models that predict a metric on another GPU."""
