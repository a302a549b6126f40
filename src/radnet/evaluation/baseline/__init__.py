"""Tables of who was studied, their tests, and the faults of printed ones."""
