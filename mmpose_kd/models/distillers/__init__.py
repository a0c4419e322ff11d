"""Teacher to student: models that train a stock student beside frozen stock teachers."""

from .pose_distiller import PoseDistiller

__all__ = ['PoseDistiller']
