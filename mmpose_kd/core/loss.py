"""What a distillation loss is, and what the losses share.

**The protocol.** A distillation loss is a ``torch.nn.Module`` registered in MMPose's ``MODELS``.
:class:`~mmpose_kd.distiller.Distillation` (a distiller's entry) calls it in one of two ways,
:class:`OKDHPHead` and :class:`OCDHead`, which have no features to teach, in the second one alone.
They add up what it returns, a scalar:

- ``loss(student, teacher)`` for features;
- ``loss(student, teacher, target_weight)`` for keypoints. It is recognised by its third
  argument, which has no default or "weight" in its name: see :func:`takes_target_weight`.

*Given*: ``student``, an output with gradient, and ``teacher``, a constant in float32, which the
caller has detached (only ``OKDHPHead(detach_ensemble=False)`` has not). By the kind of output:

- features (B, C, H, W), any range, in equal shapes;
- heatmaps (B, K, H, W), where ground truth peaks at 1;
- bins: a pair (x, y) of logits (B, K, bins);
- coordinates (B, K, 2), in shares of the picture's width and height.

Several captured outputs come as a tuple. ``target_weight`` (B, K) is 0 for a keypoint without a
label or that the teacher does not know. *Returned*: a scalar, computed in float32 at least
(:func:`upcast`), finite for every weight, also if all are 0.

*Optional*: ``bind(head, heatmap_codec=None, codec_key=None)``, called once before the first loss
with the student's head and, where one teacher's heatmaps are read, their codec and its config key;
``check_outputs(student, paths)``, called by a distiller's entry after it, which refuses places in
the student (:class:`~mmpose_kd.core.capture.OutputPath`) whose outputs are not what it is for;
``same_shape = False`` for a loss that reads a teacher's heatmaps in their own size;
``use_target_weight``, False if the loss ignores the weights it is given.

In a distiller any module with two arguments fits, so losses of other packages work as they are.
:class:`DistillationLoss` saves ours the common settings.
"""

from __future__ import annotations

import contextlib
import inspect
from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .checks import checked_bool, checked_name, checked_weight


class DistillationLoss(nn.Module):
    """The settings that losses have in common.

    Args:
        use_target_weight (bool): Weigh each keypoint; False ignores the weights.
        loss_weight (float): Factor of the loss, at least 0.
        key (str, optional): Name of the config key, for messages. None: the class's name.

    Raises:
        ValueError: A setting out of its range.
    """

    same_shape = True  # of the student's and the teacher's output

    def __init__(
        self,
        use_target_weight: bool = True,
        loss_weight: float = 1.0,
        key: Optional[str] = None,
    ):
        super().__init__()
        name = type(self).__name__
        self.key = checked_name(key, f'{name}.key', optional=True) or name
        self.use_target_weight = checked_bool(use_target_weight, f'{self.key}.use_target_weight')
        self.loss_weight = checked_weight(loss_weight, f'{self.key}.loss_weight')

    def used(self, target_weight: Optional[Tensor]) -> Optional[Tensor]:
        """The keypoint weights (B, K), None if they are to be ignored."""
        return target_weight if self.use_target_weight else None


def takes_target_weight(loss: nn.Module) -> bool:
    """Whether a loss is about keypoints: it is then called with their weights (B, K) as well.

    That is so if the third argument of its ``forward`` has no default, or "weight" in its name.
    """
    third = [*inspect.signature(loss.forward).parameters.values()][2:3]
    return any(p.default is p.empty or 'weight' in p.name for p in third)


def upcast(x: Tensor) -> Tensor:
    """A tensor in float32 at least: sums over many positions are lost in half precision."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def full_precision(x: Tensor) -> contextlib.AbstractContextManager:
    """While products with a tensor are made in its own precision, in mixed precision as well."""
    if x.is_meta:  # knows no mixed precision
        return contextlib.nullcontext()
    return torch.autocast(x.device.type, enabled=False)


def scaled(loss: Tensor, factor: float) -> Tensor:
    """A loss times a number; none is multiplied by 1, as on a GPU each operator is a launch."""
    return loss if factor == 1 else factor * loss


def softmax_kl(student: Tensor, teacher: Tensor) -> Tensor:
    r"""KL(q_t || q_s) of :math:`q = softmax(x)` over the last axis; nothing is detached here.

    .. math:: \sum_i q^t_i (\log q^t_i - \log q^s_i)

    Args:
        student, teacher: Logits (..., N), already divided by a temperature.

    Returns:
        (...), 0 or more, in the type given.
    """
    log_s = F.log_softmax(student, dim=-1)
    log_t = F.log_softmax(teacher, dim=-1)
    return (log_t.exp() * (log_t - log_s)).sum(-1)


def sum_of_losses(losses: dict) -> Tensor:
    """The sum of what MMEngine trains on: the losses of a model or head by name."""
    values = [value for key, value in losses.items() if 'loss' in key]
    each = [x for v in values for x in (v if isinstance(v, (list, tuple)) else [v])]
    scalars = [x.sum() if x.ndim else x for x in each]  # operators that do nothing cost as well
    return sum(scalars[1:], scalars[0]) if scalars else 0
