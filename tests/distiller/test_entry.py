"""A kind of entry from outside: registered, named in a config, with the feature's gradient."""

import pytest
import torch
import torch.nn.functional as F

from mmpose_kd.distiller import DISTILL_ENTRIES, Entry
from mmpose_kd.distiller.entry import output_paths

from ..helpers.distillers import distiller_config, gradients
from ..helpers.models import build, images, randomize, samples


@pytest.fixture
def registered():
    """Registers a class for one test."""
    names = []

    def register(cls):
        DISTILL_ENTRIES.register_module(module=cls)
        names.append(cls.__name__)
        return cls

    yield register
    for name in names:
        DISTILL_ENTRIES.module_dict.pop(name)


class AttentionTransfer(Entry):
    """Where both look: the squared features, summed over the channels."""

    def __init__(self, model, teachers, student, teacher, **settings):
        super().__init__(model, student, **settings)
        self.from_teachers = (0,)
        self.teacher_paths = {0: output_paths(teachers[0].model, teacher, self.key)}

    def forward(self, batch):
        one, two = (
            F.normalize(x.square().mean(1).flatten(1))
            for x in (batch.student[0], batch.teachers[0][0])
        )
        return (one - two).square().sum(1).mean()


class GradientMatch(Entry):
    """What the task asks of the student's feature is to be small: needs its gradient."""

    def __init__(self, model, teachers, student, **settings):
        super().__init__(model, student, **settings)
        self.from_teachers, self.teacher_paths = (0,), {}

    def forward(self, batch):
        (asked,) = torch.autograd.grad(batch.task_loss, batch.student, create_graph=True)
        return asked.square().sum()


def make(**entry):
    """A distiller with this entry alone."""
    config = distiller_config()
    config['distill'] = [entry]
    model = build(config)
    randomize(model.student)
    randomize(model.teachers[0].model, seed=1)
    return model.train()


def test_a_users_own_entry_trains_the_student(registered):
    registered(AttentionTransfer)
    model = make(type='AttentionTransfer', student='head.deconv_layers', teacher='backbone[-1]')
    losses = model.loss(images(), samples())
    assert losses['loss_distill0'] > 0
    grads = gradients(model, {'loss': losses['loss_distill0']})
    assert grads['student.backbone.conv1.weight'].abs().sum() > 0


def test_an_entry_may_use_the_gradient_of_a_captured_feature(registered):
    registered(GradientMatch)
    model = make(type='GradientMatch', student='head.deconv_layers')
    losses = model.loss(images(), samples())
    assert losses['loss_distill0'] > 0
    # second derivatives reach the layers before the feature
    grads = gradients(model, {'loss': losses['loss_distill0']})
    assert grads['student.backbone.conv1.weight'].abs().sum() > 0


def test_an_entry_may_be_given_as_a_class():
    model = make(type=GradientMatch, student='head.deconv_layers')
    assert isinstance(model.distill[0], GradientMatch)


@pytest.mark.parametrize('kind', ['None', 'HeatmapKLLoss', 3, None, dict])
def test_an_unknown_kind_is_refused_with_those_that_there_are(kind):
    with pytest.raises(ValueError) as error:
        make(type=kind, student='head')
    text = str(error.value)
    assert text.startswith(f'model.distill[0].type={kind!r}: choose one of ')
    assert 'Distillation' in text and 'ThroughTeacherHead' in text
