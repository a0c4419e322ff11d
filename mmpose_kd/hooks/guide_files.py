"""Where the guides' files lie beside a run's checkpoints, and for how long they are needed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner


class GuideFiles:
    """Knows which guide's file belongs to which checkpoint.

    Each checkpoint is known by its step, the number in its name, and holds what was known when
    it was written: :meth:`state`.
    """

    def __init__(self):
        self._needed: dict[str, list[str]] = {}  # names of files by step

    def folder(self, runner: Runner) -> Path:
        """Of the checkpoints; if that is a server, the run's own."""
        return _checkpoints(runner)[0]

    def note(self, runner: Runner, meta: dict, files: Sequence[str]) -> None:
        """Note what the checkpoint needs that is about to be written, remove what none needs.

        Args:
            runner: The run.
            meta: The checkpoint's.
            files: Names of its guides' files, which are there already.
        """
        folder, template, by_epoch = _checkpoints(runner)
        step = str(meta['epoch' if by_epoch else 'iter'])
        self._needed[step] = list(files)
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
        """
        self._needed = state['references']
        beside = [Path(runner._load_from).parent] if runner._load_from else []
        folders = [*beside, Path(runner.work_dir), Path(state['folder'])]
        return lambda file: next(
            (folder / file for folder in folders if (folder / file).is_file()), folders[0] / file
        )


def _checkpoints(runner: Runner) -> tuple[Path, str, bool]:
    """Folder of the checkpoints, what their names end with, whether they count epochs."""
    hook = next((h for h in runner.hooks if isinstance(h, CheckpointHook)), None)
    folder = getattr(hook, 'out_dir', None) or runner.work_dir
    if '://' in str(folder):  # a server: the guides stay here
        folder = runner.work_dir
    template = getattr(hook, 'filename_tmpl', 'epoch_{}.pth')
    return Path(folder), template, getattr(hook, 'by_epoch', True)
