"""What to profile next, and what a model needs."""
