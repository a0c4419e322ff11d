"""PKD: a student's features that vary as the teacher's do."""

from .loss import PearsonFeatureLoss, pearson_distance
from .recipe import RECIPE

__all__ = ['RECIPE', 'PearsonFeatureLoss', 'pearson_distance']
