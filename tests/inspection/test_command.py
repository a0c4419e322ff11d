"""``mmpose-kd inspect``: a sheet for each sample, all or none."""

import copy

import cv2
import matplotlib.cbook
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.runner import Runner
from mmpose.datasets import CocoDataset
from mmpose.datasets.transforms import (
    GetBBoxCenterScale,
    LoadImage,
    PackPoseInputs,
    TopdownAffine,
)

from mmpose_kd.cli import main
from mmpose_kd.core.contact_sheet import write_sheet
from mmpose_kd.inspection import command, draw_sheets
from mmpose_kd.inspection.samples import photographs

from ..helpers.distillers import saved_teacher
from ..helpers.dskd_runs import dskd_config
from ..helpers.models import SIZE, build, plain_config, randomize
from ..helpers.runs import EPOCHS, run_config


def checkpoint(run):
    return run / 'work' / f'epoch_{EPOCHS}.pth'


def titles_of(monkeypatch):
    """The titles of the panels of each sheet that is drawn."""
    titles, stock = [], command.contact_sheet

    def seen(panels, *others):
        titles.append([panel.title.split(' (')[0] for panel in panels])
        return stock(panels, *others)

    monkeypatch.setattr(command, 'contact_sheet', seen)
    return titles


@pytest.mark.slow
def test_validation_samples_get_a_sheet_each(run, tmp_path, capsys):
    out = tmp_path / 'a' / 'sheets'
    command_line = ['inspect', str(run / 'okdhp.py'), str(checkpoint(run)), '--out', str(out)]
    assert main([*command_line, '--samples', '0', '4']) == 0
    files = sorted(p.name for p in out.iterdir())
    assert files == ['sample_0.png', 'sample_4.png']
    # behind what reading the annotations prints
    assert capsys.readouterr().out.splitlines()[-2:] == [str(out / name) for name in files]
    assert [p.name for p in (tmp_path / 'a').iterdir()] == ['sheets']
    assert all(cv2.imread(str(out / name)).std() > 10 for name in files)
    # what is there is not lost
    assert main([*command_line, '--samples', '1']) == 1
    assert '--force' in capsys.readouterr().err
    (out / 'mine.txt').write_text('mine')
    assert main([*command_line, '--samples', '1', '--force']) == 1
    assert 'mine.txt' in capsys.readouterr().err


def test_a_file_that_is_no_picture_leaves_nothing(run, tmp_path):
    good = matplotlib.cbook.get_sample_data('grace_hopper.jpg', asfileobj=False)
    (tmp_path / 'bad.jpg').write_text('no picture')
    with pytest.raises(ValueError, match=r'bad.jpg is no picture'):
        draw_sheets(
            run / 'okdhp.py', checkpoint(run), tmp_path / 'out', [good, tmp_path / 'bad.jpg']
        )
    assert [p.name for p in tmp_path.iterdir()] == ['bad.jpg']


@pytest.mark.slow
def test_photographs_and_all_samples_are_taken(run, tmp_path, monkeypatch):
    titles = titles_of(monkeypatch)
    picture = matplotlib.cbook.get_sample_data('grace_hopper.jpg', asfileobj=False)
    config = run / 'okdhp.py'
    (file,) = draw_sheets(config, checkpoint(run), tmp_path / 'b', [picture])
    assert file.name == '00_grace_hopper.png' and file.is_file()
    assert titles.pop() == [
        'student',
        'branch 1',
        'branch 2',
        'ensemble',
        'weights of the branches',
    ]
    assert len(draw_sheets(config, checkpoint(run), tmp_path / 'b', force=True)) == 4
    assert len(list((tmp_path / 'b').iterdir())) == 4
    assert titles[0][0] == 'ground truth'


@pytest.mark.slow
def test_samples_that_are_not_there_are_refused(run, tmp_path):
    with pytest.raises(ValueError, match=r'--samples \[5\]: the validation has 5'):
        draw_sheets(run / 'okdhp.py', checkpoint(run), tmp_path / 'out', samples=[5])


@pytest.mark.slow
def test_an_interruption_leaves_nothing(run, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, 'contact_sheet', interrupted)
    line = ['inspect', str(run / 'okdhp.py'), str(checkpoint(run))]
    assert main([*line, '--out', str(tmp_path / 'out')]) == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_hhd_shows_teacher_and_windows(run, tmp_path, monkeypatch):
    titles = titles_of(monkeypatch)
    student = plain_config()
    student['head'] = dict(
        type='IntegralRegressionHead', in_channels=64, in_featuremap_size=(1, 2), num_joints=17,
        deconv_out_channels=(8, 8, 8), deconv_kernel_sizes=(4, 4, 4),
        loss=dict(type='SmoothL1Loss', use_target_weight=True),
        decoder=dict(
            type='IntegralRegressionLabel', input_size=(32, 64), heatmap_size=(8, 16), sigma=1.0
        ),
    )  # fmt: skip
    maps = 'head.simplebaseline_head.final_layer'
    model = dict(
        type='PoseDistiller',
        student=student,
        teachers=[saved_teacher(tmp_path)],
        distill=[dict(loss=dict(type='HHDLoss', crop_size=(4, 4)), student=maps, teacher='head')],
    )
    cfg = Config(run_config(run / 'data', tmp_path / 'work', model))
    cfg.dump(tmp_path / 'hhd.py')
    trained = randomize(build(copy.deepcopy(cfg.model), init=False))
    torch.save(dict(state_dict=trained.state_dict()), tmp_path / 'hhd.pth')
    draw_sheets(tmp_path / 'hhd.py', tmp_path / 'hhd.pth', tmp_path / 'out', samples=[0])
    assert titles == [
        ['ground truth', 'student', 'teacher', "HHD: student's windows", "HHD: teacher's windows"]
    ]


@pytest.mark.slow
def test_dskd_shows_the_guides_of_the_checkpoint(run, tmp_path, monkeypatch):
    titles = titles_of(monkeypatch)
    cfg = dskd_config(run / 'data', tmp_path / 'work', epochs=3)
    cfg['val_dataloader'] = run_config(run / 'data', tmp_path / 'work')['val_dataloader']
    cfg['val_cfg'], cfg['val_evaluator'] = dict(), dict(type='EPE')
    cfg = Config(cfg)
    cfg.dump(tmp_path / 'dskd.py')
    Runner.from_cfg(Config.fromfile(tmp_path / 'dskd.py')).train()
    last = tmp_path / 'work' / 'epoch_3.pth'
    draw_sheets(tmp_path / 'dskd.py', last, tmp_path / 'out', samples=[1])
    assert titles == [['ground truth', 'student', 'guide epoch_1', 'guide epoch_2']]


@pytest.mark.slow
def test_it_shows_the_same_twice(run, tmp_path):
    for name in 'ab':
        draw_sheets(run / 'okdhp.py', checkpoint(run), tmp_path / name, samples=[2])
    one, two = (cv2.imread(str(tmp_path / name / 'sample_2.png')) for name in 'ab')
    assert np.array_equal(one, two)


def test_a_config_with_classes_in_the_place_of_names_is_read(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((40, 30, 3), np.uint8))
    steps = [dict(type=LoadImage), dict(type=GetBBoxCenterScale)]
    steps += [dict(type=TopdownAffine, input_size=SIZE), dict(type=PackPoseInputs)]
    loader = dict(dataset=dict(type=CocoDataset, pipeline=steps))
    found = photographs(dict(val_dataloader=loader), {}, [tmp_path / 'a.png'])
    assert len(found.names) == 17 and found.names[0] == 'nose'


def test_the_keypoints_of_merged_data_sets_have_their_names(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((40, 30, 3), np.uint8))
    dataset = dict(
        type='CombinedDataset',
        metainfo=dict(from_file='configs/_base_/datasets/coco.py'),
        datasets=[],
        pipeline=[
            dict(type='LoadImage'),
            dict(type='GetBBoxCenterScale'),
            dict(type='TopdownAffine', input_size=SIZE),
            dict(type='PackPoseInputs'),
        ],
    )
    cfg = Config(dict(val_dataloader=dict(dataset=dataset)))
    found = photographs(cfg, {}, [tmp_path / 'a.png'])
    assert found.names[:2] == ['nose', 'left_eye'] and len(found.names) == 17


def test_pictures_of_the_users_are_never_taken_for_sheets(tmp_path):
    (tmp_path / 'frames').mkdir()
    cv2.imwrite(str(tmp_path / 'frames/00_a.png'), np.zeros((40, 30, 3), np.uint8))
    with pytest.raises(FileExistsError, match=r'holds 00_a\.png, which is no sheet'):
        command._check_out(tmp_path / 'frames', force=True)
    write_sheet(Figure(), tmp_path / 'sheets/00_a.png')
    command._check_out(tmp_path / 'sheets', force=True)
