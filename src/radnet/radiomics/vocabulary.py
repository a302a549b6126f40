"""The words extraction settings are written in: what they may choose from, and the features of each class."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Literal, get_args

Boundary = Literal["mirror", "nearest", "zero", "periodic"]
Definitions = Literal["pyradiomics", "ibsi"]
Interpolator = Literal["bspline", "linear", "nearest"]
ResegmentMode = Literal["absolute", "relative", "sigma"]
WeightingNorm = Literal["manhattan", "euclidean", "infinity", "no_weighting"]

BOUNDARIES = get_args(Boundary)
DEFINITIONS = get_args(Definitions)
INTERPOLATORS = get_args(Interpolator)
RESEGMENT_MODES = get_args(ResegmentMode)
WEIGHTING_NORMS = get_args(WeightingNorm)

REGIONS = ("lesion", "ring", "inner", "outer")
"""``ring`` = ``inner`` (of the lesion, along its border) and ``outer`` (of the tissue around it) together."""
POINTWISE = ("square", "squareroot", "logarithm", "exponential")

FEATURES = {
    "shape": """Elongation Flatness LeastAxisLength MajorAxisLength Maximum2DDiameterColumn Maximum2DDiameterRow
        Maximum2DDiameterSlice Maximum3DDiameter MeshVolume MinorAxisLength Sphericity SurfaceArea SurfaceVolumeRatio
        VoxelVolume""",
    "firstorder": """10Percentile 90Percentile Energy Entropy InterquartileRange Kurtosis Maximum MeanAbsoluteDeviation
        Mean Median Minimum Range RobustMeanAbsoluteDeviation RootMeanSquared Skewness TotalEnergy Uniformity
        Variance""",
    "glcm": """Autocorrelation ClusterProminence ClusterShade ClusterTendency Contrast Correlation DifferenceAverage
        DifferenceEntropy DifferenceVariance Id Idm Idmn Idn Imc1 Imc2 InverseVariance JointAverage JointEnergy
        JointEntropy MCC MaximumProbability SumAverage SumEntropy SumSquares""",
    "gldm": """DependenceEntropy DependenceNonUniformity DependenceNonUniformityNormalized DependenceVariance
        GrayLevelNonUniformity GrayLevelVariance HighGrayLevelEmphasis LargeDependenceEmphasis
        LargeDependenceHighGrayLevelEmphasis LargeDependenceLowGrayLevelEmphasis LowGrayLevelEmphasis
        SmallDependenceEmphasis SmallDependenceHighGrayLevelEmphasis SmallDependenceLowGrayLevelEmphasis""",
    "glrlm": """GrayLevelNonUniformity GrayLevelNonUniformityNormalized GrayLevelVariance HighGrayLevelRunEmphasis
        LongRunEmphasis LongRunHighGrayLevelEmphasis LongRunLowGrayLevelEmphasis LowGrayLevelRunEmphasis RunEntropy
        RunLengthNonUniformity RunLengthNonUniformityNormalized RunPercentage RunVariance ShortRunEmphasis
        ShortRunHighGrayLevelEmphasis ShortRunLowGrayLevelEmphasis""",
    "glszm": """GrayLevelNonUniformity GrayLevelNonUniformityNormalized GrayLevelVariance HighGrayLevelZoneEmphasis
        LargeAreaEmphasis LargeAreaHighGrayLevelEmphasis LargeAreaLowGrayLevelEmphasis LowGrayLevelZoneEmphasis
        SizeZoneNonUniformity SizeZoneNonUniformityNormalized SmallAreaEmphasis SmallAreaHighGrayLevelEmphasis
        SmallAreaLowGrayLevelEmphasis ZoneEntropy ZonePercentage ZoneVariance""",
    "ngtdm": "Busyness Coarseness Complexity Contrast Strength",
}
"""Features of each class, under pyradiomics' names and in its order."""
CLASSES = tuple(FEATURES)


def nearest_word(word: str, known: Sequence[str]) -> str:
    """Return the end of a sentence on a word that is not known: the nearest one that is, or all of them."""
    close = get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"it takes {', '.join(known)}"
