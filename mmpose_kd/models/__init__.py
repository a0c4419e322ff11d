"""Heads, distillers, losses and the modules they are made of."""

from .backbones import SharedTrunk
from .heads import OKDHPHead
from .losses import HeatmapKLLoss, JointsMSELoss
from .modules import FAU

__all__ = ['FAU', 'HeatmapKLLoss', 'JointsMSELoss', 'OKDHPHead', 'SharedTrunk']
