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


def resize_for(decoder) -> str:
    """How maps of a model with this codec are brought to another size, see ``resize``."""
    return 'corners' if isinstance(decoder, UDPHeatmap) else 'origin'


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
            for step in pipeline:
                if type_name(step) == 'PackPoseInputs':
                    step['type'] = 'PackPoseViews'
                if type_name(step) == 'PackPoseViews':
                    found.add('PackPoseInputs')
            inner = [s['transforms'] for s in pipeline if type_name(s) == 'FixedAugmentations']
            if any(step.get('name', VIEW) == VIEW for step in _views(pipeline, *inner)):
                found.add('TopdownAffine')
                continue
            for steps in (pipeline, *inner):
                names = [type_name(step) for step in steps]
                if 'TopdownAffine' in names:
                    steps.insert(names.index('TopdownAffine'), copy.deepcopy(view))
                    found.add('TopdownAffine')
                    break
        for name in ('TopdownAffine', 'PackPoseInputs'):
            if part['train_dataloader'] and name not in found:
                raise ValueError(
                    f'{key}.dataset.pipeline: there is no {name} in it to give the teacher a view '
                    'of its own'
                )


def _views(*pipelines: list) -> list:
    """The steps that make a view."""
    return [step for steps in pipelines for step in steps if type_name(step) == 'TeacherView']
