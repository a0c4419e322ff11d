"""What hooks need of MMEngine's runner."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, Runner

from .capture import replaced


def unwrapped(runner: Runner):
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def datasets_of(dataset) -> Iterator:
    """A data set and those that it is made of."""
    yield dataset
    for inner in [*getattr(dataset, 'datasets', ()), getattr(dataset, 'dataset', None)]:
        if inner is not None:
            yield from datasets_of(inner)


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
        """See to it that the context is left, however the training ends.

        Raises:
            ValueError: There is a second one of the kind, as where a config adds it to the hooks
                of a config that has it.
        """
        name = type(self).__name__
        count = sum(type(hook) is type(self) for hook in runner.hooks)
        if count > 1:
            raise ValueError(f'custom_hooks: {name} stands {count} times in them, give it once')
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
