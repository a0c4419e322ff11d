"""OCD and TCD: heatmaps of another head, or of a teacher, teach coordinates or bins."""

from .codec import CrossRepresentationLabel
from .entry import ThroughTeacherHead
from .head import OCDHead
from .losses import CrossCoordinateLoss, CrossHeatmapLoss
from .recipe import OCD, TCD
from .simcc_loss import CrossSimCCLoss

__all__ = [
    'OCD',
    'TCD',
    'CrossCoordinateLoss',
    'CrossHeatmapLoss',
    'CrossRepresentationLabel',
    'CrossSimCCLoss',
    'OCDHead',
    'ThroughTeacherHead',
]
