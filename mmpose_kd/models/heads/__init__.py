"""Heads: online distillation, and what MMPose lacks for students."""

from .okdhp_head import OKDHPHead
from .unbiased_integral_head import UnbiasedIntegralHead

__all__ = ['OKDHPHead', 'UnbiasedIntegralHead']
