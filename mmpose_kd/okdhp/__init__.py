"""OKDHP: branches of one network teach each other through their ensemble."""

from .fau import FAU
from .head import OKDHPHead
from .pixel_shuffle_head import PixelShuffleHead
from .recipe import RECIPE
from .stacked_hourglass import StackedHourglass
from .statistics import BranchStatisticsHook
from .trunk import SharedTrunk

__all__ = [
    'FAU',
    'RECIPE',
    'BranchStatisticsHook',
    'OKDHPHead',
    'PixelShuffleHead',
    'SharedTrunk',
    'StackedHourglass',
]
