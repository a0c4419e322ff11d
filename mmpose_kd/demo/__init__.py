"""``mmpose-kd demo``: plain against distilled in a few minutes, on drawn people or own data.

A front on :mod:`mmpose_kd.gain`, which trains, exports and tests: :mod:`.run` says which runs,
:mod:`.students` of which models, :mod:`.data` on what; :mod:`.report`, :mod:`.pictures` and
:mod:`.curves` show what came out. :mod:`.drawn_people` draws the data.
"""

from .drawn_people import draw_dataset

__all__ = ['draw_dataset']
