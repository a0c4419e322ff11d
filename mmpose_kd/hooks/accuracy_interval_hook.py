"""The training accuracy as often as it is logged, and not in every step."""

from __future__ import annotations

from typing import Optional

from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import Runner
from mmpose.registry import HOOKS
from torch import nn

from ..core.checks import checked_whole
from ..core.deployed import predicting_head
from ..core.runner import check_hooks, unwrapped

KEY = 'custom_hooks: AccuracyIntervalHook'


@HOOKS.register_module()
class AccuracyIntervalHook(Hook):
    """Lets MMPose's ``HeatmapHead`` compute ``acc_pose`` every few steps.

    It computes it in numpy in every step of the training, for which a GPU is waited for four to
    six times a step, and the logger shows one value of many. Losses, gradients and weights stay
    the same to the last bit. For any top-down model with this head or another one that reads
    ``train_cfg.compute_acc`` (in MMPose 1.3.2 ``ViPNASHead`` and ``InternetHead``; OKDHP's): a
    stock one, one of this package, or the student of a :class:`PoseDistiller`. With other heads
    nothing changes, and a warning says so.

    Args:
        interval (int, optional): Steps from one computation to the next, counted in an epoch as
            the logger counts. None: the ``LoggerHook``'s interval.

    Raises:
        ValueError: The interval is no whole number above 0, or the run has no model with
            ``train_cfg``.
    """

    priority = 'VERY_HIGH'

    def __init__(self, interval: Optional[int] = None):
        self.interval = checked_whole(interval, f'{KEY}.interval', least=1, optional=True)

    def before_run(self, runner: Runner) -> None:
        """Look at the run's hooks: see :func:`check_hooks`."""
        check_hooks(runner, self)

    def before_train(self, runner: Runner) -> None:
        """Find the model that its head is given ``train_cfg`` by, and how often is logged."""
        model = unwrapped(runner)
        self._model = getattr(model, 'student', model)
        if not hasattr(self._model, 'train_cfg'):
            raise ValueError(
                f'{KEY} needs a model with train_cfg, as MMPose has them, found '
                f'{type(self._model).__name__}: leave it out'
            )
        outer = getattr(self._model, 'head', None)
        head = predicting_head(outer)
        if not (getattr(outer, 'reads_compute_acc', False) or reads_compute_acc(head)):
            runner.logger.warning(
                f'{KEY.rpartition(" ")[2]} changes nothing: {type(head).__name__} does not read '
                'train_cfg.compute_acc, as HeatmapHead does; leave the hook out'
            )
        self._own = self._model.train_cfg
        every = [hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)]
        self._every = self.interval or (every or [1])[0]

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Leave the accuracy out of this step, or not; one that the config leaves out stays so."""
        own = dict(self._own or {})
        steps = len(runner.train_dataloader)
        # an epoch that is shorter than the interval is logged at its end
        due = (batch_idx + 1) % self._every == 0 or batch_idx + 1 == steps <= self._every
        self._model.train_cfg = {**own, 'compute_acc': due and own.get('compute_acc', True)}

    def after_train(self, runner: Runner) -> None:
        """Give the model its own ``train_cfg`` back."""
        self._model.train_cfg = self._own


def reads_compute_acc(head: Optional[nn.Module]) -> bool:
    """Whether a head's ``loss``, or one that it inherits, looks for ``train_cfg.compute_acc``."""
    codes = (getattr(vars(base).get('loss'), '__code__', None) for base in type(head).__mro__)
    return any(code is not None and 'compute_acc' in code.co_consts for code in codes)
