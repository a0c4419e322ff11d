"""From a model trained with distillation to a plain MMPose model."""

from .config import plain_config
from .own_types import StudentWarning, training_hooks
from .student import Exported, ExportError, export_student

__all__ = [
    'ExportError',
    'Exported',
    'StudentWarning',
    'export_student',
    'plain_config',
    'training_hooks',
]
