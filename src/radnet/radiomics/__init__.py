"""Handcrafted features of a lesion, under pyradiomics' names."""
