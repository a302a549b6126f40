"""The radiomics engine: features equal to pyradiomics 3.0.1, from compiled kernels over a lesion's voxels."""
