"""Distillation losses: pure functions with a thin module each."""

from .heatmap_kl import HeatmapKLLoss, heatmap_kl
from .joints_mse import JointsMSELoss, joints_mse

__all__ = ['HeatmapKLLoss', 'JointsMSELoss', 'heatmap_kl', 'joints_mse']
