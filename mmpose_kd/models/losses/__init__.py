"""Distillation losses: pure functions with a thin module each."""

from .binarize import binarize, denoise
from .cross_representation import CrossCoordinateLoss, CrossHeatmapLoss
from .cross_simcc import CrossSimCCLoss
from .dense_guidance import coordinate_smooth_l1, dense_guidance, weighted_mse
from .feature_mse import FeatureMSELoss, feature_mse
from .heatmap_classification import (
    HeatmapClassificationLoss,
    heatmap_bce,
    heatmap_cross_entropy,
)
from .heatmap_kl import HeatmapKLLoss, heatmap_kl
from .heatmap_reading import decode_heatmaps
from .hhd import HHDLoss
from .joints_mse import JointsMSELoss, joints_mse
from .simcc_kl import SimCCKLLoss, simcc_kl

__all__ = [
    'CrossCoordinateLoss',
    'CrossHeatmapLoss',
    'CrossSimCCLoss',
    'FeatureMSELoss',
    'HHDLoss',
    'HeatmapClassificationLoss',
    'HeatmapKLLoss',
    'JointsMSELoss',
    'SimCCKLLoss',
    'binarize',
    'coordinate_smooth_l1',
    'decode_heatmaps',
    'denoise',
    'dense_guidance',
    'feature_mse',
    'heatmap_bce',
    'heatmap_cross_entropy',
    'heatmap_kl',
    'joints_mse',
    'simcc_kl',
    'weighted_mse',
]
