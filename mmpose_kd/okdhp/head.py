"""OKDHP: online knowledge distillation between the branches of one network."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Optional

import torch
from mmengine.model import ModuleList
from mmengine.structures import PixelData
from mmpose.evaluation.functional import pose_pck_accuracy
from mmpose.models.heads import BaseHead
from mmpose.registry import MODELS
from mmpose.utils.tensor_utils import to_numpy
from torch import Tensor, nn

from ..core.checks import (
    built_by,
    checked_bool,
    checked_choice,
    checked_dict,
    checked_init,
    is_whole,
    refusal,
)
from ..core.deployed import Deployed
from ..core.finite import LossGuard, idle_loss
from ..core.head_output import (
    attach_prediction,
    flip_test,
    ground_truth,
    label_weights,
    taught_weights,
)
from ..core.loading import look_at_load_from
from ..core.loss import scaled, sum_of_losses, takes_target_weight
from ..core.panels import Panel, View, heatmap_panel
from ..core.paramwise import compare_paramwise
from ..losses.joints_mse import JointsMSELoss
from .branch import Branch, merge_branches, shared_stages_head, stage_loss
from .fau import weighted_ensemble
from .fitting import check_branches
from .loading import warn_if_branches_stay_equal
from .presets import loss_settings
from .statistics import branch_statistics
from .trunk import TrunkFeatures, trunk_source


@MODELS.register_module()
class OKDHPHead(BaseHead):
    r"""Multi-branch head that distils its own ensemble into every branch.

    Li et al., "Online Knowledge Distillation for Efficient Pose Estimation", ICCV 2021,
    https://arxiv.org/abs/2108.02092. With :math:`p_o` the heatmaps of every output o, g the
    ground truth, :math:`m = \sum_t a_t p_t` the ensemble of the T branches' last heatmaps,
    weighted by the FAU, and r(e) the ramp-up:

    .. math::
        L = \sum_o MSE(p_o, g) + \alpha MSE(m, g) + \beta r(e) \sum_o KL(m \| p_o)

    The outputs are the branches' own, and in a stacked hourglass also those of every stack
    before the last, the shared ones counted once.

    Deviations, each a setting: by default m is detached in the KL (the release lets the FAU
    learn from it), and the KL uses a temperature, since at temperature 1 it is nearly inert:
    heatmaps lie in [0, 1], and a softmax over them is almost uniform. ``MSE`` is the stock loss
    of the head config. HRNet is not in the paper.

    Needs ``model.backbone`` to be a :class:`SharedTrunk` with the same ``backbone`` and
    ``split``. After training one branch is exported, see :mod:`mmpose_kd.export`.

    Args:
        backbone (dict): Config of the stock backbone, the same as the trunk's.
        split (str): Last shared step, the same as the trunk's.
        head (dict): Config of a stock ``HeatmapHead``, or of a ``CPMHead`` for a backbone with
            an output per stage (an hourglass), or of a subclass; one per branch.
        num_branches (int): T.
        branches (Sequence[dict], optional): Per branch, changes to ``backbone``, ``neck`` and
            ``head`` in MMEngine's way of merging, for example
            ``[dict(), dict(head=dict(deconv_out_channels=(128, 128, 128)))]``; also depth, by
            ``dict(backbone=dict(num_stacks=6), head=dict(num_stages=6))``.
            ``dict(stop='stage3', head=dict(...))`` is a branch without the backbone's steps after
            that one, whose output (the finest map of several) its head reads: it teaches, and
            cannot be deployed. All branches must predict heatmaps of one shape. Its length must
            be ``num_branches``.
        neck (dict, optional): Config of a stock neck, one per branch.
        fau (dict, optional): Config of the :class:`FAU` without its sizes. None: plain mean.
        fau_input (str): Shared step whose output the FAU reads.
        preset (str): ``'default'`` or ``'released'``: where settings that are None come from.
        ensemble_weight (float, optional): :math:`\alpha \ge 0`.
        kd_loss (dict, optional): Config of the distillation loss; its ``loss_weight`` is
            :math:`\beta \ge 0`. Called as ``loss(p_t, m, target_weight)``.
        kd_schedule (dict, optional): Arguments of :class:`mmpose_kd.core.schedule.Schedule`: r(e).
        detach_ensemble (bool, optional): Whether m is a constant in the KL.
        deploy_branch (int): The branch, counted from 0, that the model's own metrics, its
            training accuracy and (unless it names another) the export are about.
        with_cp (bool): Compute the branches again in the backward pass instead of keeping their
            activations: less memory, one more forward pass of the branches.
        non_finite (str): ``'stop'`` or ``'skip'``: what is done with a loss of the ensemble or
            of distillation that is NaN or infinite, see :class:`LossGuard`.

    The ``test_cfg`` of the model may have ``branch``: an index, ``'ensemble'``, or ``'all'``,
    which predicts with the deployed branch and adds the predictions of all branches and of the
    ensemble to the data samples for :class:`BranchMetricsHook`. Default: ``deploy_branch``.

    Raises:
        ValueError: A setting is out of range, or branches do not fit together.
        TypeError: The backbone cannot be split, or the head cannot be a branch.
    """

    def __init__(
        self,
        backbone: dict,
        split: str,
        head: dict,
        num_branches: int = 3,
        branches: Optional[Sequence[dict]] = None,
        neck: Optional[dict] = None,
        fau: Optional[dict] = dict(type='FAU'),  # noqa: B006
        fau_input: str = 'stem',
        preset: str = 'default',
        ensemble_weight: Optional[float] = None,
        kd_loss: Optional[dict] = None,
        kd_schedule: Optional[dict] = None,
        detach_ensemble: Optional[bool] = None,
        deploy_branch: int = 0,
        with_cp: bool = False,
        non_finite: str = 'stop',
        init_cfg: Optional[dict] = None,
    ):
        if 'Pretrained' in str(init_cfg):
            raise refusal('head.init_cfg', init_cfg, 'give it in head.head, or give load_from')
        super().__init__(checked_init(init_cfg, 'head.init_cfg'))
        self._test_cfg: dict = {}
        checked_bool(with_cp, 'head.with_cp')
        checked_dict(fau, 'head.fau', optional=True)
        self.guard = LossGuard(non_finite, 'head')
        parts = {'backbone': backbone, 'neck': neck, 'head': head}
        self.branch_configs = merge_branches(parts, branches, num_branches)
        self.num_branches = num_branches
        self.deploy_branch = self._checked_branch(deploy_branch, 'head.deploy_branch')
        why = self._not_deployed(self.deploy_branch)
        if why:
            give = 'give a branch without stop'
            raise ValueError(f'head.deploy_branch={deploy_branch}: {why}: {give}')

        settings = loss_settings(preset, ensemble_weight, kd_loss, kd_schedule, detach_ensemble)
        self.ensemble_weight = settings.ensemble_weight
        self.detach_ensemble = settings.detach_ensemble
        self.kd_schedule = settings.kd_schedule
        self.kd_loss = built_by(MODELS, settings.kd_loss, 'head.kd_loss')
        if not takes_target_weight(self.kd_loss):
            give = 'give a loss that is called as loss(student, teacher, target_weight)'
            raise refusal(
                'head.kd_loss.type', settings.kd_loss['type'], f'{give}, such as HeatmapKLLoss'
            )
        # one branch has nothing to learn from its own ensemble
        weights = self.ensemble_weight, settings.kd_weight
        self.distils = num_branches > 1 and max(weights) > 0

        key = 'head.branches.{}.head' if branches else 'head.head'
        keys = [key.format(t) for t in range(num_branches)]
        channels, shared_stages = check_branches(backbone, self.branch_configs, split, keys)
        self.fau_input = checked_choice(fau_input, 'head.fau_input', channels)
        self.source = trunk_source(backbone, split)
        self.branches = ModuleList(
            Branch(split=split, shared_stages=shared_stages, with_cp=with_cp, **config, key=key)
            for config, key in zip(self.branch_configs, keys)
        )
        shared = shared_stages_head(self.branch_configs[self.deploy_branch]['head'], shared_stages)
        if shared is not None:  # a stacked hourglass: shared stacks predict too
            self.shared = shared
        #: set by :class:`BranchStatisticsHook` for the iterations that it wants to see
        self.watch = False
        self.watched: dict[str, Tensor] = {}
        self.fau = None
        if fau is not None and num_branches > 1:
            sizes = {
                'in_channels': channels[fau_input],
                'num_keypoints': self.branches[0].head.out_channels,
                'num_branches': num_branches,
            }
            for name in sizes.keys() & fau.keys():
                give = f'it follows from the model ({sizes[name]}), leave it out'
                raise refusal(f'head.fau.{name}', fau[name], give)
            self.fau = built_by(MODELS, {'type': 'FAU', **fau, **sizes}, 'head.fau')
            if not self.distils:
                self.fau.requires_grad_(False)  # else DDP would wait for its gradients
            elif self.detach_ensemble and self.ensemble_weight == 0:
                raise ValueError(
                    'head.ensemble_weight=0 with head.detach_ensemble=True: the FAU would never '
                    'learn; give ensemble_weight > 0, detach_ensemble=False, or fau=None'
                )

    def init_weights(self) -> None:
        """As MMEngine does it, after a look at the checkpoint that follows."""
        look_at_load_from()
        super().init_weights()

    # ---------------------------------------------------------------- settings

    def _checked_branch(self, branch: int, key: str, others: str = '') -> int:
        if not is_whole(branch) or branch not in range(self.num_branches):
            last = self.num_branches - 1
            raise refusal(key, branch, f'branches count from 0, give 0 to {last}{others}')
        return branch

    def _not_deployed(self, branch: int) -> str:
        """Why this branch cannot be deployed; '' if it can."""
        stop = self.branch_configs[branch].get('stop')
        return '' if stop is None else f'branch {branch} is no whole model, it ends after {stop!r}'

    @property
    def decoder(self):
        """The codec of the deployed branch."""
        return self.branches[self.deploy_branch].head.decoder

    @property
    def test_cfg(self) -> dict:
        """The model's ``test_cfg``, checked when the model is built."""
        return self._test_cfg

    @test_cfg.setter
    def test_cfg(self, test_cfg: dict) -> None:
        self._test_outputs(test_cfg)
        self._test_cfg = test_cfg

    def _test_outputs(self, test_cfg: dict) -> tuple[str, list[str]]:
        """Names of the main output and of the ones that are reported beside it."""
        branch = test_cfg.get('branch', self.deploy_branch)
        if branch == 'ensemble':
            return 'ensemble', []
        if branch == 'all':
            return f'branch{self.deploy_branch}', self.output_names
        others = ", 'ensemble' or 'all'"
        return f'branch{self._checked_branch(branch, "test_cfg.branch", others)}', []

    @property
    def branch_names(self) -> list[str]:
        """``branch0``, ``branch1``, ..."""
        return [f'branch{t}' for t in range(self.num_branches)]

    @property
    def output_names(self) -> list[str]:
        """What ``branch='all'`` reports."""
        return [*self.branch_names, 'ensemble']

    # ----------------------------------------------------------------- forward

    def check_model(self, model: nn.Module) -> None:
        """Raise a ValueError if there is a neck in between, or both are cut differently."""
        if getattr(model, 'neck', None) is not None:
            give = 'a neck comes after the split: give it in head.neck and set model.neck=None'
            raise refusal('model.neck.type', type(model.neck).__name__, give)
        self._check_source(getattr(model.backbone, 'source', self.source))

    def _check_source(self, source: str) -> None:
        if source != self.source:
            raise ValueError(
                'model.backbone and model.head are cut differently.\n'
                f'  model.backbone: {source}\n  model.head: {self.source}'
            )

    def _check_trunk(self, feats: TrunkFeatures) -> None:
        """Errors of the pair trunk and head, which are built without seeing each other."""
        if not isinstance(feats, TrunkFeatures):
            raise TypeError('model.backbone: OKDHPHead needs type=SharedTrunk')
        self._check_source(feats.source)

    def forward_branches(self, feats: TrunkFeatures) -> list[Tensor]:
        """Heatmaps (B, K, H, W) of the last stage of every branch."""
        self._check_trunk(feats)
        return [branch(feats) for branch in self.branches]

    def forward_ensemble(
        self, feats: TrunkFeatures, heatmaps: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The ensemble (B, K, H, W) of the branches' heatmaps, and the attention (B, T, K)."""
        stacked = torch.stack(tuple(heatmaps), dim=1)  # (B, T, K, H, W)
        if self.fau is not None:
            feature = feats.steps[self.fau_input]
            return self.fau(feature[0] if isinstance(feature, tuple) else feature, stacked)
        attention = stacked.new_full(stacked.shape[:3], 1.0 / self.num_branches)
        return weighted_ensemble(stacked, attention), attention

    def forward(self, feats: TrunkFeatures) -> Tensor:
        """Heatmaps (B, K, H, W) of the deployed branch."""
        return self._forward_outputs(feats, [f'branch{self.deploy_branch}'])[0]

    def _forward_outputs(self, feats: TrunkFeatures, names: Sequence[str]) -> list[Tensor]:
        """Heatmaps of the named outputs; only what they need is computed."""
        if len(names) == 1 and names[0] != 'ensemble':
            self._check_trunk(feats)
            return [self.branches[self.branch_names.index(names[0])](feats)]
        heatmaps = dict(zip(self.branch_names, self.forward_branches(feats)))
        if 'ensemble' in names:
            heatmaps['ensemble'], _ = self.forward_ensemble(feats, tuple(heatmaps.values()))
        return [heatmaps[name] for name in names]

    #: for AccuracyIntervalHook: the accuracy is computed here, whatever the branches' heads do
    reads_compute_acc = True

    #: called by :mod:`mmpose_kd.core.loading` with what a checkpoint of the plain model had
    plain_weights_arrived = warn_if_branches_stay_equal

    # ---------------------------------------------------------------- training

    def loss(self, feats: TrunkFeatures, batch_data_samples, train_cfg: dict = {}) -> dict:  # noqa: B006
        """Losses of a batch.

        Args:
            feats: Output of the trunk.
            batch_data_samples (list[PoseDataSample]): With heatmap targets and weights.
            train_cfg (dict): ``compute_acc=False`` leaves the accuracy out.

        Returns:
            ``loss_kpt`` and ``acc_pose`` of the deployed network under their stock names (with
            the shared stages' share), ``loss_kpt_branch<t>`` of the other branches' own stages,
            ``loss_ensemble`` and ``loss_kd``.
        """
        self._check_trunk(feats)
        compare_paramwise(self, 'head.')
        (target,) = ground_truth('heatmap', batch_data_samples)  # (B, K, H, W)
        weight = label_weights(batch_data_samples)  # (B, K)
        shared = self.shared(list(feats.outputs)) if hasattr(self, 'shared') else []
        stages = [branch.forward_stages(feats) for branch in self.branches]  # own ones only
        heatmaps = [maps[-1] for maps in stages]

        losses = {}
        for t, (branch, own) in enumerate(zip(self.branches, stages)):
            # shared stages count once, with the deployed branch: a stock loss, term by term
            deployed = t == self.deploy_branch
            outputs = enumerate([*shared, *own]) if deployed else enumerate(own, len(shared))
            losses['loss_kpt' if deployed else f'loss_kpt_branch{t}'] = sum(
                stage_loss(branch.head, i)(maps, target, weight) for i, maps in outputs
            )

        if self.distils:
            own = sum_of_losses(losses)
            ensemble, attention = self.forward_ensemble(feats, heatmaps)
            task_loss = stage_loss(self.branches[self.deploy_branch].head, -1)
            own_loss = task_loss(ensemble, target, weight)
            losses['loss_ensemble'] = scaled(own_loss, self.ensemble_weight)
            teacher = ensemble.detach() if self.detach_ensemble else ensemble
            outputs = [*shared, *(maps for own in stages for maps in own)]
            taught = taught_weights(batch_data_samples)
            kd = sum(self.kd_loss(maps, teacher, taught) for maps in outputs)
            losses['loss_kd'] = scaled(kd, self.kd_schedule.now())
            if self.watch:
                self.watched = branch_statistics(
                    heatmaps, attention, self.kd_loss, teacher, task_loss, target, weight
                )
                self.watched['kd_gradient_share'] *= self.kd_schedule.now()
            names = ['loss_ensemble', 'loss_kd']
            self.guard(losses, names, own, lambda _: idle_loss(self.fau))

        if train_cfg.get('compute_acc', True):
            _, accuracy, _ = pose_pck_accuracy(
                output=to_numpy(heatmaps[self.deploy_branch].float()),  # numpy has no bfloat16
                target=to_numpy(target),
                mask=to_numpy(weight) > 0,
            )
            losses['acc_pose'] = torch.tensor(accuracy, device=target.device)
        return losses

    # -------------------------------------------------------------- prediction

    def predict(self, feats, batch_data_samples, test_cfg: dict = {}):  # noqa: B006
        """Predictions of the output that ``test_cfg.branch`` names, as a stock head gives them.

        Args:
            feats: Output of the trunk, or a pair of them (plain, flipped) with ``flip_test``.
            batch_data_samples (list[PoseDataSample]): Get the predictions of the other outputs
                with ``branch='all'``.
            test_cfg (dict): ``branch`` as described above; ``flip_test``, ``flip_mode``,
                ``shift_heatmap``, ``output_heatmaps`` as in ``HeatmapHead``.

        Returns:
            A list of ``InstanceData`` in input pixels, with a list of ``PixelData`` beside it
            if ``output_heatmaps`` is set.
        """
        main, others = self._test_outputs(test_cfg)
        names = [*others] if others else [main]
        outputs = flip_test(
            lambda one: self._forward_outputs(one, names), feats, batch_data_samples, test_cfg
        )
        heatmaps = dict(zip(names, outputs))
        for name in others:
            for sample, instances in zip(batch_data_samples, self.decode(heatmaps[name])):
                attach_prediction(sample, name, instances, test_cfg)
        preds = self.decode(heatmaps[main])
        if test_cfg.get('output_heatmaps', False):
            return preds, [PixelData(heatmaps=maps) for maps in heatmaps[main].detach()]
        return preds

    def panels(self, view: View) -> list[Panel]:
        """The other branches' heatmaps, the ensemble and its weights, see :class:`Showing`."""
        heatmaps = self.forward_branches(view.feats)
        ensemble, attention = self.forward_ensemble(view.feats, heatmaps)
        found = [
            heatmap_panel(f'branch {t}', maps)
            for t, maps in enumerate(heatmaps)
            if t != self.deploy_branch
        ]
        found.append(heatmap_panel('ensemble', ensemble))
        rows = [f'branch {t}' for t in range(self.num_branches)]
        whose = 'the FAU' if self.fau is not None else 'no FAU, so all are alike'
        title = f'weights of the branches ({whose}); branch {self.deploy_branch} is the student'
        return [*found, Panel(title, table=attention, rows=rows)]

    # ------------------------------------------------------------------ export

    def deployed(self, branch: Optional[int] = None) -> Deployed:
        """What remains after export: trunk and one branch, as a stock model.

        Args:
            branch: The branch to keep. None: ``deploy_branch``.
        """
        t = self.deploy_branch if branch is None else self._checked_branch(branch, '--branch')
        config = copy.deepcopy(self.branch_configs[t])
        whole = config.pop('stop', None) is None
        parts = ('backbone', 'neck', 'head') if whole else ('backbone',)
        rename = {f'head.branches.{t}.{part}.': f'{part}.' for part in parts}
        rename['head.shared.'] = 'head.'
        if 'loss' in config['head']:
            config['head']['loss'] = JointsMSELoss.plain(config['head']['loss'])
        config['test_cfg'] = {k: v for k, v in self.test_cfg.items() if k != 'branch'}
        why = self._not_deployed(t)
        return Deployed(config, rename, ('head.',), {'branch': t}, f'branch {t}', t, why)
