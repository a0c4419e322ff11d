"""Where each stock backbone can be cut in two, and how to run the pieces.

A backbone is seen as a chain of named steps (``'stem'``, ``'stage1'``, ...). A *piece* of
it is the stock module itself in which everything that belongs to other steps is replaced
by an empty ``nn.Identity``. So a piece keeps the stock parameter names (also the indices
inside a ``ModuleList``), the stock initialisation, ``frozen_stages`` and ``norm_eval``,
without a line of code here that knows about them.

To support one more backbone, register one function that lists its steps.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Callable, NamedTuple, Optional, Union

import torch
from mmpose.models.backbones import (
    HourglassNet,
    HRNet,
    LiteHRNet,
    MobileNetV2,
    ResNet,
    ShuffleNetV2,
)
from mmpose.registry import MODELS
from torch import Tensor, nn

from ..core.checks import built_by, refusal
from .stacked_hourglass import StackedHourglass

#: what flows between two steps: one feature map, or one per resolution (HRNet), or the next
#: stack's input and this one's output (hourglasses)
State = Union[Tensor, 'tuple[Tensor, ...]']


class Step(NamedTuple):
    """One link of the chain.

    Attributes:
        name: The name a ``split`` setting uses: cutting at ``name`` means cutting *after* it.
        modules: Paths of the stock submodules that belong to this step. Each weight of the
            backbone has to be in one of some step's.
        run: ``run(backbone, state) -> state``, the same operations as in the stock forward.
        outputs: ``outputs(state)``: what this step adds to the tuple that the stock
            backbone returns; nothing by default.
    """

    name: str
    modules: tuple[str, ...]
    run: Callable[[nn.Module, State], State]
    outputs: Callable[[State], tuple[Tensor, ...]] = lambda state: ()


@singledispatch
def backbone_steps(backbone: nn.Module) -> list[Step]:
    """The chain of steps of a stock backbone, from the image to its outputs.

    Raises:
        TypeError: No steps are registered for backbones of this type.
    """
    raise TypeError(unsplittable(type(backbone)))


def unsplittable(kind: type) -> Optional[str]:
    """Why backbones of a class cannot be split; None if their steps are registered."""
    if backbone_steps.dispatch(kind) is not backbone_steps.dispatch(object):
        return None
    known = sorted(cls.__name__ for cls in backbone_steps.registry if cls is not object)
    return (
        f'backbone.type: {kind.__name__} cannot be split; choose one of {", ".join(known)}, or '
        'register its steps with backbone_steps.register'
    )


def _listed(step: Step, listed: bool) -> Step:
    """Let a one-map step contribute to the outputs if its index is in ``out_indices``."""
    return step._replace(outputs=lambda state: (state,)) if listed else step


@backbone_steps.register
def _(backbone: HRNet) -> list[Step]:
    _check_forward(backbone, HRNet)

    def stem(net, x):
        x = net.relu(net.norm1(net.conv1(x)))
        return net.relu(net.norm2(net.conv2(x)))

    def stage(i: int):
        def run(net, state):
            maps = state if isinstance(state, tuple) else (state,)
            transition = getattr(net, f'transition{i - 1}')
            # a fresh list each time: HRModule overwrites its input list in place
            inputs = [maps[j] if t is None else t(maps[-1]) for j, t in enumerate(transition)]
            return tuple(getattr(net, f'stage{i}')(inputs))

        return run

    steps = [
        Step('stem', ('conv1', backbone.norm1_name, 'conv2', backbone.norm2_name, 'relu'), stem),
        Step('stage1', ('layer1',), lambda net, x: net.layer1(x)),
    ]
    steps += [Step(f'stage{i}', (f'transition{i - 1}', f'stage{i}'), stage(i)) for i in (2, 3, 4)]
    steps[-1] = steps[-1]._replace(outputs=lambda state: state)
    return steps


@backbone_steps.register
def _(backbone: LiteHRNet) -> list[Step]:
    _check_forward(backbone, LiteHRNet)

    def stage(i: int):
        def run(net, state):
            maps = state if isinstance(state, tuple) else (state,)
            transition = getattr(net, f'transition{i}')
            # as in HRNet, but a map that is there already has a transition of its own
            inputs = [
                maps[j] if t is None else t(maps[min(j, len(maps) - 1)])
                for j, t in enumerate(transition)
            ]
            return tuple(getattr(net, f'stage{i}')(inputs))

        return run

    steps = [Step('stem', ('stem',), lambda net, x: net.stem(x))]
    for i in range(backbone.num_stages):
        steps.append(Step(f'stage{i + 1}', (f'transition{i}', f'stage{i}'), stage(i)))
    if backbone.with_head:
        head = Step('end', ('head_layer',), lambda net, state: tuple(net.head_layer(list(state))))
        steps.append(head)
    steps[-1] = steps[-1]._replace(outputs=lambda state: (state[0],))
    return steps


@backbone_steps.register
def _(backbone: ResNet) -> list[Step]:
    _check_forward(backbone, ResNet)

    def stem(net, x):
        x = net.stem(x) if net.deep_stem else net.relu(net.norm1(net.conv1(x)))
        return net.maxpool(x)

    def stage(name: str):
        return lambda net, x: getattr(net, name)(x)

    own = ('stem',) if backbone.deep_stem else ('conv1', backbone.norm1_name, 'relu')
    steps = [Step('stem', (*own, 'maxpool'), stem)]
    for i, name in enumerate(backbone.res_layers):
        step = Step(f'stage{i + 1}', (name,), stage(name))
        steps.append(_listed(step, i in backbone.out_indices))
    return steps


@backbone_steps.register
def _(backbone: MobileNetV2) -> list[Step]:
    _check_forward(backbone, MobileNetV2)

    def layer(name: str):
        return lambda net, x: getattr(net, name)(x)

    steps = [Step('stem', ('conv1',), layer('conv1'))]
    for i, name in enumerate(backbone.layers):  # layer1 .. layer7, then the 1 x 1 'conv2'
        label = 'end' if name == 'conv2' else f'stage{i + 1}'
        steps.append(_listed(Step(label, (name,), layer(name)), i in backbone.out_indices))
    return steps


@backbone_steps.register
def _(backbone: ShuffleNetV2) -> list[Step]:
    _check_forward(backbone, ShuffleNetV2)

    def layer(i: int):
        return lambda net, x: net.layers[i](x)

    steps = [Step('stem', ('conv1', 'maxpool'), lambda net, x: net.maxpool(net.conv1(x)))]
    for i in range(len(backbone.layers)):  # three stages, then the 1 x 1 convolution
        label = f'stage{i + 1}' if i < len(backbone.stage_blocks) else 'end'
        steps.append(_listed(Step(label, (f'layers.{i}',), layer(i)), i in backbone.out_indices))
    return steps


@backbone_steps.register
def _(backbone: HourglassNet) -> list[Step]:
    _check_forward(backbone, HourglassNet)

    def stack(i: int, last: bool):
        def run(net, state):
            x = state[0] if isinstance(state, tuple) else state
            out = net.out_convs[i](net.hourglass_modules[i](x))
            if last:
                return out, out
            x = net.conv1x1s[i](x) + net.remap_convs[i](out)
            return net.inters[i](net.relu(x)), out

        return run

    steps = [Step('stem', ('stem',), lambda net, x: net.stem(x))]
    for i in range(backbone.num_stacks):
        own = [f'hourglass_modules.{i}', f'out_convs.{i}']
        last = i == backbone.num_stacks - 1
        if not last:  # the way on to the next stack belongs to this one
            own += [f'conv1x1s.{i}', f'remap_convs.{i}', f'inters.{i}']
        elif i < len(backbone.inters):  # a single stack has one without using it
            own += [f'inters.{i}']
        steps.append(Step(f'stack{i + 1}', tuple(own), stack(i, last), lambda state: (state[1],)))
    return steps


@backbone_steps.register
def _(backbone: StackedHourglass) -> list[Step]:
    _check_forward(backbone, StackedHourglass)

    def stack(i: int, last: bool):
        def run(net, state):
            x = state[0] if isinstance(state, tuple) else state
            feature, heatmaps = net.stacks[i](x)
            return heatmaps if last else net.feedbacks[i](x, feature, heatmaps), heatmaps

        return run

    steps = [Step('stem', ('stem',), lambda net, x: net.stem(x))]
    for i in range(backbone.num_stacks):
        last = i == backbone.num_stacks - 1
        own = (f'stacks.{i}',) if last else (f'stacks.{i}', f'feedbacks.{i}')
        steps.append(Step(f'stack{i + 1}', own, stack(i, last), lambda state: (state[1],)))
    return steps


def _check_forward(backbone: nn.Module, cls: type) -> None:
    """Refuse subclasses that run another forward than the one whose steps are known."""
    if type(backbone).forward is not cls.forward:
        raise TypeError(
            f'backbone.type: {type(backbone).__name__} is a {cls.__name__} with a forward of its '
            'own and cannot be split; register its steps with backbone_steps.register'
        )


def _check_weights(backbone: nn.Module, steps: list[Step]) -> None:
    """Refuse weights of no step: trunk and branches would each have a copy of their own."""
    listed = tuple(f'{path}.' for step in steps for path in step.modules)
    weights = dict([*backbone.named_parameters(), *backbone.named_buffers()])
    alone = [name for name in weights if not name.startswith(listed)]
    if alone:
        raise TypeError(
            f'backbone.type: {type(backbone).__name__} has {alone[0]}, which is in none of the '
            'submodules that its steps list, and cannot be split: put it into a submodule that '
            'backbone_steps.register lists in the step that uses it'
        )


def split_point(backbone: nn.Module, split: str, key: str = 'split') -> int:
    """Number of steps before the cut.

    Args:
        backbone: A stock backbone.
        split: Name of the last shared step; ``'end'`` shares the whole backbone.
        key: Name of the config key, for messages.

    Raises:
        ValueError: ``split`` is not a step of this backbone.
        TypeError: Backbones of this type cannot be split.
    """
    names = [step.name for step in backbone_steps(backbone)]
    if split == 'end':
        return len(names)
    if split not in names:
        choices = ', '.join(repr(name) for name in names if name != 'end')
        kind = type(backbone).__name__
        raise refusal(key, split, f"{kind} has the steps {choices}, then 'end': give one")
    return names.index(split) + 1


def built_backbone(config: dict) -> nn.Module:
    """A stock backbone, also where torch's default device is ``'meta'``.

    Some (``HRFormer``) calculate with tensors while they are built, which meta tensors cannot:
    these are built with weights, which are then let go.

    Raises:
        ValueError: The config builds no backbone.
    """
    try:
        return built_by(MODELS, config, 'backbone')
    except (RuntimeError, NotImplementedError) as error:
        why = ' '.join(str(error).split())
        if torch.empty(0).device.type != 'meta':
            raise refusal('backbone.type', config['type'], f'it cannot be built: {why}') from error
    with torch.device('cpu'), torch.random.fork_rng(devices=[]):
        return built_backbone(config).to('meta')


def image_channels(backbone: nn.Module) -> int:
    """Channels of the pictures that a backbone takes: those of its first convolution."""
    convolutions = (m for m in backbone.modules() if isinstance(m, nn.Conv2d))
    return next((conv.in_channels for conv in convolutions), 3)


def build_piece(
    config: dict, split: str, shared: bool, stop: Optional[str] = None, key: str = 'stop'
) -> tuple[nn.Module, slice]:
    """Build a stock backbone and keep only one side of the cut.

    Args:
        config: Config of the stock backbone.
        split: Where to cut, see :func:`split_point`.
        shared: Keep the steps before the cut (the trunk), else those after it (a tail).
        stop: Last step of a tail, which may lie before the cut: then nothing is left. None: the
            backbone's last one.
        key: Name of the config key of ``stop``, for messages.

    Returns:
        The pruned stock backbone, and which of its steps are left in it.

    Raises:
        ValueError: The config builds no backbone, or ``split`` or ``stop`` is not a step of it.
        TypeError: Backbones of this type cannot be split, or have weights that no step lists.
    """
    backbone = built_backbone(config)
    cut = split_point(backbone, split)
    steps = backbone_steps(backbone)
    _check_weights(backbone, steps)
    end = len(steps) if stop is None else split_point(backbone, stop, key)
    kept = slice(0, cut) if shared else slice(cut, max(cut, end))
    for step in [*steps[: kept.start], *steps[kept.stop :]]:
        for path in step.modules:
            parent, _, name = path.rpartition('.')
            setattr(backbone.get_submodule(parent), name, nn.Identity())
    return backbone, kept


def run_steps(
    backbone: nn.Module, kept: slice, state: State, outputs: tuple[Tensor, ...] = ()
) -> tuple[dict[str, State], tuple[Tensor, ...]]:
    """Run the steps of a piece.

    Args:
        backbone: The piece.
        kept: Which steps are left in it.
        state: Image (B, C, H, W), or the state after the step before the first one.
        outputs: What the steps before have put into the backbone's outputs.

    Returns:
        The state after each step by its name, and all of the backbone's outputs up to here.
    """
    states = {}
    for step in backbone_steps(backbone)[kept]:
        state = states[step.name] = step.run(backbone, state)
        outputs = outputs + step.outputs(state)
    return states, outputs
