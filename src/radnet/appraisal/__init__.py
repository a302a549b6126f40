"""What a run says of itself beside its predictions: optimism, learning curve, importance, a paper's tables."""
