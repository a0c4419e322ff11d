"""Building blocks that exist only in training."""

from .fau import FAU, weighted_ensemble
from .gradient_balance import GradientBalance

__all__ = ['FAU', 'GradientBalance', 'weighted_ensemble']
