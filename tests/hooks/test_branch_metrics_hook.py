"""BranchMetricsHook: each output measured by the data set's own metric."""

import json
import uuid

import mmengine
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.evaluator import BaseMetric, DumpResults, Evaluator
from mmengine.runner import BaseLoop, Runner

from mmpose_kd.hooks.branch_metrics_hook import (
    BranchMetricsHook,
    OutputMetric,
    _independent,
    with_outputs_as_table,
)

from ..helpers.models import build, okdhp_config, plain_config


class MeanX(BaseMetric):
    """Mean of the predicted x: a metric whose value shows which prediction it has seen."""

    default_prefix = 'mine'

    def __init__(self, outfile_prefix=None):
        super().__init__()
        self.outfile_prefix = outfile_prefix

    def process(self, data_batch, data_samples):
        self.results += [float(s['pred_instances']['keypoints'].mean()) for s in data_samples]

    def compute_metrics(self, results):
        return {'x': float(np.mean(results))}


class Loop(BaseLoop):
    def __init__(self, evaluator):
        self.evaluator = evaluator

    def run(self):
        """Not run."""


class Run:
    """The attributes of a Runner that the hook reads."""

    def __init__(self, model, evaluator):
        self.model = model
        self.val_loop = self.test_loop = self._val_loop = Loop(evaluator)
        self._test_loop = dict(type='TestLoop')  # as the Runner keeps one that is not needed
        self.cfg, self.hooks, self.logger, self.said = Config(), [], self, []

    def warning(self, text):
        self.said.append(text)


def sample(**values):
    return {
        f'pred_{name}': {'keypoints': np.full((1, 5, 2), float(value))}
        for name, value in values.items()
    }


def okdhp(branch):
    config = okdhp_config(num_branches=2)
    config['test_cfg']['branch'] = branch
    return build(config, init=False)


def test_the_student_of_a_distiller_is_measured_by_each_output():
    student = okdhp_config(num_branches=2)
    student['test_cfg']['branch'] = 'all'
    model = dict(
        type='PoseDistiller',
        student=student,
        teachers=[dict(config=plain_config(), checkpoint=None)],
        distill=[
            dict(
                loss=dict(type='KeypointMSELoss', use_target_weight=True),
                student='head.branches.0.head.final_layer',
                teacher='head.final_layer',
            )
        ],
    )
    run, hook = Run(build(model, init=False), Evaluator(MeanX())), BranchMetricsHook()
    hook.before_run(run)
    hook.before_val(run)
    added = [m.output for m in run.val_loop.evaluator.metrics if isinstance(m, OutputMetric)]
    assert added == ['branch0', 'branch1', 'ensemble']


def test_every_output_gets_its_own_value_under_its_own_name():
    evaluator = Evaluator(MeanX())
    hook = BranchMetricsHook()
    hook.before_val(Run(okdhp('all'), evaluator))
    samples = [sample(instances=1, branch0=1, branch1=2, ensemble=3)] * 2
    evaluator.process(samples)
    assert evaluator.evaluate(2) == {
        'mine/x': 1, 'branch0/mine/x': 1, 'branch1/mine/x': 2, 'ensemble/mine/x': 3
    }  # fmt: skip


def test_a_second_validation_neither_repeats_outputs_nor_keeps_results():
    evaluator = Evaluator(MeanX())
    hook = BranchMetricsHook()
    for value in (1, 5):
        hook.before_val(Run(okdhp('all'), evaluator))
        evaluator.process([sample(instances=value, branch0=value, branch1=value, ensemble=value)])
        found = evaluator.evaluate(1)
        assert len(found) == 4
        assert set(found.values()) == {value}


@pytest.mark.parametrize('branch', [0, 'ensemble'])
def test_one_chosen_output_is_measured_alone(branch):
    evaluator = Evaluator(MeanX())
    BranchMetricsHook().before_test(Run(okdhp(branch), evaluator))
    assert len(evaluator.metrics) == 1


def test_a_plain_model_is_left_alone():
    evaluator = Evaluator(MeanX())
    BranchMetricsHook().before_val(Run(build(plain_config(), init=False), evaluator))
    assert len(evaluator.metrics) == 1


def test_a_dump_of_predictions_keeps_the_main_ones(tmp_path):
    dump = DumpResults(str(tmp_path / 'out.pkl'))
    evaluator = Evaluator([MeanX(), dump])
    BranchMetricsHook().before_test(Run(okdhp('all'), evaluator))
    evaluator.process([sample(instances=1, branch0=1, branch1=2, ensemble=3)])
    evaluator.evaluate(1)
    saved = mmengine.load(tmp_path / 'out.pkl')
    assert saved[0]['pred_instances']['keypoints'].mean() == 1


class Parts(MeanX):
    """A metric made of metrics, as MMPose's KeypointPartitionMetric is."""

    def __init__(self):
        super().__init__()
        self.metrics = dict(all=MeanX())

    def process(self, data_batch, data_samples):
        self.metrics['all'].process(data_batch, data_samples)
        self.results += self.metrics['all'].results[-len(data_samples) :]

    def compute_metrics(self, results):
        return {'x': float(np.mean(self.metrics['all'].results))}


def test_a_metric_made_of_metrics_is_separate_for_each_output():
    evaluator = Evaluator(Parts())
    BranchMetricsHook().before_val(Run(okdhp('all'), evaluator))
    evaluator.process([sample(instances=1, branch0=1, branch1=2, ensemble=3)])
    found = evaluator.evaluate(1)
    assert list(found.values()) == [1, 1, 2, 3]


def test_an_evaluator_of_another_kind_is_refused_with_its_key():
    class Other(Evaluator):
        pass

    with pytest.raises(TypeError, match=r'val_evaluator.type=Other'):
        BranchMetricsHook().before_val(Run(okdhp('all'), Other(MeanX())))


class Several(Evaluator):
    """As MMPose's MultiDatasetEvaluator."""


@pytest.mark.parametrize('evaluator', [Several(MeanX()), [Evaluator(MeanX())] * 2, None])
def test_several_evaluators_are_refused_before_the_run(evaluator):
    with pytest.raises(TypeError, match=r'val_evaluator.type=(Several|list|NoneType): '):
        BranchMetricsHook().before_run(Run(okdhp('all'), evaluator))


def test_several_evaluators_are_nothing_to_a_run_of_one_output():
    run = Run(okdhp(1), Several(MeanX()))
    hook = BranchMetricsHook()
    hook.before_run(run)
    hook.before_val(run)
    hook.after_val(run)
    assert [type(metric) for metric in run.val_loop.evaluator.metrics] == [MeanX]


def test_a_list_of_metrics_is_one_evaluator():
    run = Run(okdhp('all'), Evaluator([MeanX(), Parts()]))
    BranchMetricsHook().before_run(run)
    assert run.said == []


def test_the_evaluator_of_a_test_is_named_as_such():
    run = Run(okdhp('all'), Evaluator(MeanX()))
    run._test_loop = Loop(Several(MeanX()))
    with pytest.raises(TypeError, match=r'test_evaluator.type=Several'):
        BranchMetricsHook().before_run(run)


@pytest.mark.parametrize(
    ('branch', 'message'),
    [
        (None, "model.test_cfg.branch=None: give 'all' to have branch0, branch1, ensemble"),
        (1, 'model.test_cfg.branch=1: give'),
    ],
)
def test_a_forgotten_branch_all_is_told_before_the_run(branch, message):
    config = okdhp_config(num_branches=2)
    if branch is not None:
        config['test_cfg']['branch'] = branch
    run = Run(build(config, init=False), Evaluator(MeanX()))
    BranchMetricsHook().before_run(run)
    (said,) = run.said
    assert 'BranchMetricsHook does nothing in this run' in said and message in said


def test_a_model_without_several_outputs_is_told_before_the_run():
    run = Run(build(plain_config(), init=False), Evaluator(MeanX()))
    BranchMetricsHook().before_run(run)
    assert 'model.head.type=HeatmapHead has one output' in run.said[0]


def test_trunk_and_head_are_compared_before_the_run():
    config = okdhp_config(split='stage2')
    config['backbone']['split'] = 'stage3'
    with pytest.raises(ValueError, match='cut differently'):
        BranchMetricsHook().before_run(Run(build(config, init=False), Evaluator(MeanX())))


def test_result_files_of_different_outputs_do_not_overwrite_each_other():
    metric = MeanX(outfile_prefix='results/run')
    assert OutputMetric(metric, 'branch1').metric.outfile_prefix == 'results/run.branch1'
    assert metric.outfile_prefix == 'results/run'


# ------------------------------------------------------------------------ the log


LINE = 'Epoch(val) [1][2/2]    coco/AP: 0.5000  branch0/coco/AP: 0.2500  branch0/EPE: 3.0000  '
TAG = {'coco/AP': 0.5, 'branch0/coco/AP': 0.25, 'branch0/EPE': 3.0, 'ensemble/coco/AP': 0.75}


def test_the_outputs_metrics_become_a_table_below_the_models_own():
    text = f'{LINE}ensemble/coco/AP: 0.7500  data_time: 0.1000  time: 0.2000'
    first, *table = with_outputs_as_table(TAG, text, ['branch0', 'ensemble'], 'val/').splitlines()
    assert first == 'Epoch(val) [1][2/2]    coco/AP: 0.5000  data_time: 0.1000  time: 0.2000'
    assert [row.split() for row in table[-2:]] == [
        ['branch0', '0.2500', '3.0000'], ['ensemble', '0.7500']
    ]  # fmt: skip


def test_a_line_without_outputs_stays_as_it_is():
    assert with_outputs_as_table({'coco/AP': 0.5}, LINE, ['branch0'], 'val/') == LINE


@pytest.mark.slow
def test_a_run_logs_a_table_and_hands_the_visualiser_the_same_scalars(run, tmp_path):
    cfg = Config.fromfile(run / 'okdhp.py')
    cfg.log_level, cfg.work_dir, cfg.train_cfg.max_epochs = 'INFO', str(tmp_path), 1
    cfg.experiment_name = uuid.uuid4().hex
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert 'get_log_after_epoch' not in vars(runner.log_processor)
    log = next(tmp_path.glob('*/*.log')).read_text()
    line = next(line for line in log.splitlines() if 'Epoch(val)' in line and 'coco/AP:' in line)
    assert 'branch' not in line and 'ensemble' not in line and 'time: ' in line
    scalars = next(tmp_path.glob('*/vis_data/scalars.json')).read_text().splitlines()
    (values,) = (record for record in map(json.loads, scalars) if 'EPE' in record)
    for output in ('branch0', 'branch1', 'branch2', 'ensemble'):
        row = next(row for row in log.splitlines() if row.startswith(f'{output}  '))
        assert row.split()[-1] == f'{values[f"{output}/EPE"]:.4f}'


def test_annotations_that_a_metric_converts_in_place_are_its_own():
    """CocoMetric(gt_converter=...) does; without it the loaded annotations are shared."""
    metric = MeanX()
    metric.coco, metric.gt_converter = {'anns': [1, 2]}, None
    assert _independent(metric, 'branch0').coco is metric.coco
    metric.gt_converter = dict(num_keypoints=2, mapping=[(0, 1)])
    twin = _independent(metric, 'branch0')
    assert twin.coco == metric.coco and twin.coco is not metric.coco
