"""Hooks for MMEngine's runner."""

from .branch_metrics_hook import BranchMetricsHook
from .branch_statistics_hook import BranchStatisticsHook
from .teacher_cache_hook import TeacherCacheHook
from .teacher_metrics_hook import TeacherMetricsHook

__all__ = ['BranchMetricsHook', 'BranchStatisticsHook', 'TeacherCacheHook', 'TeacherMetricsHook']
