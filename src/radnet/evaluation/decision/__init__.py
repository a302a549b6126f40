"""What acting on probabilities is worth."""
