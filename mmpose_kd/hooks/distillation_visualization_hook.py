"""What the parts of a run show of a few validation samples, in the run's visualiser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Union

from mmengine.dataset import pseudo_collate
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpose.registry import HOOKS

from ..core.checks import checked_whole, is_list, is_whole, refusal
from ..core.panels import panels_of, picture
from ..core.random_state import random_states_kept
from ..core.runner import check_hooks, unwrapped

KEY = 'custom_hooks: DistillationVisualizationHook'
MOST = 64  # samples: they go through the model together


@HOOKS.register_module()
class DistillationVisualizationHook(Hook):
    """Shows what student, teachers, branches, ensemble, guides and heads say of fixed samples.

    Every few epochs a sheet of each sample goes to the run's visualiser (TensorBoard, local
    files), as ``distillation_<number>``: what ``mmpose-kd inspect`` draws. The samples are those
    of ``val_dataloader``. The training is not touched: random numbers, modes, running statistics
    and gradients are what they would be without it.

    Args:
        interval (int): Epochs from one time to the next; also after the last one.
        samples (int | Sequence[int]): How many of the first samples, or the numbers of some,
            from 0.

    Raises:
        ValueError: A setting that cannot be used, or the run has no validation or not so many
            samples.
    """

    priority = 'LOW'  # after what changes the model at an epoch's end
    needs_validation = True  # a run without one cannot have this hook

    def __init__(self, interval: int = 10, samples: Union[int, Sequence[int]] = 4):
        self.interval = checked_whole(interval, f'{KEY}.interval', least=1)
        self.samples = _checked_samples(samples)

    def before_run(self, runner: Runner) -> None:
        """Look at the run's hooks: see :func:`check_hooks`."""
        check_hooks(runner, self)

    def before_train(self, runner: Runner) -> None:
        """See to it that there are such samples.

        Raises:
            ValueError: There is no validation, or it has fewer.
        """
        if runner.val_loop is None:
            raise ValueError(f'{KEY} needs val_dataloader, val_evaluator and val_cfg')
        number = len(runner.val_loop.dataloader.dataset)
        if max(self.samples) >= number:
            give = f'the validation has {number} samples, give numbers below {number}'
            raise refusal(f'{KEY}.samples', list(self.samples), give)

    def after_train_epoch(self, runner: Runner) -> None:
        """Draw, if it is time."""
        done = runner.epoch + 1
        if done % self.interval == 0 or done == runner.max_epochs:
            self._draw(runner, done)

    @master_only
    def _draw(self, runner: Runner, step: int) -> None:
        # only now: matplotlib takes its time
        from ..core.contact_sheet import as_picture, contact_sheet

        model, dataset = unwrapped(runner), runner.val_loop.dataloader.dataset
        with random_states_kept():
            batch = pseudo_collate([dataset[i] for i in self.samples])
            data = model.data_preprocessor(batch, False)
            panels = panels_of(model, data['inputs'], data['data_samples'], runner.hooks)
        pictures = picture(data['inputs'], model.data_preprocessor)
        id2name = (getattr(dataset, 'metainfo', None) or {}).get('keypoint_id2name') or {}
        names = [id2name[k] for k in sorted(id2name)]
        for number, (one, pixels) in enumerate(zip(self.samples, pictures)):
            sheet = contact_sheet(panels, pixels, number, f'epoch {step}, sample {one}', names)
            runner.visualizer.add_image(f'distillation_{one}', as_picture(sheet), step=step)


def _checked_samples(samples: Union[int, Sequence[int]]) -> tuple[int, ...]:
    key, give = f'{KEY}.samples', f'give a number from 1 to {MOST}, or different numbers from 0'
    if is_whole(samples) and 1 <= samples <= MOST:
        return tuple(range(samples))
    if not is_list(samples) or not 0 < len(samples) <= MOST:
        raise refusal(key, samples, give)
    if not all(is_whole(n) and n >= 0 for n in samples) or len(set(samples)) < len(samples):
        raise refusal(key, samples, give)
    return tuple(samples)
