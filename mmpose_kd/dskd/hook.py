"""DSKD: a student that is guided by its own earlier selves, on any MMPose config."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Optional, Union

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import IterBasedTrainLoop, Runner
from mmpose.registry import HOOKS
from torch import Tensor

from ..core.capture import replaced, returned_by
from ..core.checks import (
    checked_bool,
    checked_choice,
    checked_number,
    checked_weight,
    checked_whole,
    refusal,
)
from ..core.finite import LossGuard
from ..core.head_output import bfloat16_explained, ground_truth, taught_weights
from ..core.loading import check_state
from ..core.loss import scaled, sum_of_losses
from ..core.panels import Panel, View
from ..core.random_state import random_states_kept
from ..core.runner import AroundIterationHook
from ..core.schedule import Schedule
from ..distiller.precision import DTYPES
from .files import GuideFiles, checked_state
from .guidance import Guidance
from .guides import Guide, GuideBank, given_models
from .losses import dense_guidance
from .plan import GuideDraws, GuidePlan, warn_of_late
from .student import GuidedStudent

KEY = 'custom_hooks: DSKDHook'


@HOOKS.register_module()
class DSKDHook(AroundIterationHook):
    r"""Densely guided self-knowledge distillation.

    After Wu, Zhao, Li, Tian, "Lightweight Human Pose Estimation Based on Densely Guided
    Self-Knowledge Distillation", ICANN 2023 (https://doi.org/10.1007/978-3-031-44210-0_34).
    Formulas and numbers of the paper could not be had: **this is our reconstruction** from its
    abstract. Frozen copies :math:`T_1 \dots T_n` of the student guide it, all at once, so that it
    does not inherit the errors of the last one alone. With the student's heatmaps S, a guide's
    :math:`H_i`, its denoised form D and :math:`b_i` drawn at random, at least one of them 1:

    .. math::
        L = L_{task} + \alpha \frac{\sum_i b_i ||S - D(H_i)||^2_w}{\sum_i b_i}
            + \gamma L_{cls}, \quad
        L_{cls} = CE(softmax(\kappa S), softmax(\kappa H_{gt}))

    The norm is the weighted mean of ``KeypointMSELoss``; a keypoint without a label costs nothing.
    The cross-entropy is over positions; other forms: :class:`HeatmapClassificationLoss`.
    SimCC and coordinate students are guided by their head's own loss, with the guide's output in
    the place of the labels (:func:`own_loss`), by the same dense rule and without binarisation and
    classification.

    The model needs no change: ``loss_dskd_kd`` and ``loss_dskd_cls`` join its losses. The guides
    are in evaluation mode without gradient, outside model, optimiser and EMA. They are saved
    beside each checkpoint as ``dskd_*.pth``, and a resumed run goes on with the same guides and
    draws. With another method of this package the part that is deployed is guided and frozen.

    Args:
        guides (str | Sequence): Checkpoints of finished trainings of the student's architecture,
            which ``mmpose-kd generations`` makes, or of others as arguments of :class:`Teacher`
            (``dict(config=..., checkpoint=...)``). Or copies of the run itself, which cost
            accuracy where it has not saturated (docs/dskd.md): ``'generations'``: the run is cut
            into ``num_guides`` + 1 generations, and at the end of each but the last the student
            becomes a guide; ``'snapshots'``: it becomes one every ``interval`` epochs, and the
            newest ``num_guides`` are kept. None: ``teachers`` alone.
        num_guides (int, optional): n. None: 2. Not with a list.
        interval (int | float, optional): Of snapshots: epochs (iterations in a run that counts
            iterations), or a share of the run. None: 0.1.
        lengths (Sequence[float], optional): Of generations, relative to one another. None: equal.
        redraw (bool): Begin each generation with newly drawn weights and an empty optimiser
            state, as in born-again networks; the learning rate goes on. False: training goes on.
        teachers (Sequence[dict]): Bigger models that guide from the start, before the student's
            own copies: arguments of :class:`Teacher`. Names of keypoints and normalisation that
            its checkpoint states, and that of a given guide, are compared with the run's.
        alpha (float, optional): Weight of the guidance loss, at least 0, beside the loss of the
            student's head (:func:`own_loss`). None: 3 for heatmap students, 1 for others.
        gamma (float, optional): Weight of the classification loss, at least 0. None: 0.001 for
            heatmap students, 0 for others.
        alpha_schedule, gamma_schedule (dict, optional): Arguments of
            :class:`mmpose_kd.core.schedule.Schedule`.
        dense (bool): False: the newest guide alone, which shows what dense guidance is good for.
        keep_prob (float, optional): Probability of :math:`b_i = 1`, in (0, 1]. 1: none is
            dropped. None: 0.75. Not with ``dense=False``.
        form (str, optional): ``'soft'``: D(H); ``'hard'``: its bits B(H); ``'raw'``: H itself.
            None: ``'soft'``. This and the following five are for heatmap students alone.
        threshold (float, optional): :math:`\tau` of the bits, relative to the peak, in (0, 1].
            None: 0.5.
        floor (float, optional): Least peak of a map that counts, in (0, 1]. None: 0.1.
        below_floor (str, optional): ``'zero'``: a guide's map with a lower peak teaches that
            nothing is there; ``'skip'``, our addition: it teaches nothing. None: ``'zero'``.
        cls (dict, optional): Arguments of :class:`HeatmapClassificationLoss`.
        cls_target (str, optional): Whose maps the targets are made of: ``'ground_truth'``, or
            ``'guides'``, of whose targets the mean is taken. None: ``'ground_truth'``.
        guide_dtype (str, optional): In which precision guides of the student's architecture run:
            ``'auto'``, half on a GPU, or another ``dtype`` of :class:`Teacher`. Models that are
            given as its arguments have their own.
        seed (int, optional): Of the draws. None: the run's.
        log_interval (int): Every how many iterations each guide's ``agreement``, ``kept`` (see
            :meth:`Guidance.statistics`) and ``kd`` are logged: ``dskd/<name>_guide<i>``.
        non_finite (str): ``'stop'`` or ``'skip'``: what is done with a loss of these two that is
            NaN or infinite, see :class:`LossGuard`.

    Raises:
        ValueError: A setting that cannot be used; before the training a head it does not know, a
            run too short for the generations, a guide that does not fit or cannot be read.
    """

    # after the buffers are the same in all processes, before the logger and the checkpoint
    priority = 55
    trains_student = True  # so a plain model trained with it has something to export

    def __init__(
        self,
        guides: Union[str, Sequence, None] = None,
        num_guides: Optional[int] = None,
        interval: Union[None, int, float] = None,
        lengths: Optional[Sequence[float]] = None,
        redraw: bool = False,
        teachers: Sequence[dict] = (),
        alpha: Optional[float] = None,
        alpha_schedule: Optional[dict] = None,
        gamma: Optional[float] = None,
        gamma_schedule: Optional[dict] = None,
        dense: bool = True,
        keep_prob: Optional[float] = None,
        form: Optional[str] = None,
        threshold: Optional[float] = None,
        floor: Optional[float] = None,
        below_floor: Optional[str] = None,
        cls: Optional[dict] = None,
        cls_target: Optional[str] = None,
        guide_dtype: Optional[str] = 'auto',
        seed: Optional[int] = None,
        log_interval: int = 50,
        non_finite: str = 'stop',
    ):
        super().__init__()
        self.guard = LossGuard(non_finite, KEY)
        self.given = given_models(guides, teachers, KEY)
        self.plan = GuidePlan(guides, num_guides, interval, lengths, KEY)
        self.redraw = checked_bool(redraw, f'{KEY}.redraw')
        if redraw and self.plan.mode != 'generations':
            raise refusal(
                f'{KEY}.redraw', redraw, f"it needs guides='generations', not {guides!r}"
            )
        self.alpha = alpha if alpha is None else checked_weight(alpha, f'{KEY}.alpha')
        self.gamma = gamma if gamma is None else checked_weight(gamma, f'{KEY}.gamma')
        self.alpha_schedule = Schedule.build(alpha_schedule, f'{KEY}.alpha_schedule')
        self.gamma_schedule = Schedule.build(gamma_schedule, f'{KEY}.gamma_schedule')
        self.dense = checked_bool(dense, f'{KEY}.dense')
        checked_number(keep_prob, f'{KEY}.keep_prob', above=0, most=1, optional=True)
        if keep_prob is not None and not dense:
            raise refusal(
                f'{KEY}.keep_prob', keep_prob, 'with dense=False no guide is drawn: leave it out'
            )
        self.keep_prob = 0.75 if keep_prob is None else keep_prob
        self.guidance = Guidance(form, threshold, floor, cls, cls_target, below_floor, KEY)
        self.guide_dtype = checked_choice(guide_dtype, f'{KEY}.guide_dtype', DTYPES, optional=True)
        self.seed = checked_whole(seed, f'{KEY}.seed', -(2**63), 2**63 - 1, optional=True)
        self.log_interval = checked_whole(log_interval, f'{KEY}.log_interval', least=1)
        if guides is None and not teachers:
            give = (
                'give the checkpoints of finished trainings of this model (mmpose-kd generations '
                "CONFIG makes them and the student); 'generations' or 'snapshots' take copies of "
                'the run itself, which costs accuracy where it has not saturated'
            )
            raise refusal(f'{KEY}.guides', None, give)

        self.files = GuideFiles()
        self.distils = self._ready = False
        self._saved: Optional[dict] = None  # of the checkpoint that the run goes on from
        self._redrawn: Optional[int] = None  # the step at which the weights were drawn last
        self._unit, self._log_now = 'epoch', False  # of this iteration
        self._statistics: dict[str, Tensor] = {}

    # ------------------------------------------------------------------ begin and end

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take the state of the run that goes on; its guides are read when the model is known.

        Raises:
            ValueError: The checkpoint has no weights by name.
        """
        check_state(checkpoint.get('state_dict', checkpoint))
        if runner._resume:
            self._saved = checked_state(checkpoint.get('dskd'), KEY)

    def before_train(self, runner: Runner) -> None:
        """Look at the model, gather the guides."""
        if self._ready and self._saved is None and runner.iter > 0:
            return  # the same training goes on after an interruption
        self._ready = False
        self._unit = 'iter' if isinstance(runner.train_loop, IterBasedTrainLoop) else 'epoch'
        length = getattr(runner, f'max_{self._unit}s')
        self.start(runner, length)
        if self.distils:
            self.bank.compare_keypoints(getattr(runner.train_dataloader.dataset, 'metainfo', None))
            if self._saved is not None:
                self._resume(runner, self._saved)
            self._check_times(length, getattr(runner, self._unit))
        self._saved, self._ready = None, True

    def start(self, runner: Runner, length: int) -> None:
        """Get ready for a run of ``length`` epochs (or iterations), with the given guides."""
        with random_states_kept():
            self.student = GuidedStudent(runner, KEY)
            kind = self.student.kind
            self.guidance.check_kind(kind, self.gamma)
            if self.alpha is None:
                self.alpha = 3.0 if kind == 'heatmap' else 1.0
            if self.gamma is None:
                self.gamma = 0.001 if kind == 'heatmap' else 0.0
            self.distils = self.alpha > 0 or self.gamma > 0
            self._due = self.plan.steps(length) if self.distils else []
            self.bank = GuideBank(
                self.student.config, kind, self.plan.num_guides, KEY, self.guide_dtype
            )
            for i, (entry, key) in enumerate(self.given if self.distils else []):
                self.bank.give(i, entry, self.student.head, key)
            if self._due:
                self.bank.check_copy(self.student.state_dict())
        self.bank.to(self.student.device)
        self._redrawn = None
        self.draws = GuideDraws(runner.seed if self.seed is None else self.seed)

    def _check_times(self, length: int, done: int) -> None:
        """Say before the first step what would never act, or hardly."""
        self._weights()  # lets the schedules compare themselves with the run
        if self._unit == 'iter':
            self.plan.warn_of_many(length)
        if self._due and not len(self.bank):
            by_guides = self.gamma and self.guidance.cls_target == 'guides'
            schedules = [
                *([self.alpha_schedule] if self.alpha else []),
                *([self.gamma_schedule] if by_guides else []),
            ]
            warn_of_late(self._due, done, length, self._unit, schedules, KEY)

    # ------------------------------------------------------------------ the loss

    def _weights(self) -> tuple[float, float]:
        """alpha and gamma as they are at the present epoch; of 0 no schedule is asked."""
        return (
            self.alpha * self.alpha_schedule.now() if self.alpha else 0.0,
            self.gamma * self.gamma_schedule.now() if self.gamma else 0.0,
        )

    def loss(self, plain_loss: Callable, inputs: Tensor, data_samples: list) -> dict:
        r"""Losses of a batch.

        .. math:: L = L_{task} + \alpha \frac{\sum_i b_i l_i}{\sum_i b_i} + \gamma L_{cls}

        Args:
            plain_loss: The model's own ``loss``.
            inputs: Images (B, 3, h, w), normalised by the data preprocessor.
            data_samples: Their B samples, with the labels.

        Returns:
            The model's own losses under their names, ``loss_dskd_kd`` and ``loss_dskd_cls``, 0
            where they are switched off.
        """
        kind, guidance = self.student.kind, self.guidance
        alpha, gamma = self._weights()

        # first, while the memory of the student's graph is not yet taken: that is faster
        guides = self._kept_guides() if guidance.needs_guides(alpha, gamma) else []
        preprocessor = self.student.model.data_preprocessor
        taught = self.bank.outputs(guides, inputs, data_samples, preprocessor)  # constants
        with bfloat16_explained(), returned_by(self.student.head) as returned:
            losses = dict(plain_loss(inputs, data_samples))
        own_losses = sum_of_losses(losses)
        student = self.student.output(returned)
        weight = taught_weights(data_samples)  # (B, K), 0 for a keypoint without a label
        zero = torch.zeros((), device=student[0].device)
        losses['loss_dskd_kd'] = losses['loss_dskd_cls'] = zero

        each = []  # the loss of each guide
        if alpha and guides:
            own = self.student.own_loss(returned)
            each = guidance.guide_losses(kind, student, taught, weight, own)
            losses['loss_dskd_kd'] = scaled(dense_guidance(each), alpha)
        if gamma:
            truth = ground_truth(kind, data_samples)
            cls = guidance.classification_loss(student, taught, truth, weight)
            losses['loss_dskd_cls'] = scaled(cls, gamma)
        self.guard(losses, ['loss_dskd_kd', 'loss_dskd_cls'], own_losses, lambda _: 0.0)
        if self._log_now and guides:
            truth = ground_truth(kind, data_samples)
            statistics = guidance.statistics(kind, taught, truth, weight, each)
            self._statistics = self.bank.numbered(guides, statistics)
        return losses

    def guiding(self, model: BaseModel) -> contextlib.AbstractContextManager:
        """:meth:`loss` in place of the model's own, while this context lasts."""
        return replaced(model, 'loss', functools.partial(self.loss, model.loss))

    def _kept_guides(self) -> list[Guide]:
        """Those that teach in this step (b_i = 1), the same ones in every process."""
        guides = self.bank.guides
        if not self.dense or not guides:
            return guides[-1:]
        return self.draws.kept(guides, self.keep_prob)

    # ------------------------------------------------------------------ a training step

    def before_train_epoch(self, runner: Runner) -> None:
        """Begin a generation anew, if that is wanted."""
        if self._unit == 'epoch':
            self._begin_generation(runner)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Put the guidance around the model's loss, for this iteration."""
        if self._unit == 'iter':
            self._begin_generation(runner)
        self._log_now = self.every_n_train_iters(runner, self.log_interval)
        super().before_train_iter(runner, batch_idx, data_batch)

    def around(self, runner: Runner) -> contextlib.AbstractContextManager:
        """The guidance, while an iteration runs."""
        return self.guiding(self.student.model)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Take the guidance off, log, and freeze the student in a run of iterations."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        for name, value in self._statistics.items():
            runner.message_hub.update_scalar(f'train/{name}', float(value))
        self._statistics = {}
        if self._unit == 'iter':
            self._freeze_if_due(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Freeze the student."""
        if self._unit == 'epoch':
            self._freeze_if_due(runner)

    # ------------------------------------------------------------------ the guides

    def _freeze_if_due(self, runner: Runner) -> None:
        done = getattr(runner, self._unit) + 1
        if done in self._due:
            self.freeze(runner, f'{self._unit}_{done}')

    def freeze(self, runner: Runner, name: str) -> None:
        """Make a guide called ``name`` of the student as it is now."""
        with random_states_kept():
            self.bank.freeze(name, self.student.state_dict())
        self.bank.to(self.student.device)
        runner.logger.info(f'DSKD: {name} is a guide now, of {len(self.bank)}')

    def _begin_generation(self, runner: Runner) -> None:
        """New weights, the same in every process and in a run that is resumed here."""
        done = getattr(runner, self._unit)
        if self.redraw and done in self._due and done != self._redrawn:
            self.student.draw_anew(self.draws.seed_of(done), runner.optim_wrapper)
            self._redrawn = done

    # ------------------------------------------------------------------ what they say

    def panels(self, view: View) -> list[Panel]:
        """What each guide says, see :class:`Showing`."""
        if not self.distils:
            return []
        preprocessor, found = view.model.data_preprocessor, []
        for guide in self.bank.guides:
            images = view.inputs
            if not guide.file:
                images = guide.teacher.own_images(images, view.samples, preprocessor)
            found.append(guide.teacher.panel(f'guide {guide.name}', images))
        return found

    def prepare_panels(self, model: BaseModel, cfg: Config, checkpoint: dict, path: Path) -> None:
        """Gather the guides outside of a run, as a checkpoint has them.

        Args:
            model: The model in training.
            cfg: The run's config.
            checkpoint: Its content.
            path: Its file; the copies of the student lie beside it.

        Raises:
            ValueError: A guide cannot be read, or is not the one that the run had.
        """
        cycles = cfg.get('train_cfg') or {}
        length = cycles.get('max_epochs') or cycles.get('max_iters') or 1
        run = SimpleNamespace(model=model, cfg=cfg, seed=0)
        self.start(run, length)
        saved = checked_state(checkpoint.get('dskd'), KEY)
        if saved and self.distils:
            self.bank.read(saved['guides'], lambda name: path.parent / name)
            self.bank.to(self.student.device)

    # ------------------------------------------------------------------ the state

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the state; the guides go into files of their own, before the checkpoint is there."""
        if not self.distils:
            return
        meta = checkpoint['meta']
        guides = self.bank.write(self.files.folder(runner))
        self.files.note(runner, meta, [guide['file'] for guide in guides if guide['file']])
        checkpoint['dskd'] = dict(
            guides=guides,
            guides_from=self.plan.name,
            generation=sum(due <= meta[self._unit] for due in self._due),
            redrawn=self._redrawn,
            **self.draws.state(),
            **self.files.state(runner),
        )

    def _resume(self, runner: Runner, saved: dict) -> None:
        done = getattr(runner, self._unit)
        if not saved:
            self._redrawn = done  # what was learned up to here is in no guide
            runner.logger.warning(f'{KEY}: the checkpoint was written without it, no guides yet')
            return
        self.plan.check_resumed(saved['guides_from'])
        with random_states_kept():
            self.bank.read(saved['guides'], self.files.resume(runner, saved))
        self.bank.to(self.student.device)
        self.draws.resume(saved)
        self._redrawn = saved.get('redrawn')
        self.bank.warn_of_others([f'{self._unit}_{due}' for due in self._due if due <= done])
