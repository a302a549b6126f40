"""Interactive panels of the figures, for Plotly: the same as on paper, from the same numbers."""
