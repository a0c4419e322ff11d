"""What cannot be a guide, or be guided: told before the training."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ..heads.head_output import HEADS, head_kind, names_of, num_keypoints
from .guide_plan import MODES
from .teacher import Teacher


def given_models(guides, teachers: Sequence[dict], key: str) -> list[tuple]:
    """The models that guide from the start, each with the config key that names it.

    Args:
        guides, teachers: Settings of :class:`DSKDHook`.
        key: Name of the config key that holds both, for messages.

    Raises:
        ValueError: One of them is not what it has to be.
    """
    known = guides in MODES if isinstance(guides, str) else isinstance(guides, Sequence)
    if not known or (not isinstance(guides, str) and not guides):
        raise ValueError(f'{key}.guides={guides!r}: give one of {MODES}, or a list of models')
    if not isinstance(teachers, Sequence) or not all(isinstance(t, dict) for t in teachers):
        raise ValueError(f'{key}.teachers={teachers!r}: give a list of dicts')
    listed = [] if isinstance(guides, str) else guides
    return [(entry, f'{key}.teachers[{i}]') for i, entry in enumerate(teachers)] + [
        (entry, f'{key}.guides[{i}]') for i, entry in enumerate(listed)
    ]


def known_kind(head: nn.Module, key: str) -> str:
    """:func:`head_kind` of a head that guides or is guided.

    Args:
        head: The head that is deployed.
        key: Name of the config key that asks, for messages.

    Raises:
        ValueError: It is not known what the head puts out.
    """
    kind = head_kind(head)
    if kind is None:
        raise ValueError(
            f'{key} does not know what model.head.type={type(head).__name__} puts out: give one '
            f'of {names_of(*HEADS)} (with heatmaps, not offsets), or let the head have an '
            f'attribute output_kind, one of {list(HEADS)}'
        )
    return kind


def check_fit(teacher: Teacher, kind: str, student: nn.Module) -> None:
    """Refuse a model whose output cannot be compared with the student's.

    Args:
        teacher: The model.
        kind: What the student's head puts out, see :func:`head_kind`.
        student: The student's head.

    Raises:
        ValueError: Heads, keypoints or sizes do not fit.
    """
    head = getattr(teacher.model, 'head', None)
    other = known_kind(head, teacher.key)
    if other != kind:
        raise ValueError(
            f'{teacher.key}: its head puts out {other}, the student {kind}; give a guide of the '
            'same kind, or use PoseDistiller'
        )
    mapped = teacher.keypoints
    if mapped is not None and bool((mapped < 0).any()):
        raise ValueError(
            f'{teacher.key}.keypoints has -1: a guide has to know all keypoints of the student; '
            'use PoseDistiller'
        )
    count = num_keypoints(head) if mapped is None else len(mapped)
    own = num_keypoints(student)
    if None not in (own, count) and own != count:
        raise ValueError(
            f'{teacher.key} has {count} keypoints, the student {own}: give '
            f"{teacher.key}.keypoints, for each keypoint of the student the teacher's number of it"
        )
    for name in ('heatmap_size', 'simcc_split_ratio'):
        sizes = [_of_codec(one, name) for one in (head, student)]
        if kind != 'coordinates' and None not in sizes and sizes[0] != sizes[1]:
            raise ValueError(
                f'{teacher.key} has {name}={sizes[0]} in its codec, the student {sizes[1]}: a '
                'guide speaks in the same maps; give another one, or use PoseDistiller with resize'
            )


def _of_codec(head: nn.Module, name: str):
    value = getattr(getattr(head, 'decoder', None), name, None)
    return tuple(value) if isinstance(value, (list, tuple)) else value
