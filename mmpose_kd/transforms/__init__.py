"""Steps of a data pipeline."""

from .fixed_augmentations import FixedAugmentations
from .teacher_view import PackPoseViews, TeacherView

__all__ = ['FixedAugmentations', 'PackPoseViews', 'TeacherView']
