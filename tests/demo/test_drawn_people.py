"""What the demo's data generator promises."""

import hashlib
import json

import cv2
import numpy as np
import pytest

import mmpose_kd  # noqa: F401  (makes MMPose importable without mmcv's compiled operators)
from mmpose_kd.demo import drawn_people
from mmpose_kd.demo.contact_sheet import contact_sheet
from mmpose_kd.demo.drawn_people import draw_dataset
from mmpose_kd.demo.figure import sample_figure
from mmpose_kd.demo.pose import KEYPOINTS, LEFT_ARM, RIGHT_ARM, Pose
from mmpose_kd.demo.scene import Scene, draw_picture

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


def standing(yaw):
    """A person with slightly spread arms and legs, seen from a given side."""
    arm, leg = (0, 25, 5, (1, 0, 0)), (0, 8, 2)
    return Pose(yaw=yaw, tilt=0, camera=0, arms=[arm, arm], legs=[leg, leg])


def drawn(*yaws, distance=90):
    """Annotations of people who stand side by side on one picture."""
    scene = Scene(np.random.default_rng(0), 320, 256)
    for i, yaw in enumerate(yaws):
        figure = sample_figure(np.random.default_rng(i), standing(yaw))
        scene.add_person(figure, x=100 + i * distance, ground=245, stature=200)
    found = scene.people()
    return [dict(zip(KEYPOINTS, np.reshape(p['keypoints'], (17, 3)))) for p in found]


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
    front, back = drawn(0, 180)
    for part in ('shoulder', 'elbow', 'wrist', 'hip', 'knee', 'ankle', 'ear'):
        assert front[f'left_{part}'][0] > front[f'right_{part}'][0]
        assert back[f'left_{part}'][0] < back[f'right_{part}'][0]


def test_a_back_view_hides_the_face_and_a_front_view_shows_it():
    front, back = drawn(0, 180)
    for name in ('nose', 'left_eye', 'right_eye'):
        assert front[name][2] == 2
        assert back[name][2] == 1


def test_a_side_view_hides_the_far_shoulder():
    to_the_right, to_the_left = drawn(90, -90)
    assert to_the_right['right_shoulder'][2] == 2 and to_the_right['left_shoulder'][2] == 1
    assert to_the_left['left_shoulder'][2] == 2 and to_the_left['right_shoulder'][2] == 1
    assert to_the_right['nose'][0] > to_the_right['right_ear'][0]
    assert to_the_left['nose'][0] < to_the_left['left_ear'][0]


def test_a_person_in_front_hides_the_joints_of_the_one_behind():
    alone = drawn(0)[0]
    behind, before = drawn(0, 0, distance=30)
    assert sum(p[2] == 2 for p in alone.values()) > sum(p[2] == 2 for p in behind.values()) + 3
    assert sum(p[2] == 2 for p in before.values()) >= 15
    for name in KEYPOINTS:  # hidden joints stay labelled where they were
        np.testing.assert_array_equal(alone[name][:2], behind[name][:2])


def test_a_part_that_is_painted_last_is_a_visible_part():
    figure = sample_figure(np.random.default_rng(1), standing(90))
    order = [shape.part for shape in figure.shapes]
    assert order.index(LEFT_ARM) < order.index(RIGHT_ARM)
    assert [s.depth for s in figure.shapes] == sorted(s.depth for s in figure.shapes)


def test_a_fair_share_of_the_joints_is_hidden():
    flags = [v for i in range(80) for p in draw_picture(0, 'train', i)[1]
             for v in p['keypoints'][2::3]]  # fmt: skip
    hidden, outside = (np.mean(np.array(flags) == v) for v in (1, 0))
    assert 0.1 < hidden < 0.27
    assert 0 < outside < 0.08


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
    assert 'drawing train2017' in capsys.readouterr().out


def test_a_contact_sheet_has_equal_cells_that_pictures_fill(dataset):
    sheet = contact_sheet(dataset, 'val', rows=2, cols=3, cell=(60, 80))
    assert sheet.shape == (2 * 84 + 4, 3 * 64 + 4, 3) and sheet.dtype == np.uint8
    for row in range(2):
        for col in range(3):
            filled = sheet[4 + 84 * row : 84 * (row + 1), 4 + 64 * col : 64 * (col + 1)]
            for edge in (filled[0], filled[-1], filled[:, 0], filled[:, -1]):
                assert 10 < edge.mean() < 245  # neither black bars nor the white background
    assert (sheet[:4] == 255).all() and (sheet[:, 64:68] == 255).all()


def test_a_contact_sheet_leaves_cells_without_a_picture_white(dataset):
    sheet = contact_sheet(dataset, 'val', rows=1, cols=VAL + 1, cell=(20, 20))
    assert (sheet[:, -24:] == 255).all() and (sheet[4:24, -48:-28] < 250).any()


def test_a_contact_sheet_draws_the_skeleton_where_the_joints_are(dataset):
    # Cells of the first picture's own size: nothing is scaled or cut off.
    image, known = annotations(dataset, 'train')['images'][0], annotations(dataset, 'train')
    cell = (image['width'], image['height'])
    plain, drawn_on = (
        contact_sheet(dataset, 'train', 1, 1, skeleton=s, cell=cell)[4:-4, 4:-4].astype(int)
        for s in (False, True)
    )
    changed = np.abs(plain - drawn_on).sum(2) > 30
    people = [p for p in known['annotations'] if p['image_id'] == image['id']]
    points = np.concatenate([np.reshape(p['keypoints'], (17, 3)) for p in people])
    visible = points[points[:, 2] == 2]
    assert np.mean([changed[round(y), round(x)] for x, y, _ in visible]) > 0.9
    assert 0 < changed.mean() < 0.2


def test_a_contact_sheet_of_nothing_says_what_to_give(tmp_path):
    with pytest.raises(FileNotFoundError, match='give a folder that draw_dataset made'):
        contact_sheet(tmp_path, 'train', 1, 1)
    with pytest.raises(ValueError, match='at least 1'):
        contact_sheet(tmp_path, 'train', 0, 1)
