"""Grey level dependence matrix: voxels by how many neighbours are alike (IBSI NGLDM, REK0)."""

from radnet.radiomics.engine.size_matrix import STATISTICS, SizeMatrix, statistics

_STATISTIC_OF = {
    "SmallDependenceEmphasis": "small",  # IBSI SODN
    "LargeDependenceEmphasis": "large",  # IMOQ
    "GrayLevelNonUniformity": "level_nonuniformity",  # FP8K
    "DependenceNonUniformity": "size_nonuniformity",  # Z87G
    "DependenceNonUniformityNormalized": "size_nonuniformity_normalized",  # OKJI
    "GrayLevelVariance": "level_variance",  # 1PFV
    "DependenceVariance": "size_variance",  # DNX2
    "DependenceEntropy": "entropy",  # FCBV
    "LowGrayLevelEmphasis": "low",  # TL9H
    "HighGrayLevelEmphasis": "high",  # OAE7
    "SmallDependenceLowGrayLevelEmphasis": "small_low",  # EQ3F
    "SmallDependenceHighGrayLevelEmphasis": "small_high",  # JA6D
    "LargeDependenceLowGrayLevelEmphasis": "large_low",  # NBZI
    "LargeDependenceHighGrayLevelEmphasis": "large_high",  # 9QMG
}


def gldm(dependences: SizeMatrix) -> dict[str, float]:
    """Return the 14 features of pyradiomics' class of this name.

    Args:
        dependences: Voxels by level and by dependence (1 + neighbours alike), one direction, as ``sweep`` counts them.
    """
    found = dict(zip(STATISTICS, statistics(dependences)[0].tolist(), strict=True))
    return {feature: found[statistic] for feature, statistic in _STATISTIC_OF.items()}
