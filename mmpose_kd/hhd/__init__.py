"""HHD: a heatmap teacher for a soft-argmax student."""

from .integral_head import UnbiasedIntegralHead
from .loss import HHDLoss
from .recipe import RECIPE

__all__ = ['RECIPE', 'HHDLoss', 'UnbiasedIntegralHead']
