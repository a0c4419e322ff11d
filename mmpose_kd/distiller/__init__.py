"""Teacher to student: a model that trains a stock student beside frozen stock teachers."""

from .cache_hook import TeacherCacheHook
from .distillation import Distillation
from .entry import DISTILL_ENTRIES, DistillBatch, Entry
from .fixed_augmentations import FixedAugmentations
from .metrics_hook import TeacherMetricsHook
from .pose_distiller import PoseDistiller
from .teacher import Teacher
from .teacher_view import PackPoseViews, TeacherView

__all__ = [
    'DISTILL_ENTRIES',
    'DistillBatch',
    'Distillation',
    'Entry',
    'FixedAugmentations',
    'PackPoseViews',
    'PoseDistiller',
    'Teacher',
    'TeacherCacheHook',
    'TeacherMetricsHook',
    'TeacherView',
]
