"""Kullback-Leibler divergence between two sets of heatmaps, seen as distributions."""

from __future__ import annotations

from typing import Optional

from mmpose.registry import MODELS
from torch import Tensor

from ..core.checks import checked_bool, checked_choice, checked_factor
from ..core.loss import DistillationLoss, scaled, softmax_kl, upcast

NORMALIZE = ('none', 'peak', 'standard')

DIVISOR = ('elements', 'keypoints', 'positions')


def heatmap_kl(
    student: Tensor,
    teacher: Tensor,
    target_weight: Optional[Tensor] = None,
    temperature: float = 1.0,
    normalize: str = 'none',
    divisor: str = 'elements',
    weigh_maps: bool = False,
) -> Tensor:
    r"""KL(teacher || student) of softmax distributions over the positions of each heatmap.

    With :math:`q = softmax(x / \tau)` over the H W positions of one keypoint's map,

    .. math:: L = \frac{\tau^2}{D} \sum_{b, k} w_{bk} \sum_i q^t_i (\log q^t_i - \log q^s_i)

    The factor :math:`\tau^2` keeps the size of the gradient from growing as
    :math:`1 / \tau^2` (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015);
    at temperature 1 it is absent, as in the OKDHP release.

    Args:
        student: Heatmaps (B, K, H, W), any range.
        teacher: Heatmaps (B, K, H, W). Not detached here: that is the caller's visible line.
        target_weight: Weight of each keypoint (B, K), 0 for an unlabelled one. None: all 1.
        temperature: :math:`\tau > 0`, in heatmap units. Ground-truth heatmaps peak at 1, so at
            temperature 1 a softmax over thousands of positions is nearly uniform.
        normalize: What is done to both maps first. ``'none'``; ``'peak'``: divided by the
            teacher map's maximum (at least 0.1, so that an untrained map is not blown up);
            ``'standard'``: each map minus its mean, divided by its standard deviation (at
            least 0.01). The divisors are constants for the gradient.
        divisor: D. ``'elements'``: B K H W, as in a mean squared error, so that the proportion
            of the two does not depend on K; ``'keypoints'``: B K, the
            mean over maps; ``'positions'``: B H W, as in the OKDHP release.
        weigh_maps: As in the OKDHP release, multiply the weight to both maps before the
            softmax rather than to each keypoint's divergence. The same for weights of 0 and 1:
            a weight of 0 makes both maps flat, and flat maps do not differ.

    Returns:
        A scalar, computed in float32 at least.
    """
    student, teacher = upcast(student), upcast(teacher)
    batch, num_keypoints, height, width = student.shape
    student, teacher = student.flatten(2), teacher.flatten(2)  # (B, K, H W)
    if normalize == 'peak':
        peak = teacher.detach().amax(-1, keepdim=True).clamp(min=0.1)
        student, teacher = student / peak, teacher / peak
    elif normalize == 'standard':
        student, teacher = _standard(student), _standard(teacher)

    if weigh_maps and target_weight is not None:
        student, teacher = (x * target_weight[..., None].to(x.dtype) for x in (student, teacher))
        target_weight = None
    kl = softmax_kl(student / temperature, teacher / temperature)  # (B, K)
    if target_weight is not None:
        kl = kl * target_weight.to(kl.dtype)
    count = {
        'elements': batch * num_keypoints * height * width,
        'keypoints': batch * num_keypoints,
        'positions': batch * height * width,
    }[divisor]
    return kl.sum() * (temperature**2 / count)


def _standard(maps: Tensor) -> Tensor:
    """Each map (..., H W) minus its mean, divided by its standard deviation."""
    std = maps.detach().std(-1, unbiased=False, keepdim=True).clamp(min=0.01)
    return (maps - maps.mean(-1, keepdim=True)) / std


@MODELS.register_module()
class HeatmapKLLoss(DistillationLoss):
    """:func:`heatmap_kl` with its settings.

    Args:
        temperature (float): See :func:`heatmap_kl`. Must be above 0.
        normalize (str): ``'none'``, ``'peak'`` or ``'standard'``.
        divisor (str): ``'elements'``, ``'keypoints'`` or ``'positions'``.
        weigh_maps (bool): Weigh the maps instead of their divergence, as the OKDHP release.
        use_target_weight (bool): Weigh each keypoint; False ignores the weights.
        loss_weight (float): Factor of the loss, at least 0.

    Raises:
        ValueError: A setting out of its range.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        normalize: str = 'none',
        divisor: str = 'elements',
        weigh_maps: bool = False,
        use_target_weight: bool = True,
        loss_weight: float = 1.0,
    ):
        super().__init__(use_target_weight, loss_weight)
        self.temperature = checked_factor(temperature, f'{self.key}.temperature')
        self.normalize = checked_choice(normalize, f'{self.key}.normalize', NORMALIZE)
        self.divisor = checked_choice(divisor, f'{self.key}.divisor', DIVISOR)
        self.weigh_maps = checked_bool(weigh_maps, f'{self.key}.weigh_maps')

    def forward(
        self, student: Tensor, teacher: Tensor, target_weight: Optional[Tensor] = None
    ) -> Tensor:
        """The weighted loss, a scalar; arguments as in :func:`heatmap_kl`."""
        loss = heatmap_kl(
            student,
            teacher,
            self.used(target_weight),
            temperature=self.temperature,
            normalize=self.normalize,
            divisor=self.divisor,
            weigh_maps=self.weigh_maps,
        )
        return scaled(loss, self.loss_weight)
