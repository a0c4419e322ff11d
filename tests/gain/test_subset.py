"""Smaller training sets."""

import json

import pytest

from mmpose_kd.gain.configs import SettingError, load_config
from mmpose_kd.gain.subset import subset


def test_smaller_training_sets_are_part_of_larger_ones(pair, tmp_path):
    cfg = load_config(pair[0])
    persons = []
    for size in (5, 3):
        written = json.loads(subset(cfg, size, tmp_path / str(size)).read_text())
        assert {a['image_id'] for a in written['annotations']} == {
            i['id'] for i in written['images']
        }
        assert len(written['annotations']) == size
        persons.append({a['id'] for a in written['annotations']})
    assert persons[1] < persons[0]


def test_too_large_a_training_set_is_an_error(pair, tmp_path):
    cfg = load_config(pair[0])
    with pytest.raises(SettingError, match=r'--train-persons 9999.*give fewer'):
        subset(cfg, 9999, tmp_path)


def test_a_subset_needs_a_coco_file(pair, tmp_path):
    cfg = load_config(pair[0])
    cfg.train_dataloader.dataset = dict(type='CombinedDataset', datasets=[])
    with pytest.raises(SettingError, match='COCO file, found None'):
        subset(cfg, 3, tmp_path)
