"""A pair of configs is compared only if both models see the same data."""

from pathlib import Path

import pytest
from mmengine.config import Config

from mmpose_kd.core.recipe import RECIPES
from mmpose_kd.gain.configs import SettingError, check_pair, load_config

from ..helpers.models import CODEC, SIZE, plain_config
from ..helpers.runs import run_config


def test_a_pair_must_see_the_same_data(pair):
    plain, okdhp = map(load_config, pair)
    okdhp.train_dataloader.batch_size = 2
    with pytest.raises(SettingError, match=r'train_dataloader\.batch_size=2, .* has 4'):
        check_pair(plain, okdhp, 'okdhp.py')


@pytest.mark.parametrize(
    'change, key',
    [
        ({'train_dataloader.dataset.pipeline.3.scale_factor': [1, 1]}, r'pipeline\.3\.scale_fac'),
        ({'train_dataloader.dataset.pipeline.2.type': 'NoFlip'}, r'pipeline\.2\.type=.NoFlip'),
        ({'train_dataloader.dataset.data_root': '/other'}, r'train_dataloader\.dataset\.ann_file'),
        ({'test_dataloader.dataset.indices': 2}, r'test_dataloader\.dataset\.indices=2'),
        ({'custom_hooks': [dict(type='Switch', switch_pipeline=[])]}, r'custom_hooks='),
    ],
)
def test_a_pair_must_have_the_same_augmentation(pair, change, key):
    plain, okdhp = map(load_config, pair)
    okdhp.merge_from_dict(change)
    with pytest.raises(SettingError, match=f'okdhp.py: .*{key}'):
        check_pair(plain, okdhp, 'okdhp.py')


def test_a_pair_may_differ_in_what_does_not_change_the_samples(pair):
    plain, okdhp = map(load_config, pair)
    dataset = okdhp.train_dataloader.dataset
    dataset.ann_file = str(Path(dataset.data_root, dataset.ann_file))
    dataset.data_prefix.img = str(Path(dataset.data_root, dataset.data_prefix.img))
    dataset.data_root = None
    dataset.pipeline[0]['_scope_'] = 'mmpose'
    okdhp.train_dataloader.persistent_workers = True
    okdhp.test_dataloader.batch_size = 1
    check_pair(plain, okdhp, 'okdhp.py')


def test_heatmaps_beside_the_deployed_heads_targets_are_the_same_data(pair):
    plain, ocd = map(load_config, pair)
    step = ocd.train_dataloader.dataset.pipeline[-2]
    assert step.type == 'GenerateTarget'
    heatmap = dict(type='UDPHeatmap', input_size=SIZE, heatmap_size=(8, 16), sigma=1)
    step.encoder = dict(
        type='CrossRepresentationLabel', deploy=step.encoder.to_dict(), heatmap=heatmap
    )
    check_pair(plain, ocd, 'ocd.py')
    step.encoder.deploy.sigma = 3
    with pytest.raises(SettingError, match=r'ocd.py: .*encoder\.sigma=3'):
        check_pair(plain, ocd, 'ocd.py')


def test_a_teachers_view_of_its_own_is_the_same_data(pair):
    plain = load_config(pair[0])
    config = plain_config()
    config['head'].update(
        out_channels=17, decoder=dict(CODEC, input_size=(64, 128), heatmap_size=(16, 32))
    )
    teacher = dict(config=config, checkpoint=None)
    made = Config(RECIPES['pkd'].distilled(plain.to_dict(), teacher))
    steps = [step.type for step in made.train_dataloader.dataset.pipeline]
    assert 'TeacherView' in steps and steps[-1] == 'PackPoseViews'
    check_pair(plain, made, 'pkd.py')

    steps = made.train_dataloader.dataset.pipeline
    fixed = dict(type='FixedAugmentations', transforms=steps[2:6])
    made.train_dataloader.dataset.pipeline = [*steps[:2], fixed, *steps[6:]]
    with pytest.raises(SettingError, match=r'pkd\.py: train_dataloader\.dataset\.pipeline='):
        check_pair(plain, made, 'pkd.py')
    own = plain.train_dataloader.dataset.pipeline
    without = dict(type='FixedAugmentations', transforms=own[2:5])  # and so other augmentations
    plain.train_dataloader.dataset.pipeline = [*own[:2], without, *own[5:]]
    with pytest.raises(SettingError, match=r'dataset\.pipeline\.2\.transforms='):
        check_pair(plain, made, 'pkd.py')
    plain.train_dataloader.dataset.pipeline = [*own[:2], fixed, *own[5:]]
    check_pair(plain, made, 'pkd.py')


def test_the_plain_config_names_the_weights_to_start_from(pair):
    plain, okdhp = map(load_config, pair)
    plain.load_from = 'a.pth'
    check_pair(plain, okdhp, 'okdhp.py')
    okdhp.load_from = 'b.pth'
    with pytest.raises(SettingError, match=r"load_from='b.pth', the plain config has 'a.pth'"):
        check_pair(plain, okdhp, 'okdhp.py')


def test_detections_give_way_to_labelled_boxes(data, tmp_path):
    cfg = run_config(data, tmp_path, plain_config())
    cfg['test_dataloader']['dataset']['bbox_file'] = 'detections.json'
    Config(cfg).dump(tmp_path / 'plain.py')
    loaded = load_config(str(tmp_path / 'plain.py'))
    assert loaded.test_dataloader.dataset.bbox_file is None


def test_metrics_are_taken_out_of_an_evaluator_of_one_data_set(pair, tmp_path):
    cfg = Config.fromfile(pair[0])
    metrics = [dict(type='EPE')]
    cfg.test_evaluator = dict(type='Evaluator', metrics=metrics)
    cfg.dump(tmp_path / 'one.py')
    assert load_config(str(tmp_path / 'one.py')).test_evaluator == metrics
    cfg.test_evaluator = dict(type='MultiDatasetEvaluator', metrics=metrics, datasets=[])
    cfg.dump(tmp_path / 'many.py')
    with pytest.raises(SettingError, match=r"test_evaluator\.type='MultiDatasetEvaluator': give"):
        load_config(str(tmp_path / 'many.py'))
