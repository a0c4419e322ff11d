"""Pictures of a run: written, of the size that their content asks for, and not blank."""

import cv2
import pytest
from mmengine.config import Config
from mmpose.registry import DATASETS, MODELS

from mmpose_kd.core.checkpoints import read_checkpoint
from mmpose_kd.demo.pictures import draw_curves, draw_panel
from mmpose_kd.export import export_student
from mmpose_kd.records import newest_records

from ..helpers.runs import EPOCHS


def colours(file):
    """Number of different colours in a picture."""
    image = cv2.imread(str(file))
    return len({tuple(pixel) for pixel in image.reshape(-1, 3)[::7]})


def test_curves_show_every_loss_and_every_output(run, tmp_path):
    records = newest_records(run / 'work')
    draw_curves(records, tmp_path / 'curves.png', metric='EPE')
    assert colours(tmp_path / 'curves.png') > 20


def test_the_panel_has_a_row_per_person(run, tmp_path):
    checkpoint = run / 'work' / f'epoch_{EPOCHS}.pth'
    export_student(run / 'okdhp.py', checkpoint, tmp_path)
    cfg = Config.fromfile(run / 'okdhp.py')
    model = MODELS.build(cfg.model)
    model.load_state_dict(read_checkpoint(checkpoint)['state_dict'])
    student = MODELS.build(Config.fromfile(tmp_path / 'student.py').model)
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    heights = []
    for rows in (1, 2):
        file = tmp_path / f'panel{rows}.png'
        draw_panel(model, student, dataset, range(rows), file)
        heights.append(cv2.imread(str(file)).shape[0])
        assert colours(file) > 200
    assert heights[1] == pytest.approx(2 * heights[0], rel=0.05)
