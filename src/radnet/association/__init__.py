"""Imaging and biology: how a score, or features of images, go along with what a laboratory measured in a patient."""
