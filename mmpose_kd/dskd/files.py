"""Where the guides' files lie beside a run's checkpoints, and for how long they are needed."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Optional

from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner, find_latest_checkpoint
from torch import Tensor


class GuideFiles:
    """Knows which guide's file belongs to which checkpoint.

    Each checkpoint is known by its step, the number in its name, and holds what was known when
    it was written: :meth:`state`.
    """

    def __init__(self):
        self._needed: dict[str, list[str]] = {}  # names of files by step

    def folder(self, runner: Runner) -> Path:
        """Of the checkpoints; if that is a server, the run's own."""
        hook = _checkpoint_hook(runner)
        beside = None if _on_server(hook) else getattr(hook, 'out_dir', None)
        return Path(beside or runner.work_dir)

    def note(self, runner: Runner, meta: dict, files: Sequence[str]) -> None:
        """Note what the checkpoint needs that is about to be written, remove what none needs.

        Args:
            runner: The run.
            meta: The checkpoint's.
            files: Names of its guides' files, which are there already.
        """
        hook = _checkpoint_hook(runner)
        template = getattr(hook, 'filename_tmpl', 'epoch_{}.pth')
        step = str(meta['epoch' if getattr(hook, 'by_epoch', True) else 'iter'])
        self._needed[step] = list(files)
        if _on_server(hook):
            return  # which checkpoints are left is not known here
        folder = self.folder(runner)
        names = [p.name for p in folder.glob('*') if not p.name.startswith('dskd_')]
        for old in set(self._needed) - {step}:
            if any(name.endswith(template.format(old)) for name in names):
                continue
            for file in self._needed.pop(old):
                if not any(file in needed for needed in self._needed.values()):
                    (folder / file).unlink(missing_ok=True)

    def state(self, runner: Runner) -> dict:
        """What a checkpoint has to hold."""
        return dict(references=copy.deepcopy(self._needed), folder=str(self.folder(runner)))

    def resume(self, runner: Runner, state: dict) -> Callable[[str], Path]:
        """Go on from the state of a checkpoint.

        Returns:
            From the name of a file to its path: beside the checkpoint, in this run's folder, or
            in that of the run that wrote it.

        Raises:
            ValueError: The checkpoint names a file that cannot be a guide's; also from the
                function that is returned.
        """
        for files in state['references'].values():
            for file in files:
                _check_name(file)
        self._needed = state['references']
        resumed = runner._load_from or find_latest_checkpoint(runner.work_dir)
        beside = [Path(resumed).parent] if resumed else []
        folders = [*beside, Path(runner.work_dir), Path(state['folder'])]

        def find(file: str) -> Path:
            _check_name(file)
            paths = [folder / file for folder in folders]
            return next((path for path in paths if path.is_file()), paths[0])

        return find


def checked_state(state, key: str) -> dict:
    """What a checkpoint holds of this method, if it is whole; {} if it holds nothing.

    Raises:
        ValueError: It holds something else.
    """
    if state is None or state == {}:
        return {}
    kinds = dict(
        guides=list, guides_from=str, references=dict, folder=str, draws=Tensor, redraw_seed=int
    )
    wrong = [n for n, kind in kinds.items() if not isinstance(_get(state, n), kind)]
    if not wrong:
        texts = dict(name=str, file=(str, type(None)), sha256=str)
        guides = [
            isinstance(_get(g, n), kind) for g in state['guides'] for n, kind in texts.items()
        ]
        lists = [isinstance(files, list) for files in state['references'].values()]
        steps = [isinstance(step, str) for step in state['references']]
        wrong = [
            *([] if all(guides) else ['guides']),
            *([] if all(lists + steps) else ['references']),
        ]
    if wrong:
        raise ValueError(
            f'{key}: the checkpoint that is resumed has a state without {", ".join(wrong)}: give '
            'another checkpoint, or begin a new run (resume=False)'
        )
    return state


def _get(holder, name: str):
    return holder.get(name) if isinstance(holder, dict) else None


def _checkpoint_hook(runner: Runner) -> Optional[CheckpointHook]:
    return next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)


def _on_server(hook: Optional[CheckpointHook]) -> bool:
    return '://' in str(getattr(hook, 'out_dir', ''))


def _check_name(file: str) -> None:
    """A checkpoint may come from anywhere: it must not name other files than guides."""
    if not isinstance(file, str) or not re.fullmatch(r'dskd_\w+\.pth', file):
        raise ValueError(
            f'the checkpoint that is resumed names {file!r}, which is no name of a guide'
        )
