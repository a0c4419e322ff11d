"""Files of data sets: moved to another folder, and named where they are missing."""

import pytest

from mmpose_kd.verify.data import missing_files, put_at


def config(root='data/coco/', **dataset):
    """A config as MMPose's own: detection boxes and the evaluator's file name the root too."""
    one = dict(
        type='CocoDataset', data_root=root, ann_file='annotations/train.json',
        data_prefix=dict(img='train2017/'),
    )  # fmt: skip
    val = dict(one, ann_file='annotations/val.json', bbox_file=f'{root}boxes.json', data_prefix={})
    return dict(
        train_dataloader=dict(dataset={**one, **dataset}),
        val_dataloader=dict(dataset=val),
        val_evaluator=[dict(type='CocoMetric', ann_file=f'{root}annotations/val.json')],
    )


@pytest.fixture
def there(tmp_path):
    """A folder with everything that :func:`config` names."""
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'train2017').mkdir()
    for name in ('annotations/train.json', 'annotations/val.json', 'boxes.json'):
        (tmp_path / name).write_text('{}')
    return tmp_path


def test_another_folder_stands_for_the_data_root_wherever_it_is_named(there):
    cfg = config()
    put_at(cfg, str(there))
    assert cfg['train_dataloader']['dataset']['data_root'].rstrip('/') == str(there)
    assert cfg['val_dataloader']['dataset']['bbox_file'] == str(there / 'boxes.json')
    assert cfg['val_evaluator'][0]['ann_file'] == str(there / 'annotations/val.json')
    assert cfg['train_dataloader']['dataset']['ann_file'] == 'annotations/train.json'
    assert list(missing_files(cfg)) == []


def test_of_several_data_sets_it_stands_for_what_they_have_in_common(tmp_path):
    inner = [config(f'data/{name}/')['train_dataloader']['dataset'] for name in ('coco', 'aic')]
    cfg = dict(train_dataloader=dict(dataset=dict(type='CombinedDataset', datasets=inner)))
    put_at(cfg, str(tmp_path))
    found = [one['data_root'] for one in cfg['train_dataloader']['dataset']['datasets']]
    assert found == [f'{tmp_path}/coco/', f'{tmp_path}/aic/']
    messages = list(missing_files(cfg))
    assert [m.partition('=')[0] for m in messages] == [
        f'train_dataloader.dataset.datasets.{i}.data_root' for i in range(2)
    ]


def test_a_folder_that_no_data_set_has_a_root_for_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'--data-root .* have no data_root in common'):
        put_at(dict(train_dataloader=dict(dataset=dict(type='A'))), str(tmp_path))
    with pytest.raises(FileNotFoundError, match='there is no such folder'):
        put_at(config(), str(tmp_path / 'nowhere'))


def test_a_root_that_is_not_there_is_said_once_with_what_belongs_there(tmp_path):
    [message] = missing_files(config(f'{tmp_path}/nowhere/'))
    assert message == (
        f"train_dataloader.dataset.data_root='{tmp_path}/nowhere/': no such folder: put "
        "annotations/train.json, train2017/ there, or give the data set's folder by --data-root"
    )


@pytest.mark.parametrize(
    ('name', 'key'),
    [
        ('annotations/train.json', 'train_dataloader.dataset.ann_file'),
        ('train2017', 'train_dataloader.dataset.data_prefix.img'),
        ('boxes.json', 'val_dataloader.dataset.bbox_file'),
    ],
)
def test_each_file_that_is_missing_is_named_by_its_key(name, key, there):
    gone = there / name
    gone.rmdir() if gone.is_dir() else gone.unlink()
    [message] = missing_files(config(f'{there}/'))
    assert message.startswith(f'{key}=') and str(gone) in message and 'there, or give' in message


@pytest.mark.parametrize('slash', ['', '/'])
def test_a_folder_beside_a_lost_one_is_lost_on_its_own(tmp_path, slash):
    extra = f'{tmp_path}/coco_extra'
    cfg = config(f'{tmp_path}/coco/')
    for part in ('train_dataloader', 'val_dataloader'):
        cfg[part]['dataset']['data_root'] = f'{tmp_path}/coco{slash}'
    cfg['val_dataloader']['dataset'].update(data_root=None, ann_file=f'{extra}/val.json')
    cfg['val_evaluator'][0]['ann_file'] = f'{extra}/val.json'
    assert [message.partition('=')[0] for message in missing_files(cfg)] == [
        'train_dataloader.dataset.data_root',
        'val_dataloader.dataset.ann_file',
        'val_evaluator.0.ann_file',
    ]


def test_the_evaluators_file_is_looked_for_as_well(there):
    (there / 'annotations/val.json').unlink()
    keys = [message.partition('=')[0] for message in missing_files(config(f'{there}/'))]
    assert keys == ['val_dataloader.dataset.ann_file', 'val_evaluator.0.ann_file']


def test_what_stands_on_a_server_is_not_looked_for():
    assert list(missing_files(config('s3://bucket/coco/'))) == []


def test_only_files_that_mmpose_takes_as_they_stand_are_not_looked_for_in_the_root(there):
    """InterHand and motion capture: all but detection boxes and MPII's head boxes are joined."""
    (there / 'cameras.json').write_text('{}')
    cfg = config(root=f'{there}/', camera_param_file='cameras.json', joint_file='gone.json')
    (message,) = missing_files(cfg)
    assert message.startswith('train_dataloader.dataset.joint_file=')
    cfg = config(root=f'{there}/', headbox_file='boxes.json')
    (message,) = missing_files(cfg)
    assert message.startswith('train_dataloader.dataset.headbox_file=')


@pytest.mark.parametrize('root', ['./data/coco/', 'data//coco/', 'data/coco'])
def test_a_root_is_known_however_it_is_written(there, root):
    cfg = config(root=root if root.endswith('/') else f'{root}/')
    cfg['train_dataloader']['dataset']['data_root'] = root
    put_at(cfg, str(there))
    assert list(missing_files(cfg)) == []
