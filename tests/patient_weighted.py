"""Scikit-learn's elastic-net logistic regression of lesions in which each patient weighs one."""

import numpy as np
from sklearn.linear_model import LogisticRegression


def fit_patient_weighted(X, y, groups, penalty, l1_ratio):
    """Mean loss per patient + λ · (α · Σ|b| + (1 - α) / 2 · Σb²), λ the penalty and α the ratio, as glmnet has it."""
    _, patient, lesions = np.unique(groups, return_inverse=True, return_counts=True)
    model = LogisticRegression(
        C=1.0 / (penalty * lesions.size),
        l1_ratio=l1_ratio,
        solver="newton-cholesky" if l1_ratio == 0 else "saga",
        tol=1e-8,
        max_iter=100_000,
        random_state=0,
    )
    return model.fit(X, y, sample_weight=1.0 / lesions[patient])
