"""Heads: online distillation, and what MMPose lacks for students."""

from .ocd_head import OCDHead
from .okdhp_head import OKDHPHead
from .unbiased_integral_head import UnbiasedIntegralHead

__all__ = ['OCDHead', 'OKDHPHead', 'UnbiasedIntegralHead']
