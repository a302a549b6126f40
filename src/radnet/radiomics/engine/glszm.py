"""Grey level size zone matrix: zones of one grey level (IBSI 9SAK)."""

from radnet.radiomics.engine.size_matrix import STATISTICS, SizeMatrix, statistics

_STATISTIC_OF = {
    "SmallAreaEmphasis": "small",  # IBSI 5QRC
    "LargeAreaEmphasis": "large",  # 48P8
    "GrayLevelNonUniformity": "level_nonuniformity",  # JNSA
    "GrayLevelNonUniformityNormalized": "level_nonuniformity_normalized",  # Y1RO
    "SizeZoneNonUniformity": "size_nonuniformity",  # 4JP3
    "SizeZoneNonUniformityNormalized": "size_nonuniformity_normalized",  # VB3A
    "ZonePercentage": "percentage",  # P30P
    "GrayLevelVariance": "level_variance",  # BYLV
    "ZoneVariance": "size_variance",  # 3NSA
    "ZoneEntropy": "entropy",  # GU8N
    "LowGrayLevelZoneEmphasis": "low",  # XMSY
    "HighGrayLevelZoneEmphasis": "high",  # 5GN9
    "SmallAreaLowGrayLevelEmphasis": "small_low",  # 5RAI
    "SmallAreaHighGrayLevelEmphasis": "small_high",  # HW1V
    "LargeAreaLowGrayLevelEmphasis": "large_low",  # YH51
    "LargeAreaHighGrayLevelEmphasis": "large_high",  # J17V
}


def glszm(zones: SizeMatrix) -> dict[str, float]:
    """Return the 16 features of pyradiomics' class of this name.

    Args:
        zones: Zones by level and by size in voxels, one direction, as ``sweep`` counts them.
    """
    found = dict(zip(STATISTICS, statistics(zones)[0].tolist(), strict=True))
    return {feature: found[statistic] for feature, statistic in _STATISTIC_OF.items()}
