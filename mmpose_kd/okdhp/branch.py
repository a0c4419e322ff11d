"""One branch of an online-distillation head: a whole pose estimator from the split on."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from inspect import signature
from typing import Optional

import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from mmpose.models.heads import CPMHead, HeatmapHead
from mmpose.registry import MODELS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..core.checks import (
    built_by,
    checked_bool,
    checked_dict,
    checked_dicts,
    checked_size,
    checked_whole,
    refusal,
)
from .splits import build_piece, image_channels, run_steps
from .trunk import SharedTrunk, TrunkFeatures


class Branch(BaseModule):
    """The rest of a stock backbone, an optional stock neck, and a stock heatmap head.

    Args:
        backbone (dict): Config of the stock backbone, the same as the trunk's.
        split (str): Where the trunk ends.
        head (dict): Config of a stock ``HeatmapHead``, of a ``CPMHead`` for a backbone with an
            output per stage, or of a subclass of these.
        neck (dict, optional): Config of a stock neck.
        shared_stages (int): How many stages of a ``CPMHead`` sit on shared steps. Their layers
            are left out here; they live once in :class:`OKDHPHead`.
        with_cp (bool): Keep no activations of the branch for the backward pass, but compute
            them again there: less memory, one more forward pass.
        key (str): Name of the config key of ``head``, for messages only.

    Raises:
        TypeError: The head is not a heatmap head.
        ValueError: A part cannot be built, nothing of the head is left for the branch, or torch
            is too old for ``with_cp``.
    """

    def __init__(
        self,
        backbone: dict,
        split: str,
        head: dict,
        neck: Optional[dict] = None,
        shared_stages: int = 0,
        with_cp: bool = False,
        key: str = 'head',
    ):
        super().__init__()
        tail, self._kept = build_piece(backbone, split, shared=False)
        self.backbone = tail
        if neck is not None:
            self.neck = built_by(MODELS, neck, 'head.neck')
        self.head = built_by(MODELS, head, key)
        self.with_cp = checked_bool(with_cp, 'head.with_cp')
        if with_cp and 'context_fn' not in signature(checkpoint).parameters:
            old = f'it needs torch 2.1 or newer, found {torch.__version__}: remove it'
            raise refusal('head.with_cp', with_cp, old)
        if not isinstance(self.head, (HeatmapHead, CPMHead)):
            raise TypeError(
                f'{key}.type={type(self.head).__name__}: a branch predicts heatmaps, give '
                'HeatmapHead or CPMHead, or a subclass of them'
            )
        self.shared_stages = shared_stages if isinstance(self.head, CPMHead) else 0
        if self.shared_stages:
            if self.shared_stages >= self.head.num_stages:
                raise ValueError(
                    f'head.split={split!r}: all {self.head.num_stages} stages of '
                    f'{key}.type={type(self.head).__name__} would be shared and nothing would be '
                    'left for the branches; split earlier'
                )
            if neck is not None:
                raise ValueError(
                    'head.neck: a neck per branch cannot be run for stages that are shared; '
                    f"remove it, or give head.split='stem' (found {split!r})"
                )
        for i in range(self.shared_stages):
            self.head.multi_deconv_layers[i] = nn.Identity()
            self.head.multi_final_layers[i] = nn.Identity()

    def outputs(self, feats: TrunkFeatures) -> tuple[Tensor, ...]:
        """The outputs of the whole backbone."""
        return run_steps(self.backbone, self._kept, feats.state, feats.outputs)[1]

    def features(self, feats: TrunkFeatures) -> tuple[Tensor, ...]:
        """What the stock head gets: the outputs of the whole backbone, through the neck."""
        outputs = self.outputs(feats)
        return self.neck(outputs) if hasattr(self, 'neck') else outputs

    def forward_stages(self, feats: TrunkFeatures) -> list[Tensor]:
        """Heatmaps of every stage that is the branch's own, in order.

        Args:
            feats: Output of the trunk.

        Returns:
            Heatmaps (B, K, H, W) each; one entry for a head with one output.
        """
        if self.with_cp and torch.is_grad_enabled():
            state = feats.state if isinstance(feats.state, tuple) else (feats.state,)
            return checkpoint(
                self._run,
                feats,
                *state,  # so that torch sees the device whose random state it has to keep
                use_reentrant=False,
                context_fn=lambda: (contextlib.nullcontext(), norm_statistics_kept(self)),
            )
        return self._run(feats)

    def _run(self, feats: TrunkFeatures, *_: Tensor) -> list[Tensor]:
        heatmaps = self.head(self.features(feats))
        if isinstance(self.head, CPMHead):
            return heatmaps[self.shared_stages :]
        return [heatmaps]

    def forward(self, feats: TrunkFeatures) -> Tensor:
        """Heatmaps (B, K, H, W) of the last stage, which the branch predicts with."""
        return self.forward_stages(feats)[-1]


@contextlib.contextmanager
def norm_statistics_kept(module: nn.Module) -> Iterator[None]:
    """Run a second time what has been run already, without counting it twice in BatchNorm."""
    norms = [m for m in module.modules() if isinstance(getattr(m, 'running_mean', None), Tensor)]
    momenta = [norm.momentum for norm in norms]
    counts = [norm.num_batches_tracked.clone() for norm in norms]
    for norm in norms:
        norm.momentum = 0.0  # the running statistics stay what they are
    try:
        yield
    finally:
        for norm, momentum, count in zip(norms, momenta, counts):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(count)


def shared_stages_head(head: dict, shared_stages: int) -> Optional[nn.Module]:
    """The stages of a ``CPMHead`` that sit on shared steps, as a head of their own.

    Args:
        head: Config of the stock head of the whole network.
        shared_stages: How many of its stages are shared.

    Returns:
        A stock head whose layers have the names that they have in the whole one; None if there
        is nothing to share.
    """
    if 'num_stages' not in head or shared_stages == 0:
        return None
    # its losses are the whole head's: of these there may be one per stage
    layers = {key: value for key, value in head.items() if key != 'loss'}
    return built_by(MODELS, {**layers, 'num_stages': shared_stages}, 'head.head')


def stage_loss(head: nn.Module, stage: int) -> nn.Module:
    """The task loss of one stage of a stock head (there may be one per stage)."""
    losses = head.loss_module
    return losses[stage] if isinstance(losses, nn.ModuleList) else losses


def merge_branches(
    common: dict, changes: Optional[Sequence[dict]], num_branches: int
) -> list[dict]:
    """Each branch's ``backbone``, ``neck`` and ``head``: the common ones with its changes.

    Args:
        common: Configs that all branches start from.
        changes: Per branch, what differs; merged as MMEngine merges a child config. None:
            nothing.
        num_branches: T, how many there are.

    Raises:
        ValueError: T is no number of branches, or there is not one dict of changes for each; a
            change is not of one of these three, or no dict.
    """
    checked_whole(num_branches, 'head.num_branches', least=1)
    if changes is None:
        changes = [{}] * num_branches
    if len(checked_dicts(changes, 'head.branches')) != num_branches:
        raise ValueError(
            f'head.branches has {len(changes)} entries, head.num_branches={num_branches}: '
            'give one entry per branch'
        )
    checked_dict(common['backbone'], 'head.backbone')
    checked_dict(common['neck'], 'head.neck', optional=True)
    checked_dict(common['head'], 'head.head')
    merged = []
    for t, change in enumerate(changes):
        unknown = set(change) - set(common)
        if unknown:
            raise ValueError(
                f'head.branches.{t} has {sorted(unknown)}: a branch can change {list(common)}'
            )
        for name, value in change.items():
            checked_dict(value, f'head.branches.{t}.{name}', optional=name == 'neck')
        config = Config(copy.deepcopy(common))
        config.merge_from_dict(dict(change))
        merged.append({key: config.get(key) for key in common})
    return merged


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
        TypeError: A head is not a heatmap head with one map per keypoint.
    """
    decoder = checked_dict(configs[0]['head'].get('decoder') or {}, f'{keys[0]}.decoder')
    size = checked_size(decoder.get('input_size', (256, 256)), f'{keys[0]}.decoder.input_size')
    with torch.device('meta'), torch.no_grad():
        trunk = SharedTrunk(backbone, split)
        trunk.eval()
        with _probed('backbone', backbone.get('type'), f'it cannot be run on a picture of {size}'):
            feats = trunk(torch.empty(1, image_channels(trunk), size[1], size[0]))
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
    with torch.device('meta'):
        with _probed(f'{key}.type', config['head'].get('type'), 'it cannot be built'):
            branch = Branch(split=split, shared_stages=len(feats.outputs), **config, key=key)
        branch.eval()
        kind = config['backbone'].get('type')
        with _probed(f'{part}backbone', kind, 'its part after the split cannot be run'):
            outputs = branch.outputs(feats)
        if config['neck'] is not None:
            kind = config['neck'].get('type')
            why = f'it cannot be run on maps of {_channels(outputs)} channels'
            with _probed(f'{part}neck', kind, why):
                outputs = branch.neck(outputs)
        if isinstance(branch.head, CPMHead) and len(outputs) != branch.head.num_stages:
            raise ValueError(
                f'{key}.num_stages={branch.head.num_stages}: the backbone of this branch has '
                f'{len(outputs)} outputs (num_stacks of an hourglass), give the same number'
            )
        with _probed(*_what_is_wrong(branch, outputs, config, key)):
            heatmaps = branch.forward_stages(feats)
    if any(not isinstance(maps, Tensor) or maps.ndim != 4 for maps in heatmaps):
        raise TypeError(
            f'{key}.type={type(branch.head).__name__}: a stage has one output, its heatmaps; '
            'give HeatmapHead, CPMHead, or a subclass that returns just these'
        )
    if len({maps.shape for maps in heatmaps}) > 1:
        raise ValueError(f'{key}: its stages make heatmaps of different sizes')
    return tuple(heatmaps[0].shape[1:])


@contextlib.contextmanager
def _probed(key: str, found, why: str) -> Iterator[None]:
    """Say which setting it is that torch, or a stock part, stumbles over on meta tensors."""
    try:
        yield
    except (ArithmeticError, AssertionError, LookupError, NotImplementedError, RuntimeError) as e:
        raise refusal(key, found, f'{why} ({" ".join(str(e).split())[:200]})') from e


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
    giver = 'backbone' if config['neck'] is None else 'neck'
    last = 'the head reads the last' if ',' in channels else 'give the same'
    if [str(own)] != channels.split(', ')[-1:]:
        why = f'the {giver} puts out maps of {channels} channels, {last}{_neck_hint(config)}'
        return f'{key}.in_channels', own, why
    why = f'it cannot be run on maps of {channels} channels'
    return f'{key}.type', type(branch.head).__name__, why
