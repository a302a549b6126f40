"""radnet: from lesions, masks and a clinical table to a signature that holds up at another hospital."""

__version__ = "0.1.0"
