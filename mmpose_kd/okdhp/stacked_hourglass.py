"""The stacked hourglass that OKDHP's paper trains: heatmaps go on into the next stack."""

from __future__ import annotations

from typing import Optional

from mmengine.model import BaseModule, ModuleList
from mmpose.registry import MODELS
from torch import Tensor, nn

from ..core.checks import LARGEST, checked_init, checked_whole, refusal

MOST_STACKS = 100
MOST_HALVINGS = 12  # of a map of LARGEST / 4
STEM_STRIDE = 4


@MODELS.register_module()
class StackedHourglass(BaseModule):
    """Stacked hourglass of pre-activation bottlenecks that feeds its heatmaps back.

    Newell, Yang, Deng, "Stacked Hourglass Networks for Human Pose Estimation", ECCV 2016,
    https://arxiv.org/abs/1603.06937, in the common form with one residual block at each place and
    half the width; so OKDHP's release has it. MMPose's ``HourglassNet`` is another network: a
    CornerNet hourglass of 17 M weights a stack or more, without heatmaps between the stacks.

    With 256 channels and K = 16, as OKDHP trains it, n stacks weigh 3.6 M (1), 6.7 M (2),
    13.0 M (4) and 25.6 M (8); 4 stacks take 15.4 GMAC at 256 x 256.

    Since each stack needs the heatmaps of the one before, the layers that make them are the
    backbone's, and its outputs are heatmaps. The head that fits is MMPose's ``CPMHead`` without
    layers: ``dict(type='CPMHead', in_channels=K, out_channels=K, num_stages=num_stacks,
    deconv_out_channels=None, final_layer=None, ...)``.

    Layers are initialised as torch does it, as in the release.

    Args:
        out_channels (int): K.
        num_stacks (int): How many hourglasses follow one another.
        downsample_times (int): How many times an hourglass halves its map.
        feat_channels (int): Channels between the stacks, a multiple of 4. Bottlenecks have half
            of them inside, the stem's first layer a quarter.
        in_channels (int): Of the pictures.

    Raises:
        ValueError: A setting out of its range.
    """

    kept_in_student = True  # MMPose has no such backbone: an exported student needs this class

    def __init__(
        self,
        out_channels: int,
        num_stacks: int = 4,
        downsample_times: int = 4,
        feat_channels: int = 256,
        in_channels: int = 3,
        init_cfg: Optional[dict] = None,
    ):
        super().__init__(checked_init(init_cfg, 'StackedHourglass.init_cfg'))
        checked_whole(out_channels, 'StackedHourglass.out_channels', 1, LARGEST)
        checked_whole(num_stacks, 'StackedHourglass.num_stacks', 1, MOST_STACKS)
        checked_whole(downsample_times, 'StackedHourglass.downsample_times', 1, MOST_HALVINGS)
        checked_whole(feat_channels, 'StackedHourglass.feat_channels', 4, LARGEST)
        checked_whole(in_channels, 'StackedHourglass.in_channels', 1, LARGEST)
        if feat_channels % 4:
            raise refusal('StackedHourglass.feat_channels', feat_channels, 'give a multiple of 4')
        self.num_stacks = num_stacks
        quarter, half = feat_channels // 4, feat_channels // 2
        self.stem = nn.Sequential(  # to a quarter of the picture's sides
            nn.Conv2d(in_channels, quarter, 7, stride=2, padding=3),
            nn.BatchNorm2d(quarter),
            nn.ReLU(inplace=True),
            Bottleneck(quarter, half),
            nn.MaxPool2d(2),
            Bottleneck(half, feat_channels),
            Bottleneck(feat_channels, feat_channels),
        )
        self.stacks = ModuleList(
            Stack(feat_channels, downsample_times, out_channels) for _ in range(num_stacks)
        )
        self.feedbacks = ModuleList(
            Feedback(feat_channels, out_channels) for _ in range(num_stacks - 1)
        )

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Heatmaps of every stack.

        Args:
            inputs: Images (B, C, H, W), normalised by the data preprocessor.

        Returns:
            ``num_stacks`` heatmaps (B, K, H / 4, W / 4), in order.

        Raises:
            ValueError: H or W is no multiple of 4 x 2 ^ ``downsample_times``.
        """
        x = self.stem(inputs)
        outputs = []
        for i, stack in enumerate(self.stacks):
            feature, heatmaps = stack(x)
            outputs.append(heatmaps)
            if i < len(self.feedbacks):
                x = self.feedbacks[i](x, feature, heatmaps)
        return tuple(outputs)


class Bottleneck(BaseModule):
    """Pre-activation bottleneck: BatchNorm, ReLU and convolution, three times, beside a shortcut.

    Args:
        in_channels: Of the input. Another number than ``out_channels`` puts a 1 x 1 convolution
            into the shortcut.
        out_channels: Of the output; half of them inside.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        inside = out_channels // 2
        widths = [in_channels, inside, inside, out_channels]
        layers = []
        for before, after, size in zip(widths, widths[1:], (1, 3, 1)):
            layers += [
                nn.BatchNorm2d(before),
                nn.ReLU(inplace=True),
                nn.Conv2d(before, after, size, padding=size // 2),
            ]
        self.layers = nn.Sequential(*layers)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ``in_channels``, H, W) to (B, ``out_channels``, H, W)."""
        return self.shortcut(x) + self.layers(x)


class Hourglass(BaseModule):
    """Down to half the map and up again, around a smaller hourglass, beside a bottleneck.

    Args:
        channels: Of input and output.
        depth: How many times the map is halved, at least once.
    """

    def __init__(self, channels: int, depth: int):
        super().__init__()
        self.skip = Bottleneck(channels, channels)
        self.down = nn.Sequential(nn.MaxPool2d(2), Bottleneck(channels, channels))
        inner = Hourglass(channels, depth - 1) if depth > 1 else Bottleneck(channels, channels)
        self.inner = inner
        self.up = nn.Sequential(Bottleneck(channels, channels), nn.Upsample(scale_factor=2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return self.skip(x) + self.up(self.inner(self.down(x)))


class Stack(BaseModule):
    """An hourglass, a bottleneck and a 1 x 1 layer, from whose output the heatmaps are made.

    Args:
        channels: C of input and feature.
        depth: Of the hourglass.
        num_keypoints: K.
    """

    def __init__(self, channels: int, depth: int, num_keypoints: int):
        super().__init__()
        self.divisor = 2**depth
        self.layers = nn.Sequential(
            Hourglass(channels, depth),
            Bottleneck(channels, channels),
            nn.Conv2d(channels, channels, 1),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        self.score = nn.Conv2d(channels, num_keypoints, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) to a feature (B, C, H, W) and heatmaps (B, K, H, W)."""
        height, width = x.shape[-2:]
        if height % self.divisor or width % self.divisor:
            sides = STEM_STRIDE * self.divisor
            size = (STEM_STRIDE * width, STEM_STRIDE * height)
            give = f'this backbone needs sides that are multiples of {sides}, give such a size'
            raise refusal('codec.input_size', size, give)
        feature = self.layers(x)
        return feature, self.score(feature)


class Feedback(BaseModule):
    """What the next stack gets: this one's input, feature and heatmaps, added up.

    Args:
        channels: C of the feature.
        num_keypoints: K.
    """

    def __init__(self, channels: int, num_keypoints: int):
        super().__init__()
        self.of_feature = nn.Conv2d(channels, channels, 1)
        self.of_heatmaps = nn.Conv2d(num_keypoints, channels, 1)

    def forward(self, x: Tensor, feature: Tensor, heatmaps: Tensor) -> Tensor:
        """Input and feature (B, C, H, W) and heatmaps (B, K, H, W) to (B, C, H, W)."""
        return x + self.of_feature(feature) + self.of_heatmaps(heatmaps)
