"""OKDHP: branches of one network teach each other through their ensemble."""

from .fau import FAU
from .head import OKDHPHead
from .recipe import RECIPE
from .statistics import BranchStatisticsHook
from .trunk import SharedTrunk

__all__ = ['FAU', 'RECIPE', 'BranchStatisticsHook', 'OKDHPHead', 'SharedTrunk']
