"""The guides of a student: frozen models, in order, that a resumed run finds again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional, Union

from mmengine.dist import broadcast, get_world_size
from mmengine.logging import print_log
from torch import Tensor, nn

from ..core.checkpoints import CheckpointError, read_checkpoint, write_checkpoint
from ..core.checks import built, checked_dicts, is_list, refusal
from ..core.head_output import heatmap_grid, read_output
from ..core.weights import state_of
from ..distiller.precision import constant
from ..distiller.teacher import Teacher
from .plan import MODES
from .student import known_kind


@dataclass
class Guide:
    """A frozen model.

    Attributes:
        name: ``'epoch_3'``, or ``'guide0'`` for one that was given.
        teacher: The model.
        file: Name of the file that keeps it; None for one that was given, and keeps itself.
        folder: Where that file lies; None until it is written.
        state: Of one with a file its weights on the host, as they were frozen: the model itself
            may run in half precision.
        fingerprint: SHA-256 of its weights.
    """

    name: str
    teacher: Teacher
    file: Optional[str] = None
    folder: Optional[Path] = None
    state: Optional[dict[str, Tensor]] = field(default=None, repr=False)
    fingerprint: str = field(init=False)

    def __post_init__(self):
        self.fingerprint = self.teacher.digest()


class GuideBank:
    """Guides from the oldest to the newest, the given ones first.

    Args:
        config: Config of the student as it is deployed, a stock model.
        kind: What its head puts out, see :func:`head_kind`.
        largest: How many frozen copies of the student are kept.
        key: Name of the config key, for messages.
        dtype: In which the models of this config run, see :class:`Teacher`.

    Attributes:
        guides: The guides.
    """

    def __init__(
        self, config: dict, kind: str, largest: int, key: str, dtype: Optional[str] = 'auto'
    ):
        self.config, self.kind, self.largest, self.key = config, kind, largest, key
        self.dtype = dtype
        self.guides: list[Guide] = []

    def __len__(self) -> int:
        return len(self.guides)

    def to(self, device) -> None:
        """Move all guides."""
        for guide in self.guides:
            guide.teacher.model.to(device)

    # ------------------------------------------------------------------ how they come

    def give(self, number: int, entry: Union[str, dict], student: nn.Module, key: str) -> None:
        """Add a model that was trained before.

        Args:
            number: The guide's.
            entry: A checkpoint of the student's architecture, or arguments of :class:`Teacher`.
            student: The student's head.
            key: Name of the config key, for messages.

        Raises:
            ValueError: It cannot be read, or does not fit the student.
        """
        if not isinstance(entry, dict):
            entry = dict(config=self.config, checkpoint=entry, dtype=self.dtype)
        teacher = built(Teacher, entry, key)
        check_fit(teacher, self.kind, student)
        teacher.load()
        self.guides.append(Guide(f'guide{number}', teacher))

    def compare_keypoints(self, dataset_meta) -> None:
        """Compare those that were given with the data set, see :class:`Teacher`.

        Raises:
            ValueError: One was trained for other keypoints, or in another order.
        """
        for guide in self.guides:
            guide.teacher.compare_keypoints(dataset_meta)

    def freeze(self, name: str, state: dict[str, Tensor]) -> None:
        """Add a copy of the student; of more than ``largest`` the oldest goes.

        Args:
            name: ``'epoch_3'``.
            state: Weights of the student as it is deployed. Every process takes those of the
                first: running statistics may differ between processes.
        """
        state = {key: value.detach().clone() for key, value in state.items()}
        if get_world_size() > 1:
            for value in state.values():
                broadcast(value)
        copy = self._copy(state, f'{self.key} ({name})')
        state = {key: value.cpu() for key, value in state.items()}
        self.guides.append(Guide(name, copy, f'dskd_{name}.pth', state=state))
        self._forget_oldest()

    def check_copy(self, state: dict[str, Tensor]) -> None:
        """See to it that the student can be frozen later.

        Args:
            state: Weights of the student as it is deployed.

        Raises:
            ValueError: They do not fit the model that its config gives.
        """
        try:
            self._copy(state, self.key)
        except RuntimeError as error:
            raise ValueError(
                f'{self.key}: the config of the model does not give the model in training, so '
                f'that no copies of it can be made: {error}'
            ) from error

    def _copy(self, state: dict[str, Tensor], key: str) -> Teacher:
        """A copy of the student with other weights."""
        copy = Teacher(self.config, None, dtype=self.dtype, key=key)
        copy.load_weights(state, 'lower the learning rate, or go on from an earlier checkpoint')
        return copy

    def _forget_oldest(self) -> None:
        for guide in [guide for guide in self.guides if guide.file][: -self.largest]:
            self.guides.remove(guide)

    # ------------------------------------------------------------------ what they say

    def outputs(
        self, guides: Sequence[Guide], inputs: Tensor, samples: list, preprocessor: nn.Module
    ) -> list[list[Tensor]]:
        """For each guide what it puts out for a batch, see :func:`read_output`.

        They are constants in float32, for the student's keypoints.

        Args:
            guides: Some of ``self.guides``.
            inputs: The student's images (B, 3, h, w), normalised.
            samples: Their samples.
            preprocessor: The student's data preprocessor.
        """
        found = []
        for guide in guides:
            teacher = guide.teacher
            # copies of the student see what it sees
            images = inputs if guide.file else teacher.own_images(inputs, samples, preprocessor)
            returned = teacher.forward_head(images)
            output = read_output(self.kind, returned)
            teacher.look_at([f'head[{i}]' for i in range(len(output))], output)
            teacher.compare_with_labels(returned, samples)
            found.append([teacher.pick_keypoints(constant(x)) for x in output])
        return found

    def numbered(self, guides: Sequence[Guide], statistics: Sequence[dict]) -> dict:
        """Names for the log, ``'dskd/kept_guide0'``, of statistics of some of the guides."""
        numbers = [self.guides.index(guide) for guide in guides]
        return {
            f'dskd/{name}_guide{number}': value
            for number, one in zip(numbers, statistics)
            for name, value in one.items()
        }

    # ------------------------------------------------------------------ on disk

    def write(self, folder: Path) -> list[dict]:
        """Write the guides that are not there yet, each whole; returns the bank's state."""
        for guide in self.guides:
            if guide.file and guide.folder != folder:
                write_checkpoint({'state_dict': guide.state, 'meta': {}}, folder / guide.file)
                guide.folder = folder
        return [dict(name=g.name, file=g.file, sha256=g.fingerprint) for g in self.guides]

    def read(self, saved: list[dict], find: Callable[[str], Path]) -> None:
        """Take the frozen copies of a state back, and compare the given ones with it.

        Args:
            saved: From :meth:`write`.
            find: From the name of a file to its path.

        Raises:
            ValueError: A guide is missing or is another one.
        """
        given = {guide.name: guide for guide in self.guides}
        names = [entry['name'] for entry in saved if not entry['file']]
        if names != list(given):
            raise ValueError(
                f'{self.key}: the run that is resumed had {names or "no"} given guides, the '
                f'config has {list(given) or "none"}: leave guides and teachers as they were'
            )
        for entry in saved:
            if entry['file']:
                guide = self._read_copy(entry['name'], find(entry['file']))
                self.guides.append(guide)
            else:
                guide = given[entry['name']]
            if guide.fingerprint != entry['sha256']:
                raise ValueError(
                    f'{guide.teacher.key} is not the guide that the checkpoint was trained with: '
                    'its weights are others. Give the files of that run, or begin a new one'
                )
        self._forget_oldest()

    def _read_copy(self, name: str, path: Path) -> Guide:
        key = f'{self.key}: {path}'
        try:
            state = state_of(read_checkpoint(path), path)
            copy = self._copy(state, key)
        except (CheckpointError, OSError, RuntimeError) as error:
            raise ValueError(
                f'{key} is needed to resume and cannot be used: {error}; put the files '
                'dskd_*.pth of the run beside its checkpoint'
            ) from error
        return Guide(name, copy, path.name, path.parent, state)

    def warn_of_others(self, planned: Sequence[str]) -> None:
        """Warn where other copies were frozen than the settings of now would have frozen.

        Args:
            planned: Names of those that would have been frozen by now.
        """
        found = ', '.join(guide.name for guide in self.guides if guide.file) or 'none'
        wanted = ', '.join(planned[-self.largest :]) or 'none'
        if found != wanted:
            print_log(
                f'{self.key}: the run that is resumed has these guides: {found}; with the '
                f'settings of now it would have been {wanted}; it goes on with those it has',
                'current',
                logging.WARNING,
            )


def given_models(guides, teachers: Sequence[dict], key: str) -> list[tuple]:
    """The models that guide from the start, each with the config key that names it.

    Args:
        guides, teachers: Settings of :class:`DSKDHook`.
        key: Name of the config key that holds both, for messages.

    Raises:
        ValueError: One of them is not what it has to be.
    """
    if guides is None or guides in MODES:
        guides = []
    elif not is_list(guides) or not guides:
        names = ', '.join(repr(mode) for mode in MODES)
        raise refusal(f'{key}.guides', guides, f'give one of {names}, or a list of models')
    for i, entry in enumerate(guides):
        if not isinstance(entry, (str, dict)) or not entry:
            give = 'give a checkpoint, or dict(config=..., checkpoint=...)'
            raise refusal(f'{key}.guides[{i}]', entry, give)
        if entry in guides[:i]:
            raise refusal(f'{key}.guides[{i}]', entry, 'it stands there twice, give it once')
    checked_dicts(teachers, f'{key}.teachers')
    return [(entry, f'{key}.teachers[{i}]') for i, entry in enumerate(teachers)] + [
        (entry, f'{key}.guides[{i}]') for i, entry in enumerate(guides)
    ]


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
    teacher.check_keypoint_count(student)
    grids = [heatmap_grid(one) for one in (head, student)]
    if kind == 'heatmap' and None not in grids and grids[0] != grids[1]:
        raise ValueError(
            f'{teacher.key}: its codec puts pixel i of W at {grids[0]} of the picture, the one '
            f'of the student at {grids[1]}: a guide speaks in the same maps; give another one'
        )
    compared = {
        'heatmap': ('heatmap_size',),
        'bins': ('simcc_split_ratio', 'input_size'),
        'coordinates': (),
    }
    for name in compared[kind]:
        sizes = [_of_codec(one, name) for one in (head, student)]
        if None not in sizes and sizes[0] != sizes[1]:
            what, way = {
                'heatmap': ('maps', ', or use PoseDistiller with resize'),
                'bins': ('bins', ''),
            }[kind]
            raise ValueError(
                f'{teacher.key} has {name}={sizes[0]} in its codec, the student {sizes[1]}: a '
                f'guide speaks in the same {what}; give another one{way}'
            )


def _of_codec(head: nn.Module, name: str):
    value = getattr(getattr(head, 'decoder', None), name, None)
    return tuple(value) if isinstance(value, (list, tuple)) else value
