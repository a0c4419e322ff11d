"""Targets of two representations in one pass."""

from .cross_representation_label import CrossRepresentationLabel
from .grid import pixel_size

__all__ = ['CrossRepresentationLabel', 'pixel_size']
