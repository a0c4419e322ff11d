"""GuidedStudent: what is deployed of the model in training, and new weights for it."""

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner

from mmpose_kd.dskd.student import GuidedStudent

from ..helpers.models import build, images, okdhp_config, plain_config, samples, total

KEY = 'custom_hooks: DSKDHook'


def runner_of(model, folder):
    cfg = Config(dict(model=model, work_dir=str(folder), default_scope='mmpose'))
    cfg.update(experiment_name=folder.name, log_level='WARNING')
    return Runner.from_cfg(cfg)


@pytest.mark.parametrize(
    ('model', 'head'),
    [(plain_config(), 'head'), (okdhp_config(deploy_branch=1), 'head.branches.1.head')],
    ids=['plain', 'OKDHP'],
)
def test_its_weights_are_those_of_the_stock_model(model, head, tmp_path):
    runner = runner_of(model, tmp_path)
    student = GuidedStudent(runner, KEY)
    assert student.head is runner.model.get_submodule(head) and student.kind == 'heatmap'
    stock = build(student.config)
    stock.load_state_dict(student.state_dict(), strict=True)
    assert stock.state_dict().keys() == build(plain_config()).state_dict().keys()


def test_weights_drawn_anew_are_those_of_their_seed_and_every_optimiser_is_empty(tmp_path):
    runner = runner_of(plain_config(), tmp_path)
    model, student = runner.model, GuidedStudent(runner, KEY)
    optimisers = [
        torch.optim.Adam(part.parameters(), lr=1e-3) for part in (model.backbone, model.head)
    ]
    both = OptimWrapperDict(**dict(zip('ab', map(OptimWrapper, optimisers))))
    total(model.loss(images(), samples())).backward()
    for optimiser in optimisers:
        optimiser.step()
    assert all(optimiser.state for optimiser in optimisers)

    def drawn(seed):
        student.draw_anew(seed, both)
        return model.backbone.conv1.weight.detach().clone()

    states = torch.get_rng_state()
    one, other, again = drawn('0 1'), drawn('0 2'), drawn('0 1')
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert torch.equal(states, torch.get_rng_state())
    assert not any(optimiser.state for optimiser in optimisers)
    assert all(p.grad is None for p in model.parameters())


def test_a_runner_without_the_models_config_is_told(tmp_path):
    runner = runner_of(plain_config(), tmp_path)
    runner.cfg = Config(dict())
    with pytest.raises(ValueError, match=f'{KEY} needs the config of the model'):
        GuidedStudent(runner, KEY)
