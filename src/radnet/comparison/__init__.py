"""Models side by side: each with every rule that pools lesions, on the same folds and held-out patients."""
