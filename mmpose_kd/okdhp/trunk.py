"""The part of a backbone that all branches of an online-distillation head share."""

from __future__ import annotations

from mmengine.model import BaseModule
from mmpose.registry import MODELS
from torch import Tensor

from .splits import State, backbone_steps, build_piece, run_steps


class TrunkFeatures(tuple):
    """What :class:`SharedTrunk` hands to the head: not a list of feature maps.

    It is a tuple so that it passes wherever MMPose passes features on, but it cannot be
    indexed: a neck or a stock head in between would silently work on the wrong thing.

    Attributes:
        steps (dict[str, Tensor | tuple[Tensor, ...]]): Output of each shared step, in order;
            the last one is what the tails go on from. Maps of shape (B, C, H, W).
        outputs (tuple[Tensor, ...]): Entries of the stock backbone's output that were
            already produced by shared steps.
        source (str): Tells from which backbone config and split this came.
    """

    steps: dict[str, State]
    outputs: tuple[Tensor, ...]
    source: str

    def __new__(cls, steps: dict[str, State], outputs: tuple[Tensor, ...], source: str):
        self = super().__new__(cls, (source,))
        self.steps, self.outputs, self.source = steps, outputs, source
        return self

    def _refuse(self, *_):
        raise TypeError(
            'model.backbone is a SharedTrunk, whose output only a head like OKDHPHead can read: '
            'give a stock head in model.head.head, and a neck in model.head.neck instead of '
            'model.neck'
        )

    __getitem__ = __iter__ = _refuse

    @property
    def state(self) -> State:
        """Output of the last shared step."""
        return self.steps[next(reversed(self.steps))]


def trunk_source(backbone: dict, split: str) -> str:
    """A line that is equal for a trunk and a head which are cut from the same backbone.

    ``init_cfg`` is left out: where weights start from does not change what fits together.
    """
    structure = {k: v for k, v in sorted(backbone.items()) if k not in ('init_cfg', '_scope_')}
    return f'split={split!r}, backbone={structure}'


@MODELS.register_module()
class SharedTrunk(BaseModule):
    """A stock backbone up to a split point, run once for all branches.

    Takes the place of ``model.backbone``; the other side of the cut lives in the head
    (:class:`OKDHPHead`), once per branch. Parameters have the names of the stock backbone.

    Args:
        backbone (dict): Config of a stock MMPose backbone, unchanged. Supported: ``HRNet``,
            ``LiteHRNet``, ``HourglassNet``, ``StackedHourglass``, ``ResNet`` and its
            kin, ``MobileNetV2``, ``ShuffleNetV2``.
        split (str): The last shared step: ``'stem'``, ``'stageN'`` (``'stackN'`` of an
            hourglass), or ``'end'`` for the whole backbone.

    Raises:
        ValueError: ``split`` is not a step of this backbone.
        TypeError: This type of backbone cannot be split.
    """

    def __init__(self, backbone: dict, split: str):
        super().__init__()
        stock, self._kept = build_piece(backbone, split, shared=True)
        self.source = trunk_source(backbone, split)
        # The trunk *is* the pruned stock module, seen through another forward. Both share one
        # table of children, so that names are stock and a layer swapped in one (SyncBN
        # conversion, say) is swapped in the other; hence the stock module is not a child.
        object.__setattr__(self, '_stock', stock)
        self._modules = stock._modules

    @property
    def structure(self) -> str:
        """The layers of the shared steps, in writing: equal for trunks with the same weights."""
        paths = [path for step in backbone_steps(self._stock)[self._kept] for path in step.modules]
        return '\n'.join(f'{path}: {self._stock.get_submodule(path)}' for path in paths)

    def init_weights(self):
        """Initialise as the stock backbone does, a ``Pretrained`` checkpoint included."""
        if hasattr(self, '_params_init_info'):
            self._stock._params_init_info = self._params_init_info
        self._stock.init_weights()
        self._is_init = True
        self._stock.__dict__.pop('_params_init_info', None)

    def train(self, mode: bool = True):
        """As in the stock backbone: frozen stages and ``norm_eval`` are respected."""
        super().train(mode)
        self._stock.train(mode)
        return self

    def forward(self, inputs: Tensor) -> TrunkFeatures:
        """Run the shared steps.

        Args:
            inputs: Images (B, C, H, W), of 3 channels if the backbone's config does not say
                otherwise, normalised by the data preprocessor.

        Returns:
            The outputs of all shared steps.
        """
        steps, outputs = run_steps(self._stock, self._kept, inputs)
        return TrunkFeatures(steps, outputs, self.source)
