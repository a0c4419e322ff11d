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
    checked_whole,
    refusal,
)
from .splits import build_piece, run_steps
from .trunk import TrunkFeatures

MOST_BRANCHES = 100  # each is the rest of a network


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
        stop (str, optional): The backbone's step whose output the neck or the head reads, the
            finest map of several; the steps after it are left out. None: the whole backbone.
        with_cp (bool): Keep no activations of the branch for the backward pass, but compute
            them again there: less memory, one more forward pass.
        key (str): Name of the config key of ``head``, for messages only; ``neck`` is beside it.

    Raises:
        TypeError: The head is not a heatmap head.
        ValueError: A part cannot be built, ``stop`` is not a step, nothing of the head is left
            for the branch, or torch is too old for ``with_cp``.
    """

    def __init__(
        self,
        backbone: dict,
        split: str,
        head: dict,
        neck: Optional[dict] = None,
        shared_stages: int = 0,
        stop: Optional[str] = None,
        with_cp: bool = False,
        key: str = 'head',
    ):
        super().__init__()
        self.stop = stop
        part = key.rpartition('head')[0]
        stop_key, neck_key = f'{part}stop', f'{part}neck'
        if stop == 'end':
            raise refusal(stop_key, stop, 'leave it out: that is the whole backbone')
        tail, self._kept = build_piece(backbone, split, shared=False, stop=stop, key=stop_key)
        self.backbone = tail
        if neck is not None:
            self.neck = built_by(MODELS, neck, neck_key)
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
        if stop is not None and isinstance(self.head, CPMHead):
            give = 'leave it out, and give backbone.num_stacks and head.num_stages'
            raise refusal(stop_key, stop, f'a CPMHead reads every stack: {give}')
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
                    f'{neck_key}: a neck per branch cannot be run for stages that are shared; '
                    f"remove it, or give head.split='stem' (found {split!r})"
                )
        for i in range(self.shared_stages):
            self.head.multi_deconv_layers[i] = nn.Identity()
            self.head.multi_final_layers[i] = nn.Identity()

    def outputs(self, feats: TrunkFeatures) -> tuple[Tensor, ...]:
        """The outputs of the whole backbone, or the map of the step that the branch stops at."""
        states, outputs = run_steps(self.backbone, self._kept, feats.state, feats.outputs)
        if self.stop is None:
            return outputs
        state = {**feats.steps, **states}[self.stop]
        return (state[0] if isinstance(state, tuple) else state,)

    def features(self, feats: TrunkFeatures) -> tuple[Tensor, ...]:
        """What the stock head gets: :meth:`outputs`, through the neck."""
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
                context_fn=lambda: (contextlib.nullcontext(), frozen_batchnorm_statistics(self)),
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
def frozen_batchnorm_statistics(module: nn.Module) -> Iterator[None]:
    """While it lasts, a forward pass leaves the running statistics of BatchNorm as they are.

    For a pass that is computed a second time.
    """
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

    With ``stop`` beside them, where it is given.

    Args:
        common: Configs that all branches start from.
        changes: Per branch, what differs; merged as MMEngine merges a child config. None:
            nothing.
        num_branches: T, how many there are.

    Raises:
        ValueError: T is no number of branches, or there is not one dict of changes for each; a
            change is not of one of these, or no dict.
    """
    checked_whole(num_branches, 'head.num_branches', least=1, most=MOST_BRANCHES)
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
        change = copy.deepcopy(dict(change))  # merging takes "_delete_" out
        stop = change.pop('stop', None)
        unknown = set(change) - set(common)
        if unknown:
            raise ValueError(
                f'head.branches.{t} has {sorted(unknown, key=str)}: a branch can change '
                f'{[*common, "stop"]}, leave the rest out'
            )
        for name, value in change.items():
            checked_dict(value, f'head.branches.{t}.{name}', optional=name == 'neck')
        # what there is none of in common, a branch may have all the same
        added = {name: {} for name in change if common[name] is None and change[name] is not None}
        config = Config({**copy.deepcopy(common), **added})
        config.merge_from_dict(change)
        own = {key: config.get(key) for key in common}
        merged.append(own if stop is None else {**own, 'stop': stop})
    return merged


def check_own_methods(head: nn.Module, key: str) -> None:
    """Refuse a head whose own methods would never be called: OKDHPHead has them for all branches.

    Raises:
        TypeError: It does not leave them as they are in MMPose's heads.
    """
    for name in ('loss', 'predict', 'decode'):
        stock = (getattr(HeatmapHead, name), getattr(CPMHead, name))
        if getattr(type(head), name) not in stock:
            raise TypeError(
                f'{key}.type={type(head).__name__} has a {name}() of its own, which OKDHPHead '
                'would not call: give HeatmapHead, CPMHead, or a subclass that leaves loss(), '
                'predict() and decode() as they are'
            )
