"""``mmpose-kd inspect``: pictures of what a trained model's parts say."""

from .command import draw_sheets

__all__ = ['draw_sheets']
