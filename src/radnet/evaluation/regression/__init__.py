"""Logistic and Cox models, tables of their ratios, and nomograms."""
