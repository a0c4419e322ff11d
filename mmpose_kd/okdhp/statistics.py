"""Statistics of branches that teach each other, and the hook that logs them.

Each statistic is a function of one batch's tensors. None changes a gradient of the training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Callable

import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpose.registry import HOOKS
from torch import Tensor

from ..core.checks import checked_whole
from ..core.runner import check_hooks, unwrapped


def attention_statistics(attention: Tensor) -> dict[str, Tensor]:
    """How the ensemble is weighed.

    Args:
        attention: (B, T, K), summing to 1 over T.

    Returns:
        ``attention_branch<t>``: mean weight of each branch. ``attention_entropy``: 1 where all
        branches count the same, 0 where one counts alone. ``attention_std``: how much a weight
        differs from image to image, 0 for a fixed weighing.
    """
    attention = attention.detach().float()
    num_branches = attention.shape[1]
    entropy = torch.special.entr(attention).sum(1).mean() / math.log(max(num_branches, 2))
    means = attention.mean((0, 2))
    return {
        **{f'attention_branch{t}': means[t] for t in range(num_branches)},
        'attention_entropy': entropy,
        'attention_std': attention.std(0, correction=0).mean(),
    }


def disagreement(heatmaps: Sequence[Tensor], weight: Tensor) -> Tensor:
    """How far the branches are from each other, in parts of what they agree on.

    The root mean square of what each branch differs from their plain mean, divided by that of
    the mean itself, over labelled keypoints. 0: all branches say the same, and there is nothing
    to distil.

    Args:
        heatmaps: One (B, K, H, W) per branch.
        weight: Keypoint weights (B, K).

    Returns:
        A scalar, 0 or more.
    """
    stacked = torch.stack([maps.detach().float() for maps in heatmaps])  # (T, B, K, H, W)
    stacked = stacked * weight[..., None, None].to(stacked)
    mean = stacked.mean(0)
    return (stacked - mean).square().mean().sqrt() / mean.square().mean().sqrt().clamp(min=1e-12)


def gradient_share(
    heatmaps: Tensor,
    kd_loss: Callable[..., Tensor],
    teacher: Tensor,
    task_loss: Callable[..., Tensor],
    target: Tensor,
    weight: Tensor,
) -> Tensor:
    """How strongly distillation pulls at a branch's heatmaps, in parts of the task loss's pull.

    Args:
        heatmaps: (B, K, H, W); where the gradients are taken. Gets none itself.
        kd_loss: ``kd_loss(heatmaps, teacher, weight)``, a scalar.
        teacher: Ensemble heatmaps (B, K, H, W).
        task_loss: ``task_loss(heatmaps, target, weight)``, a scalar.
        target: Heatmaps (B, K, H, W) of the ground truth.
        weight: Keypoint weights (B, K).

    Returns:
        The ratio of the norms of the two gradients.
    """
    # in float32: a gradient divided by the number of all positions is lost in half precision
    with torch.enable_grad():
        leaf = heatmaps.detach().float().requires_grad_()
        kd = kd_loss(leaf, teacher.detach().float(), weight)
        task = task_loss(leaf, target, weight)
        pull, yardstick = (torch.autograd.grad(one, leaf)[0].norm() for one in (kd, task))
    return pull / yardstick.clamp(min=1e-12)


def branch_statistics(
    heatmaps: Sequence[Tensor],
    attention: Tensor,
    kd_loss: Callable[..., Tensor],
    teacher: Tensor,
    task_loss: Callable[..., Tensor],
    target: Tensor,
    weight: Tensor,
) -> dict[str, Tensor]:
    """All of them, for one batch.

    Args:
        heatmaps: One (B, K, H, W) per branch.
        attention: (B, T, K).
        kd_loss, teacher, task_loss, target, weight: As in :func:`gradient_share`.

    Returns:
        Those of :func:`attention_statistics`, ``branch_disagreement``, and ``kd_gradient_share``:
        mean over the branches, without the schedule's factor.
    """
    rest = (kd_loss, teacher, task_loss, target, weight)
    return {
        **attention_statistics(attention),
        'branch_disagreement': disagreement(heatmaps, weight),
        'kd_gradient_share': torch.stack([gradient_share(m, *rest) for m in heatmaps]).mean(),
    }


@HOOKS.register_module()
class BranchStatisticsHook(Hook):
    """Write what the branches of an OKDHP head do to each other, every few iterations.

    ``okdhp/attention_branch<t>`` (mean weight of a branch in the ensemble),
    ``okdhp/attention_entropy`` (1: all branches count the same), ``okdhp/attention_std`` (how
    much the weights differ between images), ``okdhp/branch_disagreement`` (0: the branches say
    the same, nothing can be distilled) and ``okdhp/kd_gradient_share`` (the KL's pull at the
    heatmaps over the task loss's, with its weight and ramp-up); see the functions above. Of the
    first process's batch.

    Args:
        interval (int): Every how many iterations; these alone cost time (one more run of the
            losses).

    Raises:
        ValueError: ``interval`` is less than 1.
        TypeError: The model's head has no such branches.
    """

    priority = 'VERY_LOW'

    def __init__(self, interval: int = 50):
        self.interval = checked_whole(
            interval, 'custom_hooks: BranchStatisticsHook.interval', least=1, of='iterations'
        )

    def before_run(self, runner: Runner) -> None:
        """Look at the run's hooks: see :func:`check_hooks`."""
        check_hooks(runner, self)

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
