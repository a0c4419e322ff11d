"""Online distillation: heads that teach themselves during training."""

from .okdhp_head import OKDHPHead

__all__ = ['OKDHPHead']
