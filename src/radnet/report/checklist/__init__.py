"""Reporting checklists answered from what an evaluation's folder holds."""
