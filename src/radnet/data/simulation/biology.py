"""Molecular columns of a simulated cohort: some correlate with the texture latent, most with nothing."""

import numpy as np
import pandas as pd
from scipy.special import ndtri

from radnet.data.simulation.draws import patient_uniforms

GENES = (
    *("CD274", "CTLA4", "IDO1", "SIGLEC9", "PDCD1", "PDCD1LG2"),
    *("LAG3", "HAVCR2", "CD8A", "GZMA", "GZMB", "PRF1"),
)
CELL_FRACTIONS = (
    *("cell_CD8_T", "cell_cytotoxic", "cell_exhausted", "cell_NK", "cell_Th1", "cell_DC"),
    *("cell_CD4_T", "cell_CD4_naive", "cell_CD8_naive", "cell_Tr1", "cell_nTreg", "cell_iTreg"),
    *("cell_Th2", "cell_Th17", "cell_Tfh", "cell_central_memory", "cell_effector_memory", "cell_NKT"),
    *("cell_MAIT", "cell_gamma_delta", "cell_B", "cell_monocyte", "cell_macrophage", "cell_neutrophil"),
)
PLANTED_BIOLOGY = (*GENES, *CELL_FRACTIONS[:6])
BIOLOGY = (
    *GENES,
    *CELL_FRACTIONS,
    *(f"null_gene_{i:02d}" for i in range(1, 61)),
    *(f"tile_{i:02d}" for i in range(1, 86)),
)
BIOLOGY_CORRELATION = 0.5


def draw_biology(seed: int, patients: pd.DataFrame, texture_sd: float) -> pd.DataFrame:
    """Return standardised molecular columns, one row per patient; the planted ones correlate with the texture latent.

    Args:
        seed: Of the cohort.
        patients: With ``number``, ``patient_id`` and the texture latent ``t``.
        texture_sd: SD of the texture latent over all patients that could be drawn.
    """
    noise = patient_uniforms(seed, "biology", patients["number"].to_numpy(), BIOLOGY)
    columns = {}
    for name in BIOLOGY:
        r = BIOLOGY_CORRELATION if name in PLANTED_BIOLOGY else 0.0
        columns[name] = r * patients["t"] / texture_sd + np.sqrt(1 - r**2) * ndtri(noise[name])
    return pd.DataFrame({"patient_id": patients["patient_id"], **columns}).round(dict.fromkeys(BIOLOGY, 4))
