"""Maps with bumps, and the settings of HHDLoss that most tests run through."""

import torch

MODES = [dict(mode='released'), dict(beta=10.0), dict(beta=10.0, window='bilinear')]

NAMES = ['released', 'aligned', 'bilinear']


def gaussian(x, y, size=(64, 64), sigma=2.0, dtype=torch.float64):
    """Bumps of height 1 at x, y (...); maps (..., H, W)."""
    width, height = size
    columns = torch.arange(width, dtype=torch.float64)
    rows = torch.arange(height, dtype=torch.float64)[:, None]
    x, y = (torch.as_tensor(v, dtype=torch.float64)[..., None, None] for v in (x, y))
    return torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2)).to(dtype)


def soft_argmax(logits):
    """x and y (...) of maps (..., H, W)."""
    prob = logits.double().flatten(-2).softmax(-1).view(logits.shape)
    height, width = logits.shape[-2:]
    columns, rows = (torch.arange(n, dtype=torch.float64) for n in (width, height))
    return (prob.sum(-2) * columns).sum(-1), (prob.sum(-1) * rows).sum(-1)


def random_maps(seed, shape=(2, 3, 16, 12), dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64).to(dtype)
