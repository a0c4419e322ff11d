"""How branches weigh, differ and pull, in the run's visualiser."""

from __future__ import annotations

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpose.registry import HOOKS

from .branch_metrics_hook import unwrapped


@HOOKS.register_module()
class BranchStatisticsHook(Hook):
    """Write what the branches of an OKDHP head do to each other, every few iterations.

    ``okdhp/attention_branch<t>`` (mean weight of a branch in the ensemble),
    ``okdhp/attention_entropy`` (1: all branches count the same), ``okdhp/attention_std`` (how
    much the weights differ between images), ``okdhp/branch_disagreement`` (0: the branches say
    the same, nothing can be distilled) and ``okdhp/kd_gradient_share`` (the KL's pull at the
    heatmaps over the task loss's, with its weight and ramp-up). See
    :mod:`mmpose_kd.models.heads.branch_statistics`. Of the first process's batch.

    Args:
        interval (int): Every how many iterations; these alone cost time (one more run of the
            losses).

    Raises:
        ValueError: ``interval`` is less than 1.
        TypeError: The model's head has no such branches.
    """

    priority = 'VERY_LOW'

    def __init__(self, interval: int = 50):
        if isinstance(interval, bool) or not isinstance(interval, int) or interval < 1:
            raise ValueError(
                f'custom_hooks: BranchStatisticsHook.interval={interval!r}: give a whole number '
                'of iterations, 1 or more'
            )
        self.interval = interval

    def before_train(self, runner: Runner) -> None:
        """Refuse models that have nothing to write."""
        head = getattr(unwrapped(runner), 'head', None)
        if not hasattr(head, 'watch'):
            raise TypeError(
                f'custom_hooks: BranchStatisticsHook needs model.head.type=OKDHPHead, found '
                f'{type(head).__name__}; remove the hook'
            )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Ask the head to keep its numbers if this iteration's are written."""
        unwrapped(runner).head.watch = self.every_n_train_iters(runner, self.interval)

    @master_only
    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Write them."""
        head = unwrapped(runner).head
        if head.watch and head.watched:
            scalars = {f'okdhp/{name}': float(value) for name, value in head.watched.items()}
            runner.visualizer.add_scalars(scalars, step=runner.iter + 1)
            head.watched = {}
