"""Distillation losses: pure functions with a thin module each."""

from .cross_representation import CrossCoordinateLoss, CrossHeatmapLoss
from .cross_simcc import CrossSimCCLoss
from .feature_mse import FeatureMSELoss, feature_mse
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
    'HeatmapKLLoss',
    'JointsMSELoss',
    'SimCCKLLoss',
    'decode_heatmaps',
    'feature_mse',
    'heatmap_kl',
    'joints_mse',
    'simcc_kl',
]
