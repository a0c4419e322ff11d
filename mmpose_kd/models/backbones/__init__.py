"""Backbones cut in two."""

from .shared_trunk import SharedTrunk, TrunkFeatures
from .splits import backbone_steps

__all__ = ['SharedTrunk', 'TrunkFeatures', 'backbone_steps']
