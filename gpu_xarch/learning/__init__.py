"""Training, honest scores, predictions and their intervals."""
