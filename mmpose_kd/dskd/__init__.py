"""DSKD: a student that is guided by its own earlier selves."""

from .hook import DSKDHook
from .losses import HeatmapClassificationLoss
from .recipe import RECIPE

__all__ = ['RECIPE', 'DSKDHook', 'HeatmapClassificationLoss']
