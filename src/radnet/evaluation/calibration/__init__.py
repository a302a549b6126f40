"""Whether probabilities mean what they say."""
