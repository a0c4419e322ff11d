"""Hooks of no single method."""

from .branch_metrics_hook import BranchMetricsHook
from .exact_resume_hook import ExactResumeHook

__all__ = ['BranchMetricsHook', 'ExactResumeHook']
