"""Cohorts from a folder or from the simulator, and how they are split."""
