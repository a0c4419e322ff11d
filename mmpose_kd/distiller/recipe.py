"""What recipes with a teacher have in common."""

from __future__ import annotations

import copy
from typing import Optional

from mmpose.codecs import UDPHeatmap

from ..core.checks import refusal
from ..core.recipe import training_pipelines, type_name

VIEW = 'teacher'


def checked_teacher(teacher) -> dict:
    """Arguments of :class:`Teacher`, as a command gives them.

    Raises:
        ValueError: They are none.
    """
    if not isinstance(teacher, dict) or 'config' not in teacher:
        raise refusal('teacher', teacher, 'give dict(config=..., checkpoint=...)')
    return teacher


def needs_view(teacher: dict, decoder, size: Optional[tuple[int, int]]) -> bool:
    """Whether a teacher has to be given crops of its own.

    Args:
        teacher: Arguments of :class:`Teacher`.
        decoder: The codec of its head.
        size: Width and height of the student's input, None if not known.

    Raises:
        ValueError: Its input has another shape, so that crops cannot show the same.
    """
    own = getattr(decoder, 'input_size', None)
    if own is None or size is None:
        return False
    if own[0] * size[1] != own[1] * size[0]:
        raise ValueError(
            f'teacher.config: its input is {own[0]} x {own[1]}, that of the student '
            f'{size[0]} x {size[1]}: give a teacher whose input has that shape'
        )
    return 'view' not in teacher and tuple(own) != tuple(size)


def add_views(cfg: dict, decoder) -> None:
    """A second crop for the teacher in all pipelines of training and validation, in place.

    Args:
        cfg: A whole config.
        decoder: The codec of the teacher's head.

    Raises:
        ValueError: There is no pipeline that crops and packs.
    """
    udp = isinstance(decoder, UDPHeatmap)
    view = dict(type='TeacherView', name=VIEW, input_size=tuple(decoder.input_size), use_udp=udp)
    validation = {'train_dataloader': cfg.get('val_dataloader')}
    for key, part in (('train_dataloader', cfg), ('val_dataloader', validation)):
        found = set()
        for pipeline in training_pipelines(part):
            names = [type_name(step) for step in pipeline]
            found.update(names)
            if 'PackPoseInputs' in names:
                pipeline[names.index('PackPoseInputs')]['type'] = 'PackPoseViews'
            if 'TopdownAffine' in names and 'TeacherView' not in names:
                pipeline.insert(names.index('TopdownAffine'), copy.deepcopy(view))
        for name in ('TopdownAffine', 'PackPoseInputs'):
            if part['train_dataloader'] and name not in found:
                raise ValueError(
                    f'{key}.dataset.pipeline: there is no {name} in it to give the teacher a view '
                    'of its own'
                )
