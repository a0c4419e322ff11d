"""Where a soft-argmax student's bump has to lie, given where its teacher's peak is.

Coordinates are in heatmap pixels, x of column 0 is 0; x and y are separate tensors (B, K).
"""

from __future__ import annotations

import torch
from torch import Tensor

SAMPLES = 8  # positions an axis, at least, from which the background is read

FLAT = 1e-3  # excess below which a map has no bump: float32 rounds the excess by about 1e-6

BEYOND = 4.0  # pixels beyond the border at which a demanded place counts for nothing any more


def highest_position(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Integer x and y of the highest value of maps (B, K, H, W), and the value; each (B, K)."""
    top, y = maps.amax(-1).max(-1)  # the row first: half the cost of a flat map's max
    row = maps.gather(2, y[..., None, None].expand(-1, -1, 1, maps.shape[-1]))
    return row.argmax(-1)[..., 0], y, top


def peak_position(maps: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Each heatmap's highest position, as it is and sub-pixel.

    The sub-pixel position is the vertex of the parabola through the logarithms of the highest
    value and its two neighbours along an axis, which is exact for a Gaussian on background 0. An
    axis along which the peak lies on the border keeps the whole number.

    Args:
        maps: Heatmaps (B, K, H, W).

    Returns:
        Integer x and y, sub-pixel x and y (within half a pixel of the former), and the highest
        value; each (B, K).
    """
    height, width = maps.shape[-2:]
    x, y, top = highest_position(maps)
    # the neighbours along x, then those along y, in the flat map
    steps = [torch.arange(-n, n + 1, 2 * n, device=maps.device) for n in (1, width)]
    others = (y * width + x)[..., None] + torch.cat(steps)
    values = maps.flatten(2).gather(2, others.clamp(0, height * width - 1))
    # <= 0; noise below 0.1 % of the peak says nothing
    ratios = (values / top.clamp(min=1e-12)[..., None]).clamp(1e-3, 1).log()
    before, after = ratios.unflatten(-1, (2, 2)).unbind(-1)
    offset = ((before - after) / (2 * (before + after)).clamp(max=-1e-6)).clamp(-0.5, 0.5)
    sub_x, sub_y = (
        at + shift * ((at > 0) & (at < size - 1))
        for at, size, shift in zip((x, y), (width, height), offset.unbind(-1))
    )
    return x, y, sub_x, sub_y, top


def softmax_maps(maps: Tensor, beta: float) -> Tensor:
    """Softmax over positions of beta times the maps, (B, K, H, W) like them."""
    return (beta * maps).flatten(2).softmax(-1).view(maps.shape)


def background(maps: Tensor) -> Tensor:
    """Background level (B, K) of maps (B, K, H, W): the median of a sparse grid of positions.

    At least 8 positions an axis where the map has them; exact if the bump covers less than half
    of them. A median over all positions would cost more than the rest of the loss.
    """
    step = max(1, min(maps.shape[-2:]) // SAMPLES)
    sample = maps[..., step // 2 :: step, step // 2 :: step].flatten(2)
    return sample.median(-1).values


def bump_excess(prob: Tensor) -> Tensor:
    r"""The bump's mass over the background's, :math:`\bar C - 1`, (B, K), at most 1e13.

    :math:`\bar C` is the mean over positions of exp(z - b), z the logits and b their background
    level. It is the softmax's mean over its background, so that the softmax's own shift by the
    largest logit keeps it finite. (The mean is 1 / (H W) but for rounding, 4e-6 of it in
    float32, which is divided out: at an excess of 0.008 it stood for 0.02 pixels.)
    0 for a flat map; below 0 if there are holes, not a bump.

    Args:
        prob: softmax(z), (B, K, H, W).
    """
    mean = prob.mean((2, 3))
    return mean / torch.maximum(background(prob), 1e-13 * mean) - 1


def unbiased_centre(
    x: Tensor, y: Tensor, excess: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    r"""Where a bump lies in a map whose soft-argmax is (x, y).

    With a background of 0, the expectation of softmax(z) is drawn to the map's middle
    :math:`\mu`: :math:`E = p + (\mu - p) / \bar C`. Solved for the bump's place,

    .. math:: p = \frac{\bar C}{\bar C - 1} \left(E - \frac{\mu}{\bar C}\right)
                = E + \frac{E - \mu}{\bar C - 1}

    It is the centre of mass of exp(z) - 1, hence the place of a bump that lies wholly in the
    map. A bump cut by the border has its remaining mass further inside, and E further still,
    so that p is always nearer to the bump than E is.

    E itself is returned (our choice) if the map is flat (excess below 1e-3), and as p leaves the
    map: no bump of this mass has such an expectation. Between 0 and 4 pixels beyond the border,
    p put on the border goes over to E linearly, so that the centre does not jump.

    Args:
        x, y: The expectation E (B, K).
        excess: :math:`\bar C - 1`, (B, K), see :func:`bump_excess`.
        size: W, H.

    Returns:
        x and y of p, (B, K), in the map if E is.
    """
    step = 1 / excess.clamp(min=FLAT)
    last = [n - 1 for n in size]
    demanded = [torch.addcmul(e, e - n / 2, step) for e, n in zip((x, y), last)]
    inside = [p.clamp(0, n) for p, n in zip(demanded, last)]
    beyond = torch.maximum(*[(p - q).abs() for p, q in zip(demanded, inside)])
    trust = (1 - beyond / BEYOND).clamp(min=0) * (excess >= FLAT)
    x, y = (torch.addcmul(e, trust, p - e) for e, p in zip((x, y), inside))
    return x, y


def released_centre(
    x: Tensor, y: Tensor, sum_exp: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    r"""The release's centre: :math:`c / (c - 1) (t - 1 / (2 c))` towards zero, c = sum exp(s).

    Rearranged to :math:`t + (t - 1/2) / (c - 1)`, which float32 cannot round below t. For any c
    of at least max(W, H) it is t itself. Put into the map (our choice: the release reads
    elsewhere).

    Args:
        x, y: Integer teacher positions (B, K).
        sum_exp: c (B, K), may be infinite.
        size: W, H.
    """
    rest = sum_exp - 1
    x, y = ((t + (t - 0.5) / rest).clamp(0, n - 1).long() for t, n in zip((x, y), size))
    return x, y
