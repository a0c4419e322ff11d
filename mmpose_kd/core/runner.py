"""What hooks need of MMEngine's runner."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from weakref import WeakSet

import mmpose
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, Runner

from .capture import replaced
from .recipe import type_name

_looked_at: WeakSet = WeakSet()  # runners whose hooks were compared with the inherited ones


def unwrapped(runner: Runner):
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def datasets_of(dataset) -> Iterator:
    """A data set and those that it is made of."""
    yield dataset
    for inner in [*getattr(dataset, 'datasets', ()), getattr(dataset, 'dataset', None)]:
        if inner is not None:
            yield from datasets_of(inner)


def check_hooks(runner: Runner, hook: Hook) -> None:
    """What every hook of ours looks at before a run.

    Raises:
        ValueError: There is a second one of the kind, as where a config adds it to the hooks of a
            config that has it.
    """
    name, count = type(hook).__name__, sum(type(other) is type(hook) for other in runner.hooks)
    if count > 1:
        raise ValueError(f'custom_hooks: {name} stands {count} times in them, give it once')
    warn_of_lost_hooks(runner)


def warn_of_lost_hooks(runner: Runner) -> None:
    """Warn, once in a run, of hooks that a config's bases have and the config has lost.

    In a child config a list replaces the parent's: ``custom_hooks=[...]`` drops what was
    inherited (MMPose's ``SyncBuffersHook``), silently. Files of MMPose itself, some of which do
    so on purpose, are not looked into; nor are pure Python configs.
    """
    if runner in _looked_at:
        return
    _looked_at.add(runner)
    try:
        lost = _lost_hooks(runner)
    except Exception:  # a base that is not there any more, of a config that was loaded elsewhere
        return
    if lost:
        runner.logger.warning(
            f'custom_hooks: {", ".join(lost)} of the _base_ configs is lost, as a list in a child '
            'config replaces the inherited one; give '
            'custom_hooks = [*_base_.custom_hooks, dict(type=...)] to keep it'
        )


def _lost_hooks(runner: Runner) -> list[str]:
    present = {type_name(hook) for hook in runner.cfg.get('custom_hooks') or []}
    present |= {type(hook).__name__ for hook in runner.hooks}
    inherited, files, seen = {}, [runner.cfg.filename], set()
    while files:
        file = files.pop()
        if not file or file in seen or not str(file).endswith('.py'):
            continue
        seen.add(file)
        if Path(mmpose.__file__).parent in Path(file).resolve().parents:
            continue
        for base in Config._get_base_files(str(file)):
            path, scope = Config._get_cfg_path(base, str(file))
            # `import_custom_modules`: what they import is imported already, or not wanted
            hooks = Config.fromfile(path, import_custom_modules=False).get('custom_hooks')
            inherited.update({type_name(hook): None for hook in hooks or []})
            files += [] if scope else [path]
    return [name for name in inherited if name and name not in present]


class AroundIterationHook(Hook):
    """Enters a context before each training iteration and leaves it afterwards.

    It is left as well when the training ends in an exception. A subclass says which context:
    :meth:`around`.
    """

    def __init__(self):
        self._loop_guard, self._inside = contextlib.ExitStack(), contextlib.ExitStack()

    def around(self, runner: Runner) -> contextlib.AbstractContextManager:
        """The context of one iteration."""
        raise NotImplementedError

    def before_run(self, runner: Runner) -> None:
        """See to it that the context is left, however the training ends."""
        check_hooks(runner, self)
        loop = runner._train_loop  # not built yet if the run is a test
        if not isinstance(loop, BaseLoop):
            return
        run = loop.run

        def guarded():
            self._loop_guard.close()
            try:
                return run()
            finally:
                self._inside.close()

        self._loop_guard.enter_context(replaced(loop, 'run', guarded))

    def after_run(self, runner: Runner) -> None:
        """Also after a test, which begins with ``before_run`` as well."""
        self._loop_guard.close()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Enter the context."""
        self._inside.close()
        self._inside.enter_context(self.around(runner))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Leave it."""
        self._inside.close()
