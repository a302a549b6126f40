"""Batches of patients and the one Lightning module that learns from them."""
