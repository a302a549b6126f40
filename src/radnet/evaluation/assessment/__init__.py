"""Families of metrics, each judged from a sample of a prediction table's rows."""
