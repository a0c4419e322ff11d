"""Data sets of users: found where they usually lie, refused with what is missing."""

import json
import shutil

import numpy as np
import pytest
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.registry import DATASETS

from mmpose_kd.cli import main
from mmpose_kd.core.recipe import RECIPES
from mmpose_kd.demo.data import prepare
from mmpose_kd.demo.metainfo import DataError, mirrored, numbered
from mmpose_kd.demo.students import CONFIGS, STUDENTS, TEACHER, demo_config, fitting_student

from ..helpers.runs import draw

PERSONS = {'train': 4, 'val': 3}


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    return draw(tmp_path_factory.mktemp('drawn') / 'data')


@pytest.fixture
def own(drawn, tmp_path):
    """A data set of three keypoints, as a user may have it."""
    folder = tmp_path / 'own'
    (folder / 'images').mkdir(parents=True)
    for split in ('train', 'val'):
        content = json.loads(
            (drawn / f'annotations/person_keypoints_{split}2017.json').read_text()
        )
        content['categories'][0].update(
            keypoints=['nose', 'eye.L', 'eye.R'], skeleton=[[1, 2], [1, 3]]
        )
        for one in content['annotations']:
            one['keypoints'] = one['keypoints'][:9]
            del one['area'], one['iscrowd'], one['num_keypoints']
        for image in content['images']:
            name = f'{split}_{image["file_name"]}'
            shutil.copy(drawn / f'{split}2017' / image['file_name'], folder / 'images' / name)
            image['file_name'] = name
        write(folder / f'{split}.json', content)
    return folder


def write(file, content):
    file.write_text(json.dumps(content))


def change(file, how):
    content = json.loads(file.read_text())
    how(content)
    write(file, content)


def test_cocos_own_layout_is_found_and_needs_no_metainfo(drawn, tmp_path):
    data = prepare(drawn, tmp_path, PERSONS)
    assert data.metainfo is None and data.flips and len(data.keypoints) == 17
    assert data.images['train'] == drawn / 'train2017'


def test_so_many_persons_are_taken_and_their_pictures(drawn, tmp_path):
    data = prepare(drawn, tmp_path, PERSONS)
    for split, number in PERSONS.items():
        content = json.loads(data.annotations[split].read_text())
        assert len(content['annotations']) == len(content['images']) == number
    whole = prepare(drawn, tmp_path, {'train': 100, 'val': 100})
    assert len(json.loads(whole.annotations['train'].read_text())['annotations']) == 15


def test_keypoints_of_ones_own_have_their_mirror_images_by_name(own, tmp_path):
    data = prepare(own, tmp_path / 'out', PERSONS)
    meta = data.meta()
    assert data.flips and meta['flip_indices'] == [0, 2, 1]
    assert meta['skeleton_links'] == [(0, 1), (0, 2)]
    dataset = DATASETS.build(demo_config(STUDENTS[0], data).train_dataloader.dataset)
    assert len(dataset) == PERSONS['train']
    assert dataset[0]['data_samples'].gt_instance_labels.keypoint_weights.shape == (1, 3)


def test_a_metainfo_file_says_what_names_do_not(own, tmp_path):
    written = prepare(own, tmp_path / 'out', PERSONS).metainfo
    text = written.read_text().replace("'swap': 'eye.R'", "'swap': ''")
    (own / 'metainfo.py').write_text(text.replace("'swap': 'eye.L'", "'swap': ''"))
    data = prepare(own, tmp_path / 'other', PERSONS)
    assert data.metainfo == own / 'metainfo.py'
    assert data.meta()['flip_indices'] == [0, 1, 2]
    (own / 'metainfo.py').write_text(text.replace("'nose'", "'mouth'"))
    with pytest.raises(DataError, match=r'metainfo\.py has other keypoints'):
        prepare(own, tmp_path / 'other', PERSONS)


@pytest.mark.parametrize(
    ('names', 'partners'),
    [
        (['left_eye', 'right_eye', 'nose'], {'left_eye': 'right_eye', 'right_eye': 'left_eye'}),
        (['Eye.L', 'Eye.R'], {'Eye.L': 'Eye.R', 'Eye.R': 'Eye.L'}),
        (['l_ear', 'r_ear', 'tail'], {'l_ear': 'r_ear', 'r_ear': 'l_ear'}),
        (['LeftHip', 'RightHip'], {'LeftHip': 'RightHip', 'RightHip': 'LeftHip'}),
        (['left_hand', 'collar'], {}),
        (['LEye', 'REye', 'Lip'], {'LEye': 'REye', 'REye': 'LEye'}),
        (['LKNE', 'RKNE'], {'LKNE': 'RKNE', 'RKNE': 'LKNE'}),
        (['eyeL', 'eyeR'], {'eyeL': 'eyeR', 'eyeR': 'eyeL'}),
        (['lShldr', 'rShldr'], {'lShldr': 'rShldr', 'rShldr': 'lShldr'}),
        (['Lip', 'tail'], {}),
        (['lhip', 'rhip', 'lip'], {'lhip': 'rhip', 'rhip': 'lhip'}),
        (['Lhip', 'Rhip'], {'Lhip': 'Rhip', 'Rhip': 'Lhip'}),
        (['lf', 'rf'], {'lf': 'rf', 'rf': 'lf'}),
        (['FL', 'FR', 'RL', 'RR'], {'FL': 'FR', 'FR': 'FL', 'RL': 'RR', 'RR': 'RL'}),
        (['hipl', 'hipr', 'tail'], {'hipl': 'hipr', 'hipr': 'hipl'}),
        (['brow_left_0', 'brow_left_1', 'brow_right_0', 'brow_right_1'], {}),  # 0 is 1's image
        (['lr', 'rr', 'rl'], {'lr': 'rr', 'rr': 'lr'}),  # whichever, but both ways
    ],
)
def test_mirror_images_are_read_from_names(names, partners):
    assert mirrored(names) == partners


def test_pictures_are_not_mirrored_where_keypoints_are_numbered(own, tmp_path):
    assert numbered(['jaw_0', 'jaw_1', 'nose']) == {'jaw_0', 'jaw_1'}
    assert not numbered(['nose', 'c7', 'left_toe'])
    names = ['jaw_0', 'jaw_1', 'jaw_2']
    for split in ('train', 'val'):
        change(own / f'{split}.json', lambda c: c['categories'][0].update(keypoints=names))
    data = prepare(own, tmp_path / 'out', PERSONS)
    assert not data.flips
    assert 'RandomFlip' not in demo_config(STUDENTS[0], data).pretty_text
    text = data.metainfo.read_text()
    (own / 'metainfo.py').write_text(text)  # as `mmpose-kd metainfo` writes it, without swap
    assert not prepare(own, tmp_path / 'out', PERSONS).flips
    for one, other in (('jaw_0', 'jaw_2'), ('jaw_2', 'jaw_0')):
        before, there, after = text.partition(f"'name': '{one}'")
        text = before + there + after.replace("'swap': ''", f"'swap': '{other}'", 1)
    (own / 'metainfo.py').write_text(text)
    assert prepare(own, tmp_path / 'out', PERSONS).flips


def test_numbered_points_of_both_sides_are_mirrored(own, tmp_path):
    names = ['tail', 'left_ear_1', 'right_ear_1']
    for split in ('train', 'val'):
        change(own / f'{split}.json', lambda c: c['categories'][0].update(keypoints=names))
    assert prepare(own, tmp_path / 'out', PERSONS).flips


def test_nothing_of_the_users_is_written_over(own, tmp_path):
    before = (own / 'train.json').read_bytes()
    with pytest.raises(DataError, match=r'chosen annotations are written to .* another folder'):
        prepare(own, own, PERSONS)
    (own / 'annotations').mkdir()
    for split in ('train', 'val'):
        (own / f'{split}.json').rename(own / f'annotations/{split}.json')
    with pytest.raises(DataError, match='chosen annotations are written to'):
        prepare(own, own / 'annotations', PERSONS)
    assert (own / 'annotations/train.json').read_bytes() == before
    assert not (own / 'metainfo.py').exists()


def test_a_partner_with_another_partner_is_told(own, tmp_path, capsys):
    assert main(['metainfo', str(own / 'train.json'), '-o', str(own / 'metainfo.py')]) == 0
    text = (own / 'metainfo.py').read_text()
    assert text.count("'swap': 'eye.R'") == 1
    (own / 'metainfo.py').write_text(text.replace("'swap': 'eye.R'", "'swap': 'nose'"))
    with pytest.raises(DataError, match=r'keypoint 1 \(eye\.L\) changes places.*`swap` of both'):
        prepare(own, tmp_path / 'out', PERSONS)


def lose_picture(folder):
    next((folder / 'images').glob('val_*')).unlink()


def first(kind, **values):
    def mistake(folder):
        change(folder / 'train.json', lambda c: [one.update(values) for one in c[kind]])

    return mistake


MISTAKES = {
    'one name twice': (
        first('categories', keypoints=['eye', 'eye', 'nose']),
        r'train\.json: keypoints are called eye twice',
    ),
    'points as lists': (first('annotations', keypoints=[[1, 2, 2]] * 3), r'give .keypoints. as x'),
    'a half box': (first('annotations', bbox=[1, 2]), r'.bbox. as x, y, width, height'),
    'ids as texts': (first('images', id='a81f'), 'an image needs a whole number as id'),
    'no folder': (shutil.rmtree, 'there is no such folder'),
    'no val': (lambda f: (f / 'val.json').unlink(), r'there is no val\.json in it.*annotations/'),
    'no json': (lambda f: (f / 'train.json').write_text('{'), r'train\.json is no JSON file'),
    'a list': (lambda f: write(f / 'train.json', []), 'has no list of images'),
    'no categories': (
        lambda f: change(f / 'val.json', lambda c: c.pop('categories')),
        'has no list of categories',
    ),
    'no names': (
        lambda f: change(f / 'val.json', lambda c: c['categories'][0].pop('keypoints')),
        "no category has 'keypoints'",
    ),
    'other names': (
        lambda f: change(f / 'val.json', lambda c: c['categories'][0]['keypoints'].reverse()),
        'different keypoints',
    ),
    'a skeleton from 0': (
        lambda f: change(f / 'train.json', lambda c: c['categories'][0].update(skeleton=[[0, 1]])),
        r'skeleton has \[0, 1\].*1 <= a, b <= 3',
    ),
    'too few numbers': (
        lambda f: change(f / 'train.json', lambda c: c['annotations'][0]['keypoints'].pop()),
        "has 8 numbers in 'keypoints', the category has 3 names",
    ),
    'no boxes': (
        lambda f: change(f / 'val.json', lambda c: [a.pop('bbox') for a in c['annotations']]),
        'no annotation has a bbox and a labelled keypoint',
    ),
    'no size': (
        lambda f: change(f / 'val.json', lambda c: c['images'][0].pop('width')),
        'an image has no width',
    ),
    'a lost picture': (lose_picture, r'1 of 5 pictures of the val split .* images/val_'),
    'no pictures': (lambda f: shutil.rmtree(f / 'images'), '15 of 15 pictures of the train split'),
    'train is val': (
        lambda f: shutil.copy(f / 'train.json', f / 'val.json'),
        '15 pictures are in both splits',
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', MISTAKES)
def test_what_is_missing_is_told(own, tmp_path, name):
    spoil, message = MISTAKES[name]
    spoil(own)
    with pytest.raises(DataError, match=message):
        prepare(own, tmp_path / 'out', {'train': 100, 'val': 100})


@pytest.mark.parametrize('link', [[1, 4], [-1, 2], [1], [1, 2, 3], [1, 'nose'], 2, [1, 2.0]])
def test_a_skeleton_of_no_keypoints_is_told(own, tmp_path, capsys, link):
    change(own / 'val.json', lambda c: c['categories'][0].update(skeleton=[[1, 2], link]))
    out = tmp_path / 'metainfo.py'
    assert main(['metainfo', str(own / 'val.json'), '--out', str(out)]) == 1
    assert f'skeleton has {link}: give pairs (a, b)' in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize('method', RECIPES)
def test_every_method_fits_one_of_the_demos_models(drawn, tmp_path, method):
    data = prepare(drawn, tmp_path, PERSONS)
    name, cfg = fitting_student(RECIPES[method], data)
    assert RECIPES[method].misfit(cfg.to_dict()) is None
    assert name in STUDENTS


def test_the_demos_configs_are_part_of_the_package():
    assert {path.stem for path in CONFIGS.glob('*.py')} == {*STUDENTS, TEACHER}


def test_a_method_that_fits_none_is_told_why(drawn, tmp_path):
    from mmpose_kd.core.recipe import Recipe

    data = prepare(drawn, tmp_path, PERSONS)
    nothing = Recipe('nothing', 'fits nothing', False, lambda cfg: 'model: no', lambda cfg: cfg)
    with pytest.raises(ValueError, match=r'--method nothing fits none .*heatmap.*: model: no'):
        fitting_student(nothing, data)


def test_persons_are_taken_evenly(drawn, tmp_path):
    data = prepare(drawn, tmp_path, {'train': 5, 'val': 1})
    ids = [a['id'] for a in json.loads(data.annotations['train'].read_text())['annotations']]
    np.testing.assert_array_equal(np.diff(ids), 3)


@pytest.mark.parametrize('rows', ['images', 'annotations'])
def test_an_id_that_is_given_twice_is_refused(own, capsys, rows):
    change(own / 'train.json', lambda c: c[rows][1].update(id=c[rows][0]['id']))
    assert main(['metainfo', str(own / 'train.json'), '-o', str(own / 'metainfo.py')]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert f'2 {rows} have the id ' in line and 'give each an id of its own' in line


def complete(content):
    for one in content['annotations']:
        one.update(area=100.0, iscrowd=0)


def test_the_metainfo_of_a_coco_file_is_what_mmpose_reads(own, capsys):
    out = own / 'metainfo.py'
    assert main(['metainfo', str(own / 'train.json'), '-o', str(out)]) == 0
    said = capsys.readouterr()
    assert 'change places in a mirror: eye.L and eye.R' in said.out
    assert 'have no area' in said.err and 'no iscrowd' in said.err and 'numbered' not in said.err
    for split in ('train', 'val'):
        change(own / f'{split}.json', complete)
    assert main(['metainfo', str(own / 'train.json'), '-o', str(out), '--force']) == 0
    assert not capsys.readouterr().err
    meta = parse_pose_metainfo(dict(from_file=str(out)))
    assert [*meta['keypoint_name2id']] == ['nose', 'eye.L', 'eye.R']
    assert meta['flip_indices'] == [0, 2, 1] and meta['skeleton_links'] == [(0, 1), (0, 2)]


def test_a_metainfo_file_that_is_there_stays_unless_it_is_forced(own, capsys):
    out = own / 'metainfo.py'
    out.write_text('mine')
    args = ['metainfo', str(own / 'train.json'), '-o', str(out)]
    assert main(args) == 1 and out.read_text() == 'mine'
    assert 'is there already: give another file, or --force' in capsys.readouterr().err
    change(own / 'train.json', lambda c: c['categories'][0].update(keypoints=['p0', 'p1', 'p2']))
    assert main([*args, '--force']) == 0 and "'p1'" in out.read_text()
    assert 'keypoints are numbered' in capsys.readouterr().err
    names = ['hip', 'knee', 'toe']
    change(own / 'train.json', lambda c: c['categories'][0].update(keypoints=names))
    assert main([*args, '--force']) == 0
    assert 'no two names tell the sides of one thing' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('none.json', '-o', 'out.py'), 'none.json: there is no such file'),
        (('none.json', '-o', 'out.json'), 'give a name that ends in .py'),
    ],
)
def test_metainfo_of_nothing_is_one_line(tmp_path, monkeypatch, capsys, args, message):
    monkeypatch.chdir(tmp_path)
    assert main(['metainfo', *args]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert message in line and not [*tmp_path.iterdir()]
