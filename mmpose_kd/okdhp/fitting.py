"""Whether trunk and branches fit together, looked at without weights before they are built."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from mmpose.models.heads import CPMHead
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ..core.checks import checked_dict, checked_size, refusal
from .branch import Branch, check_own_methods, shared_stages_head
from .splits import image_channels
from .trunk import SharedTrunk, TrunkFeatures


def check_branches(
    backbone: dict, configs: Sequence[dict], split: str, keys: Sequence[str]
) -> tuple[dict[str, int], int]:
    """Build trunk and branches without weights, and compare what has to fit together.

    Args:
        backbone: Config of the stock backbone that the trunk is made of.
        configs: ``backbone``, ``neck`` and ``head`` config of each branch.
        split: Where the trunk ends.
        keys: Name of the config key of each branch's head, for messages.

    Returns:
        Channels of each shared step (of the finest map where there are several), and how many
        outputs of the backbone come from shared steps.

    Raises:
        ValueError: A part cannot be run on what the part before it puts out, a branch changes
            the shared part, or the branches' codecs or heatmaps differ from each other, or the
            heatmaps from the codec's.
        TypeError: A head is not a heatmap head with one map per keypoint, or has a loss or
            prediction of its own.
    """
    decoder = checked_dict(configs[0]['head'].get('decoder') or {}, f'{keys[0]}.decoder')
    size = checked_size(decoder.get('input_size', (256, 256)), f'{keys[0]}.decoder.input_size')
    with torch.device('meta'), torch.no_grad(), _NormIsIdentity():
        trunk = SharedTrunk(backbone, split)
        trunk.eval()
        channels = image_channels(trunk)
        picture = f'a picture of {size} (width, height) with {channels} channels (in_channels)'
        with _probed('backbone.type', backbone.get('type'), f'it cannot be run on {picture}'):
            feats = trunk(torch.empty(1, channels, size[1], size[0]))
    shared_stages = len(feats.outputs)
    shared_head = _shared_layers(configs[0], shared_stages)
    shapes: list[tuple[int, ...]] = []
    for t, (config, key) in enumerate(zip(configs, keys)):
        if config in configs[:t]:
            shapes.append(shapes[configs.index(config)])
            continue
        if (config['head'].get('decoder') or {}) != decoder:
            raise ValueError(
                f'{key}.decoder differs from that of branch 0: all branches learn one target and '
                'are read by one codec'
            )
        if decoder.get('heatmap_type') == 'combined':
            raise TypeError(
                f"{key}.decoder.heatmap_type='combined': maps of offsets cannot be weighed into "
                "an ensemble, give 'gaussian'"
            )
        with torch.device('meta'):
            same = config['backbone'] == backbone
            if not same and SharedTrunk(config['backbone'], split).structure != trunk.structure:
                raise ValueError(
                    f'head.branches.{t}.backbone changes the shared part of the backbone (up to '
                    f'split={split!r}): a branch can only change what comes after it'
                )
        shape = _heatmap_shape(feats, config, split, key)
        if _shared_layers(config, shared_stages) != shared_head:
            raise ValueError(
                f'{key} changes the layers of the first {shared_stages} stages, which all '
                'branches share: a branch can change num_stages and loss, not these layers'
            )
        made = shape[:0:-1]  # width, height
        wanted = checked_size(decoder.get('heatmap_size', made), f'{key}.decoder.heatmap_size')
        if made != wanted:
            raise ValueError(
                f'branch {t} makes heatmaps of {made} (width, height) from an input of {size}, '
                f'{key}.decoder.heatmap_size is {wanted}: change the head or the codec'
                + _neck_hint(config)
            )
        shapes.append(shape)
    if len(set(shapes)) > 1:
        raise ValueError(
            f'head.branches: heatmaps of (K, H, W) = {shapes}; the ensemble needs one keypoint '
            'count and one heatmap size'
        )
    channels = {
        name: (state[0] if isinstance(state, tuple) else state).shape[1]
        for name, state in feats.steps.items()
    }
    return channels, shared_stages


def _shared_layers(config: dict, shared_stages: int) -> str:
    """A description of the layers of the shared stages' head, equal where these are."""
    with torch.device('meta'):
        shared = shared_stages_head(config['head'], shared_stages)
    return '' if shared is None else f'{shared.multi_deconv_layers}{shared.multi_final_layers}'


@torch.no_grad()
def _heatmap_shape(feats: TrunkFeatures, config: dict, split: str, key: str) -> tuple[int, ...]:
    """(K, H, W) of a branch, on meta tensors: no arithmetic."""
    part = key[: -len('head')]
    with torch.device('meta'), _NormIsIdentity():
        with _probed(f'{key}.type', config['head'].get('type'), 'it cannot be built'):
            branch = Branch(split=split, shared_stages=len(feats.outputs), **config, key=key)
        branch.eval()
        kind = config['backbone'].get('type')
        with _probed(f'{part}backbone.type', kind, 'its part after the split cannot be run'):
            outputs = branch.outputs(feats)
        if config['neck'] is not None:
            kind = config['neck'].get('type')
            why = f'it cannot be run on maps of {_channels(outputs)} channels'
            with _probed(f'{part}neck.type', kind, why), _transposed_checked(branch.neck):
                outputs = branch.neck(outputs)
        if isinstance(branch.head, CPMHead) and len(outputs) != branch.head.num_stages:
            raise ValueError(
                f'{key}.num_stages={branch.head.num_stages}: the backbone of this branch has '
                f'{len(outputs)} outputs (num_stacks of an hourglass), give the same number'
            )
        wrong = _what_is_wrong(branch, outputs, config, key)
        with _probed(*wrong), _transposed_checked(branch.head):
            heatmaps = branch.forward_stages(feats)
    if any(not isinstance(maps, Tensor) or maps.ndim != 4 for maps in heatmaps):
        raise TypeError(
            f'{key}.type={type(branch.head).__name__}: a stage has one output, its heatmaps; '
            'give HeatmapHead, CPMHead, or a subclass that returns just these'
        )
    check_own_methods(branch.head, key)
    if len({maps.shape for maps in heatmaps}) > 1:
        raise ValueError(f'{key}: its stages make heatmaps of different sizes')
    return tuple(heatmaps[0].shape[1:])


class _NormIsIdentity(TorchFunctionMode):
    """BatchNorm changes no shape, but is most of the time that a network takes on meta tensors."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is F.batch_norm:
            maps, mean = args[:2]
            if mean is not None and mean.shape[0] == maps.shape[1]:
                return maps
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def _probed(key: str, found, why: str) -> Iterator[None]:
    """Say which setting it is that torch, or a stock part, stumbles over on meta tensors."""
    try:
        yield
    except (ArithmeticError, AssertionError, LookupError, NotImplementedError, RuntimeError) as e:
        said = ' '.join(str(e).split())[:200]
        raise refusal(key, found, f'{why} ({said})' if said else why) from e


@contextlib.contextmanager
def _transposed_checked(module: nn.Module) -> Iterator[None]:
    """Compare the channels of transposed convolutions, which torch does not on meta tensors."""

    def compare(layer: nn.ConvTranspose2d, inputs: tuple[Tensor]) -> None:
        channels = inputs[0].shape[-3:][0]
        if inputs[0].ndim > 2 and channels != layer.in_channels:
            raise RuntimeError(f'{layer} gets {channels} channels')

    layers = [m for m in module.modules() if isinstance(m, nn.ConvTranspose2d)]
    hooks = [layer.register_forward_pre_hook(compare) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _channels(outputs: Sequence[Tensor]) -> str:
    outputs = [outputs] if isinstance(outputs, Tensor) else outputs
    return ', '.join(str(maps.shape[1]) for maps in outputs)


def _neck_hint(config: dict) -> str:
    """Where a stock config's neck has to go; '' if it is there."""
    if config['neck'] is not None:
        return ''
    return '; if model.neck is set, give this neck in head.neck and set model.neck=None'


def _what_is_wrong(
    branch: Branch, outputs: Sequence[Tensor], config: dict, key: str
) -> tuple[str, object, str]:
    """Key, value and reason to tell if the head cannot be run on what it gets."""
    own, channels = branch.head.in_channels, _channels(outputs)
    last = channels.rpartition(', ')[-1]
    if str(own) != last:
        giver = 'backbone' if config['neck'] is None else 'neck'
        alike = set(channels.split(', ')) == {last}
        give = f'give {last}' if alike else 'of which the head reads the last'
        why = f'the {giver} puts out maps of {channels} channels, {give}{_neck_hint(config)}'
        return f'{key}.in_channels', own, why
    why = f'it cannot be run on maps of {channels} channels'
    return f'{key}.type', type(branch.head).__name__, why
