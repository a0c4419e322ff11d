"""Distillation losses of no single method: pure functions with a thin module each."""

from .feature_mse import FeatureMSELoss, feature_mse
from .heatmap_kl import HeatmapKLLoss, heatmap_kl
from .joints_mse import JointsMSELoss, joints_mse
from .simcc_kl import SimCCKLLoss, simcc_kl

__all__ = [
    'FeatureMSELoss',
    'HeatmapKLLoss',
    'JointsMSELoss',
    'SimCCKLLoss',
    'feature_mse',
    'heatmap_kl',
    'joints_mse',
    'simcc_kl',
]
