"""The demo, and the drawn people that it is shown on."""

from .drawn_people import draw_dataset

__all__ = ['draw_dataset']
