"""Hooks of no single method."""

from .accuracy_interval_hook import AccuracyIntervalHook
from .branch_metrics_hook import BranchMetricsHook
from .distillation_visualization_hook import DistillationVisualizationHook
from .exact_resume_hook import ExactResumeHook

__all__ = [
    'AccuracyIntervalHook',
    'BranchMetricsHook',
    'DistillationVisualizationHook',
    'ExactResumeHook',
]
