"""DSKDHook: what the files of its guides and teachers state is compared with the run."""

import pytest
import torch

from ..helpers.dskd_runs import HOOK, Record, dskd_config, make_runner, train, with_17
from ..helpers.models import build, plain_config, randomize

PAWS = {k: f'paw{k}' for k in range(17)}


def written(path, model=None, **meta):
    """A checkpoint of the student's architecture that states something; its path."""
    state = randomize(build(model or with_17())).state_dict()
    torch.save({'state_dict': state, 'meta': meta}, path)
    return str(path)


def coco(data):
    runner = make_runner(dskd_config(data, data.parent / 'names'))
    return dict(runner.build_dataloader(runner.cfg.train_dataloader).dataset.metainfo)


def settings(kind, file, **more):
    if kind == 'checkpoint':
        return dict(guides=[file])
    model = dict(config=with_17(), checkpoint=file, **more)
    return dict(guides=[model]) if kind == 'guide' else dict(teachers=[model], num_guides=1)


kinds = pytest.mark.parametrize(
    ('kind', 'name'),
    [('teacher', 'teachers'), ('guide', 'guides'), ('checkpoint', 'guides')],
)


def refused(cfg, message):
    record = Record()
    with pytest.raises(ValueError, match=message):
        make_runner(cfg, record).train()
    assert record.losses == {}


@kinds
def test_one_of_other_keypoints_is_refused_before_the_first_step(data, tmp_path, kind, name):
    file = written(tmp_path / 'a.pth', dataset_meta=dict(keypoint_id2name=PAWS))
    cfg = dskd_config(data, tmp_path / 'work', epochs=2, **settings(kind, file))
    refused(cfg, rf'DSKDHook\.{name}\[0\] was trained for other .*0: nose, paw0.*\.keypoints')


def test_one_of_the_same_keypoints_in_another_order_is_refused(data, tmp_path):
    names = dict(coco(data)['keypoint_id2name'])
    names[1], names[2] = names[2], names[1]
    file = written(tmp_path / 'a.pth', dataset_meta=dict(keypoint_id2name=names))
    cfg = dskd_config(data, tmp_path / 'work', epochs=2, **settings('teacher', file))
    refused(cfg, r'teachers\[0\] was trained .*1: left_eye, right_eye, 2: right_eye, left_eye')


def test_one_of_other_keypoints_with_a_mapping_teaches(data, tmp_path):
    file = written(tmp_path / 'a.pth', dataset_meta=dict(keypoint_id2name=PAWS))
    mapped = settings('teacher', file, keypoints=list(range(17)))
    cfg = dskd_config(data, tmp_path / 'work', epochs=2, **mapped)
    assert train(cfg)[1]


@kinds
def test_one_of_the_same_keypoints_or_that_says_nothing_teaches(data, tmp_path, kind, name):
    for meta in (dict(dataset_meta=dict(keypoint_id2name=coco(data)['keypoint_id2name'])), {}):
        file = written(tmp_path / 'a.pth', **meta)
        cfg = dskd_config(data, tmp_path / 'work', epochs=2, **settings(kind, file))
        assert train(cfg)[1]


@kinds
def test_one_that_was_trained_with_another_normalisation_is_refused(data, tmp_path, kind, name):
    other = plain_config()
    other['data_preprocessor'].update(mean=[0.0, 0.0, 0.0])
    file = written(tmp_path / 'a.pth', cfg=f'model = {other!r}')
    cfg = dskd_config(data, tmp_path / 'work', epochs=2, **settings(kind, file))
    refused(cfg, rf'DSKDHook\.{name}\[0\]\.config: data_preprocessor .*mean=\[0')


def test_one_that_is_given_with_its_own_normalisation_teaches(data, tmp_path):
    other = with_17()
    other['data_preprocessor'].update(mean=[0.0, 0.0, 0.0])
    file = written(tmp_path / 'a.pth', other, cfg=f'model = {other!r}')
    model = dict(config=other, checkpoint=file)
    cfg = dskd_config(data, tmp_path / 'work', epochs=2, guides=[model])
    assert train(cfg)[1]


def test_names_are_compared_through_a_data_set_that_holds_others(data, tmp_path):
    file = written(tmp_path / 'a.pth', dataset_meta=dict(keypoint_id2name=PAWS))
    cfg = dskd_config(data, tmp_path / 'work', epochs=2, **settings('teacher', file))
    inner = cfg['train_dataloader']['dataset']
    cfg['custom_hooks'] = [{**HOOK, **settings('teacher', file)}]
    cfg['train_dataloader']['dataset'] = dict(type='RepeatDataset', times=2, dataset=inner)
    refused(cfg, r'teachers\[0\] was trained for other .*paw0')


def test_a_hook_that_is_switched_off_compares_nothing(data, tmp_path):
    file = written(tmp_path / 'a.pth', dataset_meta=dict(keypoint_id2name=PAWS))
    off = dict(alpha=0, gamma=0, **settings('teacher', file))
    assert train(dskd_config(data, tmp_path / 'work', epochs=2, **off))[1]
