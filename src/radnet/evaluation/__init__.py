"""What a prediction table is worth: pure functions of arrays, each with its reference."""
