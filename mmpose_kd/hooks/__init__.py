"""Hooks for MMEngine's runner."""

from .branch_metrics_hook import BranchMetricsHook
from .branch_statistics_hook import BranchStatisticsHook
from .dskd_hook import DSKDHook
from .exact_resume_hook import ExactResumeHook
from .teacher_cache_hook import TeacherCacheHook
from .teacher_metrics_hook import TeacherMetricsHook

__all__ = [
    'BranchMetricsHook',
    'BranchStatisticsHook',
    'DSKDHook',
    'ExactResumeHook',
    'TeacherCacheHook',
    'TeacherMetricsHook',
]
