"""Hooks for MMEngine's runner."""

from .branch_metrics_hook import BranchMetricsHook
from .branch_statistics_hook import BranchStatisticsHook

__all__ = ['BranchMetricsHook', 'BranchStatisticsHook']
