"""Weights by formula, and costs of networks."""

import torch
from torch import nn


def by_formula(model):
    """Give a model weights that follow from a layer's place: waves, of about the usual sizes."""
    for i, value in enumerate(model.state_dict().values()):
        if not value.is_floating_point():
            continue
        steps = torch.arange(value.numel(), dtype=torch.float64).reshape(value.shape)
        wave = torch.sin(1.3 * steps + 0.7 * i)
        if value.ndim > 1:
            wave = wave * value[0].numel() ** -0.5 * 1.5
        elif value.min() == value.max() == 1:  # a norm's factors and variances
            wave = 1 + 0.3 * wave
        else:
            wave = 0.1 * wave
        value.copy_(wave)
    return model


def macs(model, size):
    """Multiplications with weights of the convolutions, for one picture of (width, height).

    On the meta device: nothing is computed.
    """
    counted = []

    def count(layer, inputs, output):
        counted.append(output.numel() * layer.weight[0].numel())

    hooks = [
        layer.register_forward_hook(count)
        for layer in model.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    with torch.no_grad():
        model.eval()(torch.empty(1, 3, size[1], size[0], device='meta'))
    for hook in hooks:
        hook.remove()
    return sum(counted)
