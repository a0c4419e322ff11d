"""The recipe of PKD: what it fits, and what it makes of a config."""

import copy

import pytest
import torch
from mmengine.structures import BaseDataElement

from mmpose_kd.core.recipe import RECIPES, type_name

from ..helpers.models import HRNET, SIZE, build, images, plain_config, samples

PKD = RECIPES['pkd']
PIPELINE = [dict(type='TopdownAffine', input_size=SIZE), dict(type='PackPoseInputs')]


def whole(validated=True):
    loader = dict(dataset=dict(pipeline=copy.deepcopy(PIPELINE)))
    cfg = dict(model=plain_config(), train_dataloader=loader)
    return {**cfg, 'val_dataloader': copy.deepcopy(loader)} if validated else cfg


def teacher(**decoder):
    config = plain_config()
    config['head']['decoder'] = {**config['head']['decoder'], **decoder}
    return dict(config=config, checkpoint=None)


def hooks(cfg):
    return [type_name(hook) for hook in cfg['custom_hooks']]


def test_a_teachers_metrics_are_told_where_there_is_a_validation():
    assert hooks(PKD.distilled(whole(), teacher())) == ['TeacherMetricsHook']
    assert hooks(PKD.distilled(whole(validated=False), teacher())) == []


def test_a_teacher_of_another_size_gets_crops_of_its_own():
    made = PKD.distilled(whole(), teacher(input_size=(64, 128), heatmap_size=(16, 32)))
    assert made['model']['teachers'][0]['view'] == 'teacher'
    for key in ('train_dataloader', 'val_dataloader'):
        steps = [type_name(step) for step in made[key]['dataset']['pipeline']]
        assert steps == ['TeacherView', 'TopdownAffine', 'PackPoseViews']


@pytest.mark.parametrize(('kind', 'how'), [('MSRAHeatmap', 'origin'), ('UDPHeatmap', 'corners')])
def test_features_of_another_size_are_compared_at_the_students(kind, how):
    given = teacher(type=kind, input_size=(64, 128), heatmap_size=(16, 32), sigma=2)
    made = PKD.distilled(whole(), given)['model']
    assert made['distill'][0]['resize'] == how
    model = build(made)
    batch = samples()
    for sample, crop in zip(batch, images().repeat_interleave(2, 2).repeat_interleave(2, 3)):
        place = {key: sample.get(key) for key in ('input_center', 'input_scale')}
        sample.set_data(dict(view_teacher=BaseDataElement(metainfo=place, img=crop)))
    loss = model.loss(images(), batch)['loss_pkd']
    loss.backward()
    assert torch.isfinite(loss) and loss > 0
    assert model.student.backbone.conv1.weight.grad.abs().sum() > 0
    assert 'resize' not in PKD.distilled(whole(), teacher())['model']['distill'][0]


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (None, 'teacher=None'),
        (dict(config=plain_config(HRNET), checkpoint=None), 'teacher.config: model.head.type'),
        (teacher(input_size=(64, 64)), 'give a teacher whose input has that shape'),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        PKD.distilled(whole(), given)


@pytest.mark.parametrize(
    ('model', 'message'),
    [
        ('nothing', 'model.type='),
        (dict(plain_config(), type='BottomupPoseEstimator'), 'model.type='),
        (dict(plain_config(), head='nothing'), 'model.head.type='),
        (plain_config(HRNET), 'has no deconvolutions'),
    ],
)
def test_what_does_not_fit_says_why(model, message):
    assert message in PKD.misfit(dict(model=model))


def test_a_stock_model_fits():
    assert PKD.misfit(whole()) is None
