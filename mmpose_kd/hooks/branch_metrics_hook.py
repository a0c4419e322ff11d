"""Metrics of every output of a head in one validation pass."""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Sequence

from mmengine.evaluator import BaseMetric, DumpResults, Evaluator
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from mmpose.registry import HOOKS

from ..core.capture import replaced
from ..core.deployed import training_part
from ..core.metric_table import metric_table
from ..core.runner import check_hooks, unwrapped


class OutputMetric(BaseMetric):
    """A metric of the data set, read from another output: ``branch1/coco/AP``.

    Args:
        metric: The data set's own metric; what it has loaded is shared, its results are not.
        output: Name of the output. Its predictions are in ``pred_<output>`` of each sample.
    """

    def __init__(self, metric: BaseMetric, output: str):
        super().__init__(collect_device=metric.collect_device, prefix=output)
        self.output = output
        self.metric = _independent(metric, output)

    def process(self, data_batch, data_samples) -> None:
        """Let the metric see this output's predictions in the place of the main ones."""
        field = f'pred_{self.output}'
        samples = [{**sample, 'pred_instances': sample[field]} for sample in data_samples]
        self.metric.process(data_batch, samples)

    def compute_metrics(self, results: list) -> dict:
        """Not called: the wrapped metric collects over the processes and computes."""
        return self.metric.compute_metrics(results)

    def evaluate(self, size: int) -> dict:
        """The wrapped metric's values, each name with the output's name before it."""
        return {f'{self.prefix}/{key}': v for key, v in self.metric.evaluate(size).items()}


def _independent(metric: BaseMetric, output: str) -> BaseMetric:
    """A copy that collects for itself, and shares what is large: the loaded annotations."""
    twin = copy.copy(metric)
    twin.results = []
    if getattr(metric, 'gt_converter', None) is not None:  # changes the annotations in place
        twin.coco = copy.deepcopy(metric.coco)
    if getattr(metric, 'outfile_prefix', None):
        # else each output would overwrite the result file of the one before
        twin.outfile_prefix = f'{metric.outfile_prefix}.{output}'
    for name, value in vars(metric).items():  # metrics made of metrics
        if isinstance(value, BaseMetric):
            setattr(twin, name, _independent(value, output))
        elif isinstance(value, dict) and any(isinstance(v, BaseMetric) for v in value.values()):
            setattr(twin, name, {k: _independent(v, output) for k, v in value.items()})
    return twin


@HOOKS.register_module()
class BranchMetricsHook(Hook):
    """Report the data set's metrics for each output of a head: branches and ensemble, both heads.

    Acts when ``model.test_cfg`` has ``branch='all'``. The model's own metrics (``coco/AP``) are
    unchanged, the others stand beside them (``branch0/coco/AP`` and ``ensemble/coco/AP``
    of :class:`OKDHPHead`, ``deploy/coco/AP`` and ``heatmap/coco/AP`` of :class:`OCDHead`). Works
    with every metric that reads ``pred_instances``. In the log they are a table below MMEngine's
    line; the visualiser gets each under its name.
    """

    def __init__(self):
        """It has no settings; without this Python would not name one that is given."""
        self._as_table = contextlib.ExitStack()

    def before_run(self, runner: Runner) -> None:
        """Look at the model and the evaluators, before any data is loaded: here all can be seen.

        Raises:
            ValueError: The model's parts do not fit together, or the hook is there twice.
            TypeError: There is an evaluator that cannot be extended.
        """
        training_part(unwrapped(runner))
        check_hooks(runner, self)
        model = _predictor(runner)
        branch = (getattr(model, 'test_cfg', None) or {}).get('branch')
        if branch != 'all':
            self._tell_idle(runner, model, branch)
            return
        for name in ('val', 'test'):
            loop = getattr(runner, f'_{name}_loop', None)
            if isinstance(loop, BaseLoop):  # else a config of a loop that this run does not need
                _check_evaluator(getattr(loop, 'evaluator', None), f'{name}_evaluator')

    @staticmethod
    def _tell_idle(runner: Runner, model, branch) -> None:
        """Warn that nothing will be reported."""
        names = getattr(getattr(model, 'head', None), 'output_names', None)
        if names is None:
            why = f'model.head.type={type(getattr(model, "head", None)).__name__} has one output'
        else:
            key = 'model.test_cfg' if model is unwrapped(runner) else 'model.student.test_cfg'
            why = f"{key}.branch={branch!r}: give 'all' to have {', '.join(names)} reported"
        runner.logger.warning(f'custom_hooks: BranchMetricsHook does nothing in this run; {why}')

    def before_val(self, runner: Runner) -> None:
        """Extend the validation's evaluator."""
        self._extend(runner, runner.val_loop.evaluator, 'val_evaluator')
        self._log_as_table(runner)

    def after_val(self, runner: Runner) -> None:
        """Give MMEngine's line its own form back."""
        self._as_table.close()

    def before_test(self, runner: Runner) -> None:
        """Extend the test's evaluator."""
        self._extend(runner, runner.test_loop.evaluator, 'test_evaluator')
        self._log_as_table(runner)

    def after_test(self, runner: Runner) -> None:
        """Give MMEngine's line its own form back."""
        self._as_table.close()

    def _log_as_table(self, runner: Runner) -> None:
        """While an evaluation lasts, its line in the log ends in a table of the outputs."""
        self._as_table.close()
        model = _predictor(runner)
        processor = getattr(runner, 'log_processor', None)
        if processor is None or model.test_cfg.get('branch') != 'all':
            return
        stock, names = processor.get_log_after_epoch, model.head.output_names

        def with_table(runner, batch_idx, mode, *args, **kwargs):
            tag, text = stock(runner, batch_idx, mode, *args, **kwargs)
            return tag, with_outputs_as_table(tag, text, names, f'{mode}/')

        self._as_table.enter_context(replaced(processor, 'get_log_after_epoch', with_table))

    def _extend(self, runner: Runner, evaluator: Evaluator, key: str) -> None:
        model = _predictor(runner)
        if model.test_cfg.get('branch') != 'all':
            return
        _check_evaluator(evaluator, key)
        if any(isinstance(metric, OutputMetric) for metric in evaluator.metrics):
            return
        names = model.head.output_names
        # a dump of the samples holds every output's predictions anyway
        own = [metric for metric in evaluator.metrics if not isinstance(metric, DumpResults)]
        evaluator.metrics.extend(OutputMetric(metric, name) for name in names for metric in own)


def with_outputs_as_table(tag: dict, text: str, outputs: Sequence[str], prefix: str) -> str:
    """MMEngine's line of an evaluation, with a table in the place of the outputs' metrics.

    Args:
        tag: What is logged, by name.
        text: The line: ``name: value`` of each, two blanks apart.
        outputs: Names of the outputs, which stand before their metrics' names.
        prefix: What may stand before these: ``'val/'``.
    """
    rows = {}
    for name, value in tag.items():
        output, _, metric = name.removeprefix(prefix).partition('/')
        if metric and output in outputs:
            rows.setdefault(output, {})[metric] = value
            text = re.sub(rf'(?<=\s){re.escape(name)}: \S+\s*', '', text)
    if not rows:
        return text
    return f'{text.rstrip()}\n{metric_table({o: rows[o] for o in outputs if o in rows})}'


def _check_evaluator(evaluator, key: str) -> None:
    if type(evaluator) is not Evaluator:
        raise TypeError(
            f"{key}.type={type(evaluator).__name__}: BranchMetricsHook can only extend MMEngine's "
            'Evaluator, one for all data; give its metrics as a list, or leave the hook out, or '
            'set model.test_cfg.branch to one branch'
        )


def _predictor(runner: Runner):
    """The model that predicts: in a distiller the student."""
    model = unwrapped(runner)
    return getattr(model, 'student', model)
