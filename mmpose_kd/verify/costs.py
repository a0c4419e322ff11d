"""What a model in training and its student cost: parameters and multiply-accumulates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Optional

import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from ..core.deployed import deployments_outside_in
from ..core.recipe import without_values
from ..core.runner import unwrapped
from ..distiller.teacher import Teacher
from ..dskd import DSKDHook


@dataclass(frozen=True)
class Cost:
    """Of a network.

    Attributes:
        name: For the reader: ``'student'``.
        parameters: All of them.
        trained: Those that are trained.
        macs: Multiply-accumulates of a forward pass, of one picture; None if they cannot be
            counted.
    """

    name: str
    parameters: int
    trained: int
    macs: Optional[float]


def costs_of(runner: Runner, model_config: dict, batch: dict) -> list[Cost]:
    """The costs of what is deployed, of what is trained, and of each frozen model beside it.

    Args:
        runner: In an iteration, so that what hooks put around the model's loss is there.
        model_config: Of the runner's model.
        batch: What the data loader gave for the iteration: B pictures.

    Returns:
        The student, then the whole training (teachers and guides as far as they are run, in this
        iteration), then its frozen models.
    """
    model: BaseModel = unwrapped(runner)
    data = model.data_preprocessor(batch, True)
    images, samples = data['inputs'], data['data_samples']

    def loss():
        with runner.optim_wrapper.optim_context(model):
            model._run_forward(data, mode='loss')

    frozen = frozen_models(runner)
    whole = macs(loss)
    found = [
        _student(model, model_config, images.shape[1:]),
        _cost('in training', [model, *(one.model for one in frozen)], whole, len(images)),
    ]
    for teacher in frozen:
        seen = teacher.own_images(images, samples, model.data_preprocessor)[:1]
        counted = macs(lambda one=teacher, seen=seen: one.forward_head(seen))
        found.append(_cost(f'of it {teacher.key}', [teacher.model], counted))
    return found


def frozen_models(runner: Runner) -> list[Teacher]:
    """Teachers of a distiller and guides of :class:`~mmpose_kd.dskd.DSKDHook`."""
    hooks = [hook for hook in runner.hooks if isinstance(hook, DSKDHook) and hook.distils]
    guides = [guide.teacher for hook in hooks for guide in hook.bank.guides]
    return [*getattr(unwrapped(runner), 'teachers', ()), *guides]


def _student(model: BaseModel, config: dict, shape: Sequence[int]) -> Cost:
    """What remains after export, built without values."""
    for found in deployments_outside_in(config, model):
        config = found.config(config)
    plain = without_values(config, 'model')
    image = torch.empty(1, *shape, device='meta')
    trained = sum(p.numel() for p in plain.parameters())
    counted = macs(lambda: plain(image, None, mode='tensor'))
    return Cost('student, as deployed', trained, trained, counted)


def _cost(
    name: str, parts: Sequence[nn.Module], counted: Optional[float], pictures: int = 1
) -> Cost:
    parameters = [p for part in parts for p in part.parameters()]
    return Cost(
        name,
        sum(p.numel() for p in parameters),
        sum(p.numel() for p in parameters if p.requires_grad),
        None if counted is None else counted / pictures,
    )


def macs(run: Callable[[], object]) -> Optional[float]:
    """Multiply-accumulates of convolutions and matrix products, as torch counts them.

    Args:
        run: What to count.

    Returns:
        None where torch has no counter (2.0), or what is run cannot be followed.
    """
    try:
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            run()
    except Exception:  # of any operator; what trains was trained before
        return None
    return counter.get_total_flops() / 2
