"""How alike readers, or repeats, measure."""
