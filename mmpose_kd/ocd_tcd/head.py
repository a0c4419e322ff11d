"""OCD: a heatmap head on the same feature teaches a light head, in one training."""

from __future__ import annotations

import copy
from typing import Optional, Union

import torch
from mmengine.model import ModuleDict
from mmpose.codecs import MSRAHeatmap
from mmpose.models.heads import BaseHead, HeatmapHead
from mmpose.registry import MODELS
from torch import Tensor, nn

from ..core.capture import returned_by
from ..core.checks import (
    built_by,
    check_keypoint_count,
    checked_bool,
    checked_choice,
    checked_weight,
    refusal,
)
from ..core.deployed import Deployed
from ..core.finite import LossGuard, idle_loss
from ..core.gradient_balance import GradientBalance
from ..core.head_output import (
    attach_prediction,
    bfloat16_explained,
    in_channels_explained,
    num_keypoints,
    prediction,
    taught_weights,
)
from ..core.loading import look_at_load_from
from ..core.loss import scaled, sum_of_losses
from ..core.panels import Panel, View, heatmap_panel, panel_of
from ..core.paramwise import compare_paramwise
from ..core.schedule import Schedule
from .codec import heatmap_samples
from .representation import representation_of

CROSS = dict(coordinates='CrossCoordinateLoss', bins='CrossSimCCLoss')

CROSS_WEIGHT = dict(coordinates=10.0, bins=1.0)  # measured, see docs/ocd.md

ASSISTANT = dict(
    coordinates=dict(type='SmoothL1Loss', use_target_weight=True),
    bins=dict(type='SimCCKLLoss', use_target_weight=True),
)


@MODELS.register_module()
class OCDHead(BaseHead):
    r"""A light head that is deployed, and a heatmap head that teaches it while both are trained.

    Liu et al., "Boosting Pose Estimators via Cross-Representation Distillation", ECCV Workshops
    2024, https://doi.org/10.1007/978-3-031-91575-8_21. OUR RECONSTRUCTION: the abstract names the
    two terms below (the task loss as distillation loss, and a loss across representations) and a
    downsized head; formulas and weights could not be had. With the shared feature f, the
    deployed head :math:`g`, the heatmap head :math:`h`, labels y and heatmaps H*:

    .. math::
        L = L_{task}(g(f), y) + \lambda_t c L_{heatmap}(h(f), H^*)
            + \lambda_c r(e) L_{cross}(g(f), h(f))

    Both heads' own losses are stock ones and reach f. In the cross loss the heatmap is a
    constant. c is :class:`GradientBalance`; of several features f is the one that both heads
    read. Labels come from :class:`CrossRepresentationLabel`.
    With an ``assistant``, a bigger head of the deployed one's kind learns the task as well and
    teaches the deployed one its outputs.

    The deployed head is run once in each step. With :math:`\lambda_t = \lambda_c = 0` (and no
    assistant) losses and gradients are those of the plain model to the last bit.

    Args:
        deploy (dict): ``head``: config of the deployed stock head (``RegressionHead``,
            ``RLEHead``, ``IntegralRegressionHead``, ``DSNTHead``, ``SimCCHead``, ``RTMCCHead``);
            ``neck``: config of its neck, such as ``GlobalAveragePooling``, which must not stand
            in the model, as the heatmap head needs the feature before it. None: no neck.
        heatmap (dict): Config of a stock ``HeatmapHead`` or of a subclass, dropped at export.
        cross (dict, optional): Config of the cross loss: ``CrossCoordinateLoss`` or
            ``CrossHeatmapLoss`` for coordinates (of RLE they teach mu alone), ``CrossSimCCLoss``
            for bins. None: the first that fits.
        heatmap_weight (float): :math:`\lambda_t \ge 0`.
        detach_feature (bool): The heatmap head learns, but f does not learn from it: of the two
            terms only the cross loss remains, for comparison. There is nothing to balance then.
        balance (dict | bool): Settings of :class:`GradientBalance`; True: its defaults; False:
            c = 1, so that ``heatmap_weight`` is the plain factor of the heatmap loss.
        cross_weight (float, optional): :math:`\lambda_c \ge 0`. None: 10 for coordinates, 1 for
            bins, ours.
        cross_schedule (dict, optional): Arguments of :class:`Schedule`: r(e).
        assistant (dict, optional): Config of a head of the deployed one's kind, dropped at
            export. It sees what the deployed head sees, its neck's output.
        assistant_weight (float): Factor of its teaching, SmoothL1 on coordinates, KL on bins.
        assistant_schedule (dict, optional): As ``cross_schedule``.
        non_finite (str): ``'stop'`` or ``'skip'``: what is done with a loss besides the deployed
            head's that is NaN or infinite, see :class:`LossGuard`.

    The ``test_cfg`` of the model may have ``branch``: ``'deploy'`` (the default), ``'heatmap'``,
    ``'assistant'``, or ``'all'``, which predicts with the deployed head and adds every head's
    predictions to the data samples for :class:`BranchMetricsHook`.

    Raises:
        ValueError: A setting is out of range, or heads do not fit together.
    """

    def __init__(
        self,
        deploy: dict,
        heatmap: dict,
        cross: Optional[dict] = None,
        heatmap_weight: float = 1.0,
        detach_feature: bool = False,
        balance: Union[dict, bool] = True,
        cross_weight: Optional[float] = None,
        cross_schedule: Optional[dict] = None,
        assistant: Optional[dict] = None,
        assistant_weight: float = 1.0,
        assistant_schedule: Optional[dict] = None,
        non_finite: str = 'stop',
        init_cfg: Optional[dict] = None,
    ):
        if init_cfg is not None:
            raise refusal('head.init_cfg', init_cfg, 'give it in head.deploy.head')
        super().__init__()
        self._test_cfg: dict = {}
        self.guard = LossGuard(non_finite, 'head')
        give = 'give dict(neck=None or a config, head=...)'
        if not isinstance(deploy, dict) or deploy.get('head') is None:
            raise refusal('head.deploy', deploy, give)
        for name in deploy.keys() - {'neck', 'head'}:
            raise refusal(f'head.deploy.{name}', deploy[name], f'nothing reads it, {give}')
        self.heatmap_weight = checked_weight(heatmap_weight, 'head.heatmap_weight')
        self.detach_feature = checked_bool(detach_feature, 'head.detach_feature')
        self.assistant_weight = checked_weight(assistant_weight, 'head.assistant_weight')
        self.cross_schedule = Schedule.build(cross_schedule, 'head.cross_schedule')
        self.assistant_schedule = Schedule.build(assistant_schedule, 'head.assistant_schedule')

        self.deploy_config = copy.deepcopy(dict(deploy))
        parts = [name for name in ('neck', 'head') if deploy.get(name) is not None]
        self.deploy = ModuleDict(
            {name: built_by(MODELS, deploy[name], f'head.deploy.{name}') for name in parts}
        )
        self.kind = representation_of(self.deploy['head'], 'head.deploy.head')
        self.cross_weight = self._cross_weight(cross_weight)
        # the deployed part gets the random numbers that it would get alone
        with torch.random.fork_rng(devices=[]):
            self.heatmap = self._heatmap_head(heatmap)
            self.cross = self._cross_loss(cross)
            built = GradientBalance.build(balance, 'head.balance')
            self.balance = None if self.heatmap_weight == 0 or detach_feature else built
            self.assistant = None if assistant is None else self._assistant(assistant)
        for part, weight in (
            (self.heatmap, self.heatmap_weight),
            (self.assistant, self.assistant_weight),
        ):
            if part is not None and weight == 0:
                part.requires_grad_(False)  # it is not run: else DDP would wait for its gradients

    def _cross_weight(self, weight: Optional[float]) -> float:
        weight = CROSS_WEIGHT[self.kind] if weight is None else weight
        if checked_weight(weight, 'head.cross_weight') > 0 and self.heatmap_weight == 0:
            raise ValueError(
                f'head.heatmap_weight=0 with head.cross_weight={weight!r}: the heatmap head would '
                'never learn what it teaches; give heatmap_weight > 0 or cross_weight=0'
            )
        return weight

    def _heatmap_head(self, config: dict) -> HeatmapHead:
        head = self._beside(config, 'head.heatmap')
        if not isinstance(head, HeatmapHead):
            give = 'give HeatmapHead or a subclass of it'
            raise refusal('head.heatmap.type', config['type'], give)
        if head.decoder is None:
            raise refusal('head.heatmap.decoder', None, 'give the codec of the heatmaps')
        return head

    def _cross_loss(self, config: Optional[dict]) -> nn.Module:
        config = dict(type=CROSS[self.kind]) if config is None else config
        loss = built_by(MODELS, config, 'head.cross')
        if not hasattr(loss, 'bind') or getattr(loss, 'same_shape', False):
            raise refusal('head.cross', config, f'give {CROSS[self.kind]}')
        loss.bind(self.deploy['head'], self.heatmap.decoder, 'head.heatmap.decoder')
        return loss

    def _assistant(self, config: dict) -> BaseHead:
        head = self._beside(config, 'head.assistant')
        if representation_of(head, 'head.assistant') != self.kind:
            give = f'give a head that predicts {self.kind}, as head.deploy.head does'
            raise refusal('head.assistant.type', config['type'], give)
        split, own = (
            getattr(h.decoder, 'simcc_split_ratio', None) for h in (head, self.deploy['head'])
        )
        if split != own:
            give = f'that of head.deploy.head is {own}: their bins must be the same'
            raise refusal('head.assistant.decoder.simcc_split_ratio', split, give)
        self.assistant_loss = MODELS.build(ASSISTANT[self.kind])
        if hasattr(self.assistant_loss, 'bind'):
            self.assistant_loss.bind(self.deploy['head'])
        return head

    def _beside(self, config: dict, key: str) -> BaseHead:
        """A head for the same keypoints as the deployed one."""
        head = built_by(MODELS, config, key)
        found, wanted = num_keypoints(head), num_keypoints(self.deploy['head'])
        check_keypoint_count(found, wanted, f'{key} has', 'head.deploy.head', 'give the same')
        return head

    def check_model(self, model: nn.Module) -> None:
        """Raise a ValueError if the model has a neck and the deployed head one of its own."""
        if 'neck' in self.deploy and getattr(model, 'neck', None) is not None:
            raise ValueError(
                'model.neck and model.head.deploy.neck are both given, and a stock model has one '
                'neck: set model.neck=None if the heatmap head is to see the feature before it, '
                'or head.deploy.neck=None if both heads are to see what model.neck makes of it'
            )

    def init_weights(self) -> None:
        """The deployed part as it would be alone, then the rest with random numbers of its own."""
        look_at_load_from()
        self.deploy.init_weights()
        with torch.random.fork_rng(devices=[]):
            for part in (self.heatmap, self.assistant):
                if part is not None:
                    part.init_weights()
        self._is_init = True

    # ---------------------------------------------------------------- settings

    @property
    def decoder(self):
        """The deployed head's codec."""
        return self.deploy['head'].decoder

    @property
    def num_joints(self) -> Optional[int]:
        """The deployed head's number of keypoints."""
        return num_keypoints(self.deploy['head'])

    @property
    def output_names(self) -> list[str]:
        """What ``branch='all'`` reports: heads that are trained."""
        names = ['deploy']
        if self.heatmap_weight > 0:
            names.append('heatmap')
        return names + ['assistant'] * self.assists

    @property
    def assists(self) -> bool:
        """Whether there is an assistant that is trained."""
        return self.assistant is not None and self.assistant_weight > 0

    @property
    def test_cfg(self) -> dict:
        """The model's ``test_cfg``, checked when the model is built."""
        return self._test_cfg

    @test_cfg.setter
    def test_cfg(self, test_cfg: dict) -> None:
        self._branch(test_cfg)
        self._test_cfg = test_cfg

    def _branch(self, test_cfg: dict) -> str:
        """Which head is to predict, or ``'all'``."""
        branches = (*self.output_names, 'all')
        return checked_choice(test_cfg.get('branch', 'deploy'), 'model.test_cfg.branch', branches)

    # ---------------------------------------------------------------- training

    def _necked(self, feats):
        """What the deployed head sees."""
        return self.deploy['neck'](feats) if 'neck' in self.deploy else feats

    def forward(self, feats: tuple[Tensor, ...]):
        """The deployed head's output."""
        return self.deploy['head'](self._necked(feats))

    def loss(self, feats, batch_data_samples, train_cfg: dict = {}) -> dict:  # noqa: B006
        """Losses of a batch.

        Args:
            feats (tuple[Tensor]): The backbone's output, feature maps (B, C, H, W).
            batch_data_samples (list[PoseDataSample]): With labels and heatmaps.
            train_cfg (dict): As in the stock heads.

        Returns:
            The deployed head's losses and accuracy under their stock names, ``loss_heatmap``,
            ``loss_cross``, with an assistant ``loss_assistant`` (its own) and
            ``loss_from_assistant``; and ``heatmap_factor``, :math:`\\lambda_t c`, for the log.
        """
        compare_paramwise(self, 'head.')
        if self.balance is not None and not isinstance(feats, Tensor) and len(feats) > 1:
            # one output of the backbone may be made of another: at these views the heads'
            # gradients alone arrive
            feats = tuple(f.view_as(f) for f in feats)
        necked = self._necked(feats)
        deployed = self.deploy['head']
        explained = in_channels_explained(deployed, necked, 'head.deploy.head')
        with explained, bfloat16_explained(), returned_by(deployed) as outputs:
            losses = dict(deployed.loss(necked, batch_data_samples, train_cfg))
        student = prediction(self.kind, outputs[-1])
        task = sum_of_losses(losses)
        cross_factor = self.cross_weight * self.cross_schedule.now()

        if self.heatmap_weight > 0:
            size = self.heatmap.decoder.heatmap_size
            targets, weight = heatmap_samples(batch_data_samples, size=size)
            features = [feats] if isinstance(feats, Tensor) else list(feats)
            if self.detach_feature:
                features = [f.detach() for f in features]
            explained = in_channels_explained(self.heatmap, features, 'head.heatmap')
            with explained, returned_by(self.heatmap) as maps:
                settings = {**train_cfg, 'compute_acc': False}
                own = self.heatmap.loss(tuple(features), targets, settings)
            heatmap_loss = sum_of_losses(own)
            if self.balance is None:
                factor = heatmap_loss.detach().new_full((), self.heatmap_weight)
            else:
                factor = self.balance(task, heatmap_loss, features)
                factor = factor if self.heatmap_weight == 1 else factor * self.heatmap_weight
            losses['loss_heatmap'] = factor * heatmap_loss
            losses['heatmap_factor'] = factor.detach()
            if cross_factor > 0:
                teacher = maps[-1].detach()
                losses['loss_cross'] = scaled(self.cross(student, teacher, weight), cross_factor)
            else:
                losses['loss_cross'] = task.new_zeros(())

        if self.assists:
            losses.update(self._assistant_losses(necked, batch_data_samples, train_cfg, student))
        ours = ('loss_heatmap', 'loss_cross', 'loss_assistant', 'loss_from_assistant')
        parts = self.heatmap, self.assistant
        self.guard(losses, [n for n in ours if n in losses], task, lambda _: idle_loss(*parts))
        return losses

    def _assistant_losses(self, necked, samples, train_cfg: dict, student) -> dict:
        explained = in_channels_explained(self.assistant, necked, 'head.assistant')
        with explained, returned_by(self.assistant) as outputs:
            own = sum_of_losses(self.assistant.loss(necked, samples, train_cfg))
        output = prediction(self.kind, outputs[-1])
        factor = self.assistant_weight * self.assistant_schedule.now()
        if factor == 0:
            return {'loss_assistant': own, 'loss_from_assistant': own.new_zeros(())}
        weight = taught_weights(samples)
        if self.kind == 'bins':
            teacher = tuple(axis.detach() for axis in output)
            taught = self.assistant_loss(student, teacher, weight)
        else:
            teacher = output[..., :2].detach()
            taught = self.assistant_loss(student[..., :2], teacher, weight[..., None])
        return {'loss_assistant': own, 'loss_from_assistant': scaled(taught, factor)}

    # -------------------------------------------------------------- prediction

    def predict(self, feats, batch_data_samples, test_cfg: dict = {}):  # noqa: B006
        """Predictions of the head that ``test_cfg.branch`` names, as this stock head gives them.

        Args:
            feats: The backbone's output, or a pair of them (plain, flipped) with ``flip_test``.
            batch_data_samples (list[PoseDataSample]): Get every head's predictions with
                ``branch='all'``.
            test_cfg (dict): ``branch`` as described above, else as in the stock heads.
        """
        branch = self._branch(test_cfg)
        if branch != 'all':
            return self._predict(branch, feats, batch_data_samples, test_cfg)
        preds = self._predict('deploy', feats, batch_data_samples, test_cfg)
        for name in self.output_names:
            found = preds
            if name != 'deploy':
                found = self._predict(name, feats, batch_data_samples, test_cfg)
            instances = found[0] if isinstance(found, tuple) else found
            for sample, one in zip(batch_data_samples, instances):
                attach_prediction(sample, name, copy.deepcopy(one), test_cfg)
        return preds

    def _predict(self, name: str, feats, samples, test_cfg: dict):
        if name == 'heatmap':
            # as MMPose's configs have it; those of light heads do not know of heatmaps
            shift = isinstance(self.heatmap.decoder, MSRAHeatmap)
            return self.heatmap.predict(feats, samples, {'shift_heatmap': shift, **test_cfg})
        if test_cfg.get('flip_test', False):
            necked = [self._necked(one) for one in feats]
        else:
            necked = self._necked(feats)
        head = self.deploy['head'] if name == 'deploy' else self.assistant
        return head.predict(necked, samples, test_cfg)

    def panels(self, view: View) -> list[Panel]:
        """What the heads beside the deployed one say, see :class:`Showing`."""
        feats = view.feats
        found = []
        if self.heatmap_weight > 0:
            features = (feats,) if isinstance(feats, Tensor) else tuple(feats)
            found.append(heatmap_panel('heatmap head', self.heatmap(features)))
        if self.assists:
            returned = self.assistant(self._necked(feats))
            found.append(panel_of('assistant', self.assistant, returned))
        return found

    # ------------------------------------------------------------------ export

    def deployed(self, branch: Optional[int] = None) -> Deployed:
        """What remains after export: the deployed neck and head, as in a stock model.

        Args:
            branch: Of an online-distillation head of several branches; not this one's.
        """
        model = {k: copy.deepcopy(v) for k, v in self.deploy_config.items() if v is not None}
        model['test_cfg'] = {k: v for k, v in self.test_cfg.items() if k != 'branch'}
        rename = {f'head.deploy.{part}.': f'{part}.' for part in ('neck', 'head')}
        return Deployed(model, rename, ('head.',), {'branch': 'deploy'}, 'the deployed head')
