"""A heatmap head that enlarges its feature by pixel shuffle."""

from __future__ import annotations

from typing import Optional

from mmpose.models.heads import HeatmapHead
from mmpose.registry import KEYPOINT_CODECS, MODELS
from torch import nn

from ..core.checks import LARGEST, built_by, checked_init, checked_whole, refusal

MOST_UPSAMPLES = 12
NO_LAYERS = dict(deconv_out_channels=None, deconv_kernel_sizes=None)


@MODELS.register_module()
class PixelShuffleHead(HeatmapHead):
    """Heatmap head with the decoder of MobilePose, which OKDHP's paper puts on light backbones.

    A 1 x 1 convolution to ``mid_channels``; then, as often as the map is doubled, a 3 x 3
    convolution to twice the channels, BatchNorm, ReLU and pixel shuffle (dense upsampling
    convolution, DUC: Wang et al., "Understanding Convolution for Semantic Segmentation",
    WACV 2018, https://arxiv.org/abs/1702.08502), which leaves half of the channels; a 1 x 1
    convolution to K. No convolution has a bias. Source:
    https://github.com/YuliangXiu/MobilePose, which reads coordinates from the maps by
    soft-argmax; OKDHP trains them as heatmaps.

    Convolutions before a BatchNorm are initialised by Kaiming's normal distribution, the last one
    as in ``HeatmapHead``.

    Args:
        in_channels (int): Of the backbone's last output.
        out_channels (int): K.
        mid_channels (int): Width of the decoder's first layer, a multiple of
            2 ^ ``num_upsamples``.
        num_upsamples (int): How many times the map is doubled.
        loss (dict): Config of the heatmap loss.
        decoder (dict, optional): Config of the codec that reads the heatmaps.

    Raises:
        ValueError: A setting out of its range.
    """

    kept_in_student = True  # MMPose has no such head: an exported student needs this class

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        mid_channels: int = 256,
        num_upsamples: int = 3,
        loss: dict = dict(type='KeypointMSELoss', use_target_weight=True),  # noqa: B006
        decoder: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ):
        checked_whole(in_channels, 'PixelShuffleHead.in_channels', 1, LARGEST)
        checked_whole(out_channels, 'PixelShuffleHead.out_channels', 1, LARGEST)
        checked_whole(mid_channels, 'PixelShuffleHead.mid_channels', 1, LARGEST)
        checked_whole(num_upsamples, 'PixelShuffleHead.num_upsamples', 1, MOST_UPSAMPLES)
        if mid_channels % 2**num_upsamples:
            give = f'give a multiple of {2**num_upsamples} (2 ^ num_upsamples)'
            raise refusal('PixelShuffleHead.mid_channels', mid_channels, give)
        built_by(MODELS, loss, 'PixelShuffleHead.loss')
        if decoder is not None:
            built_by(KEYPOINT_CODECS, decoder, 'PixelShuffleHead.decoder')
        checked_init(init_cfg, 'PixelShuffleHead.init_cfg')
        super().__init__(
            in_channels=mid_channels // 2**num_upsamples,
            out_channels=out_channels,
            final_layer=dict(kernel_size=1, bias=False),
            loss=loss,
            decoder=decoder,
            init_cfg=init_cfg,
            **NO_LAYERS,
        )
        self.in_channels = in_channels
        layers = [nn.Conv2d(in_channels, mid_channels, 1, bias=False)]
        for i in range(num_upsamples):
            width = mid_channels // 2**i
            layers += [
                nn.Conv2d(width, 2 * width, 3, padding=1, bias=False),
                nn.BatchNorm2d(2 * width),
                nn.ReLU(inplace=True),
                nn.PixelShuffle(2),
            ]
        self.deconv_layers = nn.Sequential(*layers)

    @property
    def default_init_cfg(self) -> list[dict]:
        """How layers are initialised if ``init_cfg`` does not say it."""
        last = dict(type='Normal', name='final_layer', std=0.001)
        return [
            dict(type='Kaiming', layer='Conv2d', override=last),
            dict(type='Constant', layer='BatchNorm2d', val=1),
        ]
