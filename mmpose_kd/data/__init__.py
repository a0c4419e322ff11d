"""Demo data: pictures of drawn people with COCO keypoints."""

from .drawn_people import draw_dataset

__all__ = ['draw_dataset']
