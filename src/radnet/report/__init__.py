"""Figures and the report page, made from the tables an evaluation wrote."""
