"""The guides of a student: frozen models, in order, that a resumed run finds again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

from mmengine.dist import broadcast, get_world_size
from mmengine.logging import print_log
from torch import Tensor, nn

from ...checkpoints import CheckpointError, read_checkpoint, write_checkpoint
from ..heads.head_output import read_output
from .guide_checks import check_fit
from .teacher import Teacher


@dataclass
class Guide:
    """A frozen model.

    Attributes:
        name: ``'epoch_3'``, or ``'guide0'`` for one that was given.
        teacher: The model.
        sha256: Of its weights.
        file: Name of the file that keeps it; None for one that was given, and keeps itself.
        folder: Where that file lies; None until it is written.
    """

    name: str
    teacher: Teacher
    sha256: str
    file: Optional[str] = None
    folder: Optional[Path] = None


class GuideBank:
    """Guides from the oldest to the newest, the given ones first.

    Args:
        config: Config of the student as it is deployed, a stock model.
        kind: What its head puts out, see :func:`head_kind`.
        largest: How many frozen copies of the student are kept.
        key: Name of the config key, for messages.
    """

    def __init__(self, config: dict, kind: str, largest: int, key: str):
        self.config, self.kind, self.largest, self.key = config, kind, largest, key
        self.guides: list[Guide] = []

    def __len__(self) -> int:
        return len(self.guides)

    def to(self, device) -> None:
        """Move all guides."""
        for guide in self.guides:
            guide.teacher.model.to(device)

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
        settings = (
            dict(entry) if isinstance(entry, dict) else dict(config=self.config, checkpoint=entry)
        )
        try:
            teacher = Teacher(**settings, key=key)
        except TypeError as error:
            raise ValueError(f'{key}: {error}') from error
        check_fit(teacher, self.kind, student)
        teacher.load()
        self.guides.append(Guide(f'guide{number}', teacher, teacher.digest()))

    def check_copy(self, state: dict[str, Tensor]) -> None:
        """See to it that the student can be frozen later.

        Args:
            state: Weights of the student as it is deployed.

        Raises:
            ValueError: They do not fit the model that its config gives.
        """
        try:
            Teacher(self.config, None, key=self.key).take(state)
        except RuntimeError as error:
            raise ValueError(
                f'{self.key}: the config of the model does not give the model in training, so '
                f'that no copies of it can be made: {error}'
            ) from error

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
        teacher = Teacher(self.config, None, key=f'{self.key} ({name})')
        teacher.take(state)
        self.guides.append(Guide(name, teacher, teacher.digest(), f'dskd_{name}.pth'))
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        for guide in [guide for guide in self.guides if guide.file][: -self.largest]:
            self.guides.remove(guide)

    def outputs(self, guide: Guide, inputs: Tensor, samples: list, preprocessor) -> list[Tensor]:
        """What a guide says about a batch, see :func:`read_output`; constants in float32.

        Args:
            guide: One of ``guides``.
            inputs: The student's images (B, 3, h, w), normalised.
            samples: Their samples.
            preprocessor: The student's data preprocessor.
        """
        teacher = guide.teacher
        if not guide.file:  # copies of the student see what it sees
            inputs = teacher.images(inputs, samples, preprocessor)
        returned = teacher.returned(inputs)
        said = [x.detach().float() for x in read_output(self.kind, returned)]
        return [teacher.pick_keypoints(x) for x in said]

    def compare(self, planned: Sequence[str]) -> None:
        """Tell it where other copies of the student were frozen than the settings ask for.

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

    def numbered(self, guides: Sequence[Guide], told: Sequence[dict]) -> dict:
        """Names for the log, ``'dskd/kept_guide0'``, of what is told of some of the guides."""
        numbers = [self.guides.index(guide) for guide in guides]
        return {
            f'dskd/{name}_guide{number}': value
            for number, one in zip(numbers, told)
            for name, value in one.items()
        }

    # ---------------------------------------------------------------- on disk

    def write(self, folder: Path) -> list[dict]:
        """Write the guides that are not there yet, each whole; returns the bank's state."""
        for guide in self.guides:
            if guide.file and guide.folder != folder:
                state = {k: v.cpu() for k, v in guide.teacher.model.state_dict().items()}
                write_checkpoint({'state_dict': state, 'meta': {}}, folder / guide.file)
                guide.folder = folder
        return [dict(name=g.name, file=g.file, sha256=g.sha256) for g in self.guides]

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
            if not entry['file']:
                guide, told = given[entry['name']], f'{self.key}: {entry["name"]}'
            else:
                path = find(entry['file'])
                told = f'{self.key}: {path}'
                teacher = Teacher(self.config, None, key=told)
                try:
                    teacher.take(read_checkpoint(path)['state_dict'])
                except (CheckpointError, OSError, RuntimeError, KeyError) as error:
                    raise ValueError(
                        f'{told} is needed to resume and cannot be used: {error}; put the files '
                        'dskd_*.pth of the run beside its checkpoint'
                    ) from error
                guide = Guide(entry['name'], teacher, teacher.digest(), entry['file'], path.parent)
                self.guides.append(guide)
            if guide.sha256 != entry['sha256']:
                raise ValueError(
                    f'{told} is not the guide that the checkpoint was trained with: its weights '
                    'are others. Give the files of that run, or begin a new one'
                )
        self._forget_oldest()
