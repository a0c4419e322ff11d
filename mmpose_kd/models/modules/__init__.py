"""Building blocks that exist only in training."""

from .fau import FAU, weighted_ensemble

__all__ = ['FAU', 'weighted_ensemble']
