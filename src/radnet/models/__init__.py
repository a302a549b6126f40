"""Networks, pooling over lesions and estimators: mathematics without a cohort."""
