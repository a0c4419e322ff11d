"""What the FAU costs in each form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional

import torch
from mmpose.registry import MODELS
from torch import Tensor, nn

from mmpose_kd.okdhp.fau import FORMS

from .models import Network, build, hourglass, macs, random_batch, step_of
from .report import table
from .timing import Bench


def fau_table(bench: Bench, network: Optional[Network] = None) -> str:
    """The FAU of the half shared 2-stack hourglass, alone and in a step."""
    network = network or hourglass()
    feature, heatmaps = fau_inputs(network, bench.device)
    sizes = dict(
        in_channels=feature.shape[1],
        num_branches=heatmaps.shape[1],
        num_keypoints=heatmaps.shape[2],
    )
    faus = {
        form: MODELS.build(dict(type='FAU', form=form, **sizes)).to(bench.device)
        for form in FORMS
    }  # fmt: skip
    steps = {
        f'step with {form}': step_of(
            network, network.okdhp(fau=dict(type='FAU', form=form)), bench.device
        )
        for form in FORMS
    }
    alone = {form: forward_backward(fau, feature, heatmaps) for form, fau in faus.items()}
    times = bench.interleaved({**alone, **steps})
    return table(
        'The FAU in each form',
        f'Forward and backward on a feature of {tuple(feature.shape)}, three branches, and its '
        'share of the step of the half shared 2-stack hourglass.',
        ('form', 'GMAC an image', 'ms', 'share of the step', 'step, ms'),
        [
            (
                form,
                f'{forward_macs(fau, feature, heatmaps) / 1e9:.3g}',
                f'{times.ms(form):.1f}',
                f'{100 * times.ratio(form, f"step with {form}"):.1f} %',
                f'{times.ms(f"step with {form}"):.0f}',
            )
            for form, fau in faus.items()
        ],
    )


def fau_inputs(network: Network, device: str) -> tuple[Tensor, Tensor]:
    """A feature (B, C, H, W) and heatmaps (B, T, K, H', W') that want gradients."""
    model = build(network.okdhp(), device)
    images, _ = random_batch(network, device)
    with torch.no_grad():
        feats = model.extract_feat(images)
        heatmaps = torch.stack(model.head.forward_branches(feats), dim=1)
        feature = feats.steps[model.head.fau_input].clone()
    return feature.requires_grad_(), heatmaps.requires_grad_()


def forward_backward(fau: nn.Module, feature: Tensor, heatmaps: Tensor) -> Callable[[], None]:
    """The FAU's part of a step."""

    def run() -> None:
        fau.zero_grad(set_to_none=True)
        feature.grad = heatmaps.grad = None
        ensemble, _ = fau(feature, heatmaps)
        ensemble.sum().backward()

    return run


def forward_macs(fau: nn.Module, feature: Tensor, heatmaps: Tensor) -> int:
    """Multiply-accumulates of a forward pass with the first image."""
    feature, heatmaps = feature[:1].detach(), heatmaps[:1].detach()
    return macs(lambda: fau(feature, heatmaps))
