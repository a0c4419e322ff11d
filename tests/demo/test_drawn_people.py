"""What the demo's data generator promises."""

import hashlib
import json

import cv2
import numpy as np
import pytest

import mmpose_kd  # noqa: F401  (makes MMPose importable without mmcv's compiled operators)
from mmpose_kd.demo import drawn_people
from mmpose_kd.demo.drawn_people import OCCLUDER, Canvas, draw_dataset, draw_picture
from mmpose_kd.demo.person import KEYPOINTS, person_shapes, sample_joints

TRAIN, VAL = 24, 12


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp('drawn')
    draw_dataset(out, TRAIN, VAL, seed=3, progress=False)
    return out


def digests(folder):
    files = sorted(p for p in folder.rglob('*') if p.is_file())
    return {str(p.relative_to(folder)): hashlib.md5(p.read_bytes()).hexdigest() for p in files}


def annotations(out, split):
    return json.loads((out / f'annotations/person_keypoints_{split}2017.json').read_text())


def seen_from(yaw, seed=0, occluder=None):
    """Annotated keypoints (x, y, v) by name of a person who looks that way."""
    canvas = Canvas(np.random.default_rng(seed))
    placed = canvas.add_person(yaw)
    if occluder is not None:
        canvas.rectangle(np.array(occluder), np.array([20, 20]), OCCLUDER)
    points = np.reshape(canvas.annotation(placed)['keypoints'], (17, 3))
    return dict(zip(KEYPOINTS, points))


def test_same_seed_gives_the_same_bytes(dataset, tmp_path):
    draw_dataset(tmp_path, TRAIN, VAL, seed=3, progress=False)
    assert digests(tmp_path) == digests(dataset)


def test_a_picture_does_not_depend_on_the_size_of_its_split(dataset, tmp_path):
    draw_dataset(tmp_path, 5, 2, seed=3, progress=False)
    small, large = digests(tmp_path), digests(dataset)
    pictures = [name for name in small if name.endswith('.jpg')]
    assert len(pictures) == 7
    assert all(small[name] == large[name] for name in pictures)
    few, many = annotations(tmp_path, 'train'), annotations(dataset, 'train')
    assert few['annotations'] == many['annotations'][: len(few['annotations'])]


def test_another_seed_gives_other_pictures(dataset, tmp_path):
    draw_dataset(tmp_path, 3, 1, seed=4, progress=False)
    assert not set(digests(tmp_path).values()) & set(digests(dataset).values())


def test_the_splits_share_no_picture(dataset):
    values = list(digests(dataset).values())
    assert len(values) == len(set(values)) == TRAIN + VAL + 2
    train, val = (annotations(dataset, split) for split in ('train', 'val'))
    for key in ('images', 'annotations'):
        assert not {a['id'] for a in train[key]} & {a['id'] for a in val[key]}


@pytest.mark.parametrize('split, size', [('train', TRAIN), ('val', VAL)])
def test_pycocotools_loads_valid_annotations(dataset, split, size):
    from xtcocotools.coco import COCO

    coco = COCO(str(dataset / f'annotations/person_keypoints_{split}2017.json'))
    assert len(coco.imgs) == size
    assert coco.cats[1]['keypoints'] == list(KEYPOINTS)
    for ann in coco.anns.values():
        image = coco.imgs[ann['image_id']]
        picture = cv2.imread(str(dataset / f'{split}2017' / image['file_name']))
        assert picture.shape == (image['height'], image['width'], 3)
        x, y, w, h = ann['bbox']
        assert x >= 0 and y >= 0 and w > 0 and h > 0
        assert x + w <= image['width'] and y + h <= image['height']
        assert 0 < ann['area'] <= w * h
        points = np.reshape(ann['keypoints'], (17, 3))
        labelled = points[:, 2] > 0
        assert ann['num_keypoints'] == labelled.sum()
        assert not points[~labelled].any()
        inside = (points[:, :2] >= 0) & (
            points[:, :2] <= (image['width'] - 1, image['height'] - 1)
        )
        assert inside[labelled].all()


def test_the_left_shoulder_is_on_the_right_of_a_front_view_and_on_the_left_of_a_back_view():
    for seed in range(5):
        front, back = seen_from(0, seed), seen_from(180, seed)
        for part in ('shoulder', 'hip', 'ear'):
            assert front[f'left_{part}'][0] > front[f'right_{part}'][0]
            assert back[f'left_{part}'][0] < back[f'right_{part}'][0]


def test_a_back_view_hides_the_face_and_a_front_view_shows_it():
    for name in ('nose', 'left_eye', 'right_eye'):
        assert seen_from(0)[name][2] == 2
        assert seen_from(180)[name][2] == 1


def test_a_person_who_looks_to_the_right_has_the_nose_there():
    assert seen_from(90)['nose'][0] > seen_from(90)['right_ear'][0]
    assert seen_from(-90)['nose'][0] < seen_from(-90)['left_ear'][0]


def test_what_lies_before_a_person_hides_joints_that_stay_labelled_where_they_are():
    free = seen_from(0)
    hidden = seen_from(0, occluder=free['left_hip'][:2])
    assert free['left_hip'][2] == 2 and hidden['left_hip'][2] == 1
    for name in KEYPOINTS:
        np.testing.assert_array_equal(free[name][:2], hidden[name][:2])


def test_the_nearer_limb_is_painted_later():
    rng = np.random.default_rng(1)
    joints = sample_joints(rng, yaw=90)  # the right side is near
    shapes = person_shapes(rng, joints)
    order = [shape.part for shape in shapes]
    assert order.index('left_leg') < order.index('right_leg')
    assert [s.depth for s in shapes] == sorted(s.depth for s in shapes)


def test_a_fair_share_of_the_joints_is_hidden():
    flags = [v for i in range(60) for v in draw_picture(0, 'train', i)[1]['keypoints'][2::3]]
    hidden, outside = (np.mean(np.array(flags) == v) for v in (1, 0))
    assert 0.05 < hidden < 0.3
    assert outside < 0.05


def test_mmpose_reads_the_data_set_with_its_root_alone(dataset):
    from mmpose.datasets import CocoDataset

    # As in MMPose's stock COCO configs.
    read = CocoDataset(
        data_root=str(dataset),
        ann_file='annotations/person_keypoints_val2017.json',
        data_prefix={'img': 'val2017/'},
        data_mode='topdown',
        test_mode=True,
    )
    assert len(read) == len(annotations(dataset, 'val')['annotations'])
    sample = read.get_data_info(0)
    assert sample['keypoints'].shape == (1, 17, 2)
    assert cv2.imread(sample['img_path']) is not None
    names = read.metainfo['keypoint_id2name']
    assert tuple(names[i] for i in range(17)) == KEYPOINTS


def test_an_interrupted_run_leaves_no_json_and_the_next_run_completes(
    dataset, tmp_path, monkeypatch
):
    def stop_at_third(seed, split, i):
        if i == 2:
            raise KeyboardInterrupt
        return draw_picture(seed, split, i)

    with monkeypatch.context() as patch:
        patch.setattr(drawn_people, 'draw_picture', stop_at_third)
        with pytest.raises(KeyboardInterrupt):
            draw_dataset(tmp_path, TRAIN, VAL, seed=3, progress=False)
    assert not list((tmp_path / 'annotations').iterdir())
    draw_dataset(tmp_path, TRAIN, VAL, seed=3, progress=False)
    assert digests(tmp_path) == digests(dataset)


def test_a_complete_data_set_is_not_drawn_again(dataset, monkeypatch):
    def fail(*_):
        raise AssertionError('drew a picture that was there')

    monkeypatch.setattr(drawn_people, 'draw_picture', fail)
    draw_dataset(dataset, TRAIN, VAL, seed=3, progress=False)


def test_a_smaller_data_set_removes_its_own_surplus_pictures_only(tmp_path):
    draw_dataset(tmp_path, 4, 2, seed=0, progress=False)
    mine = tmp_path / 'train2017' / 'holiday.jpg'
    mine.write_bytes(b'mine')
    draw_dataset(tmp_path, 2, 2, seed=0, progress=False)
    names = sorted(p.name for p in (tmp_path / 'train2017').iterdir())
    assert names == ['drawn_000000.jpg', 'drawn_000001.jpg', 'holiday.jpg']


def test_annotations_of_somebody_else_are_left_alone(tmp_path):
    (tmp_path / 'annotations').mkdir()
    coco = tmp_path / 'annotations/person_keypoints_val2017.json'
    coco.write_text('{"info": {"description": "COCO 2017 Dataset"}}')
    with pytest.raises(FileExistsError, match='another folder'):
        draw_dataset(tmp_path, 2, 2, progress=False)
    assert 'COCO 2017' in coco.read_text()
    assert not (tmp_path / 'train2017').exists()


@pytest.mark.parametrize(
    'wrong', [{'train': 0}, {'val': -1}, {'train': 2.5}, {'seed': -1}, {'val': True}]
)
def test_a_bad_number_is_named_with_what_to_give(tmp_path, wrong):
    (name, value), = wrong.items()  # fmt: skip
    with pytest.raises(ValueError, match=f'--{name}={value}: give a whole number'):
        draw_dataset(tmp_path, **{'train': 2, 'val': 2, 'progress': False, **wrong})
    assert not list(tmp_path.iterdir())


def test_a_file_as_folder_is_refused(tmp_path):
    file = tmp_path / 'out'
    file.write_text('')
    with pytest.raises(NotADirectoryError, match='give a folder'):
        draw_dataset(file, 1, 1, progress=False)


def test_progress_can_be_silenced(tmp_path, capsys):
    draw_dataset(tmp_path, 1, 1, progress=False)
    assert capsys.readouterr() == ('', '')
    draw_dataset(tmp_path, 2, 1, progress=True)
    assert 'drawing train2017' in capsys.readouterr().err
