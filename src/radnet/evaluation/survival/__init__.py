"""Time to event: curves, tests, hazard ratios, concordance, and what is told at a horizon."""
