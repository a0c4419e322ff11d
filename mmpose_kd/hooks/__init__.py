"""Hooks for MMEngine's runner."""

from .branch_metrics_hook import BranchMetricsHook

__all__ = ['BranchMetricsHook']
