"""Heads, distillers, losses and the modules they are made of."""

from .backbones import SharedTrunk
from .distillers import PoseDistiller
from .heads import OCDHead, OKDHPHead, UnbiasedIntegralHead
from .losses import (
    CrossCoordinateLoss,
    CrossHeatmapLoss,
    CrossSimCCLoss,
    FeatureMSELoss,
    HeatmapClassificationLoss,
    HeatmapKLLoss,
    HHDLoss,
    JointsMSELoss,
    SimCCKLLoss,
)
from .modules import FAU

__all__ = [
    'FAU',
    'CrossCoordinateLoss',
    'CrossHeatmapLoss',
    'CrossSimCCLoss',
    'FeatureMSELoss',
    'HHDLoss',
    'HeatmapClassificationLoss',
    'HeatmapKLLoss',
    'JointsMSELoss',
    'OCDHead',
    'OKDHPHead',
    'PoseDistiller',
    'SharedTrunk',
    'SimCCKLLoss',
    'UnbiasedIntegralHead',
]
