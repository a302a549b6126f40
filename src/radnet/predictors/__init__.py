"""Predictors: what learns from one cohort and scores every patient of another."""
