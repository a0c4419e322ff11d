"""The student's config is the run's, without what is this package's."""

import warnings

import pytest
from mmengine.config import Config
from mmengine.hooks import CheckpointHook

from mmpose_kd.export import ExportError, StudentWarning, plain_config
from mmpose_kd.export.config import _flat, _stock_metric, compare_with_run

MODEL = dict(type='TopdownPoseEstimator', head=dict(type='HeatmapHead', out_channels=5))


def plain(outputs=(), model=MODEL, **run):
    with warnings.catch_warnings():
        warnings.simplefilter('error', StudentWarning)
        return plain_config(Config(dict(model=dict(type='PoseDistiller'), **run)), model, outputs)


def test_the_model_is_the_plain_one_and_the_rest_is_the_runs():
    found = plain(train_cfg=dict(max_epochs=3), data=[dict(a=(1, 2))]).to_dict()
    assert found == dict(
        model=MODEL, train_cfg=dict(max_epochs=3), data=[dict(a=(1, 2))],
        custom_hooks=[], load_from=None, resume=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ('imports', 'left'),
    [
        ('mmpose_kd', None),
        ('json', ['json']),
        (['json', 'mmpose_kd', 'mmpose_kd.okdhp'], ['json']),
        (['mmpose_kd_of_mine'], ['mmpose_kd_of_mine']),
        ([], None),
    ],
)
def test_imports_of_others_stay(imports, left):
    found = plain(custom_imports=dict(imports=imports, allow_failed_imports=False))
    wanted = None if left is None else dict(imports=left, allow_failed_imports=False)
    assert found.get('custom_imports') == wanted
    assert 'custom_imports' not in plain(custom_imports=None)


def test_a_class_that_stays_keeps_the_import_and_is_told():
    model = dict(MODEL, head=dict(type='UnbiasedIntegralHead'))
    cfg = Config(dict(model=MODEL, custom_imports=dict(imports=['json', 'mmpose_kd'])))
    told = r"keeps head.type='UnbiasedIntegralHead' and so needs mmpose_kd"
    with pytest.warns(StudentWarning, match=told):
        found = plain_config(cfg, model)
    assert found.custom_imports.imports == ['json', 'mmpose_kd']


def test_hooks_of_others_stay():
    others = [dict(type='EMAHook'), dict(type='mmdet.DSKDHook')]
    ours = [dict(type='BranchMetricsHook'), dict(type='mmpose_kd.DSKDHook')]
    assert plain(custom_hooks=[others[0], *ours, others[1]]).custom_hooks == others
    assert plain(custom_hooks=None).custom_hooks == []


def test_hooks_follow_the_models_own_metric():
    save = dict(type='CheckpointHook', save_best=['ensemble/AP', 'branch12/AP', 'teacher/AP'])
    stop = dict(type='EarlyStoppingHook', monitor='student2/coco/AP')
    found = plain(
        ('student2',),
        default_hooks=dict(checkpoint=save, logger=None),
        custom_hooks=[stop, dict(type='EMAHook')],
    )
    assert found.default_hooks.checkpoint.save_best == ['AP', 'teacher/AP']
    assert found.default_hooks.logger is None
    assert found.custom_hooks == [{**stop, 'monitor': 'coco/AP'}, dict(type='EMAHook')]


def test_metrics_of_several_outputs_become_the_models_own_one_once():
    metrics = ['AP', 'branch1/AP', 'branch1/loss', 'branch2/AP']
    save = dict(type='CheckpointHook', save_best=metrics)
    for rule, left in (
        ('greater', 'greater'),
        (['greater', 'greater', 'less', 'greater'], ['greater', 'less']),
    ):
        hooks = plain(default_hooks=dict(checkpoint=dict(save, rule=rule))).default_hooks
        assert (hooks.checkpoint.save_best, hooks.checkpoint.rule) == (['AP', 'loss'], left)
        CheckpointHook(**{k: v for k, v in hooks.checkpoint.items() if k != 'type'})


@pytest.mark.parametrize(
    ('metric', 'stock'),
    [
        ('branch0/coco/AP', 'coco/AP'),
        ('branch/AP', 'branch/AP'),
        ('coco/branch0/AP', 'coco/branch0/AP'),
        ('a.b/AP', 'AP'),
        ('aXb/AP', 'aXb/AP'),
        (True, True),
        (('ensemble/AP',), ['AP']),
    ],
)
def test_a_metric_loses_the_name_of_an_output_at_its_beginning(metric, stock):
    assert _stock_metric(metric, ['a.b']) == stock


def test_what_is_the_runs_alone_goes():
    found = plain(
        work_dir='w', launcher='none', _help=1, load_from='teacher.pth', resume=True, seed=3
    )
    assert sorted(found) == ['custom_hooks', 'load_from', 'model', 'resume', 'seed']
    assert (found.load_from, found.resume) == (None, False)


def test_steps_of_ours_leave_what_they_say_is_left_of_them():
    deploy, maps = dict(type='RegressionLabel'), dict(type='MSRAHeatmap')
    pipeline = [
        dict(type='LoadImage'),
        dict(
            type='FixedAugmentations',
            transforms=[dict(type='TopdownAffine'), dict(type='TeacherView', name='a')],
        ),
        dict(type='TeacherView', name='b'),
        dict(
            type='GenerateTarget',
            encoder=dict(type='CrossRepresentationLabel', deploy=deploy, heatmap=maps),
        ),
        dict(type='PackPoseViews', meta_keys=('id', 'img_path')),
    ]
    found = plain(train_dataloader=dict(dataset=dict(pipeline=pipeline)))
    assert found.train_dataloader.dataset.pipeline == [
        dict(type='LoadImage'),
        dict(type='TopdownAffine'),
        dict(type='GenerateTarget', encoder=deploy),
        dict(type='PackPoseInputs', meta_keys=('id', 'img_path')),
    ]


def test_classes_become_the_paths_that_a_text_config_has():
    from mmpose.datasets import TopdownAffine

    found = plain(val_dataloader=dict(dataset=dict(pipeline=(dict(type=TopdownAffine), 3))))
    path = f'{TopdownAffine.__module__}.TopdownAffine'
    assert found.val_dataloader.dataset.pipeline == (dict(type=path), 3)


def test_another_type_of_ours_is_refused_with_its_key():
    with pytest.raises(ExportError, match=r"still need mmpose_kd: cfg.0.a.type='FAU'; nothing"):
        plain(cfg=[dict(a=dict(type='FAU'))])


def test_a_variable_of_the_config_that_holds_a_type_of_ours_is_left_out():
    found = plain(okdhp_head=dict(type='OKDHPHead'), codec=dict(type='MSRAHeatmap'), folds=3)
    assert 'okdhp_head' not in found
    assert found.codec == dict(type='MSRAHeatmap') and found.folds == 3


# Compared with the run's own config


def config(out_channels=5, pipeline=(), mean=(1, 2, 3), **head):
    model = dict(
        type='TopdownPoseEstimator',
        data_preprocessor=dict(type='PoseDataPreprocessor', mean=list(mean)),
        head=dict(type='HeatmapHead', out_channels=out_channels, **head),
    )
    return dict(model=model, val_dataloader=dict(dataset=dict(pipeline=list(pipeline))))


def compared(given, run):
    """What is told, ``''`` if nothing is."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        compare_with_run(Config(given), run, 'run.py')
    return ' '.join(str(one.message) for one in told if one.category is StudentWarning)


def test_the_same_config_is_taken_without_a_word_and_so_is_an_unknown_one():
    assert compared(config(), config()) == ''
    for unknown in ({}, dict(model=None), dict(model='text')):
        assert compared(config(), unknown) == ''


@pytest.mark.parametrize(
    'same',
    [
        dict(head_type='mmpose.HeatmapHead'),
        dict(head_type='mmpose.models.HeatmapHead'),
        dict(init_cfg=dict(type='Pretrained', checkpoint='a.pth')),
        dict(deconv_out_channels=None),
        dict(_scope_='mmpose'),
    ],
)
def test_what_changes_nothing_is_not_told(same):
    other = config(**{k: v for k, v in same.items() if k != 'head_type'})
    other['model']['head']['type'] = same.get('head_type', 'HeatmapHead')
    assert compared(config(), other) == compared(other, config()) == ''


@pytest.mark.parametrize(
    ('other', 'key'),
    [
        (config(out_channels=6), 'model.head.out_channels'),
        (config(deconv_kernel_sizes=(4, 4)), 'model.head.deconv_kernel_sizes'),
        (config(pipeline=[dict(type='A', size=1)]), 'val_dataloader.dataset.pipeline.0.size'),
        (config(loss=[dict(type='A'), dict(type='B')]), 'model.head.loss.0.type'),
    ],
)
def test_another_setting_of_the_model_or_of_the_validations_pictures_is_told(other, key):
    for told in (compared(config(), other), compared(other, config())):
        assert 'run.py is not the config of the run' in told and key in told
        assert 'more' not in told


def test_of_many_differences_some_are_named():
    told = compared(config(), config(**{f'a{i}': i for i in range(7)}))
    assert 'differ in model.head.a0, ' in told and 'model.head.a4 and 2 more:' in told
    assert 'model.head.a5' not in told


def test_a_config_without_validation_is_compared_too():
    given, run = config(), config(out_channels=6)
    del given['val_dataloader'], run['val_dataloader']['dataset']
    assert 'model.head.out_channels' in compared(given, run)
    assert 'model.head.out_channels' in compared({**given, 'val_dataloader': None}, run)


def test_other_pictures_than_in_the_training_are_refused():
    with pytest.raises(ExportError, match=r'not that of the run, mean=\[9, 2, 3\] \(here'):
        compared(config(), config(mean=(9, 2, 3)))


def test_settings_are_compared_as_texts_by_key():
    from mmpose.models import HeatmapHead

    node = dict(
        a=1, b=None, c=(1, 2), d=[dict(type='x.Y'), 'z.y'], e=True, f=HeatmapHead, g='x.Y', h=[]
    )
    assert _flat('k', node) == {
        'k.a': '1',
        'k.c': '[1, 2]',
        'k.d.0.type': 'Y',
        'k.d.1': 'z.y',
        'k.e': 'True',
        'k.f': 'HeatmapHead',
        'k.g': 'x.Y',
        'k.h': '[]',
    }
