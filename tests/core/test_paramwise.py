"""``paramwise_cfg`` acts as in the plain model, or is refused."""

import pytest
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper

from mmpose_kd.core.paramwise import matching_key

from ..helpers.distillers import distiller_config
from ..helpers.models import build, images, okdhp_config, plain_config, samples, total
from ..helpers.ocd import ocd_of
from ..helpers.ocd import samples as ocd_samples
from .test_loading import okdhp_inside

SLOW = dict(lr_mult=0.1)
FPN = dict(type='FPN', in_channels=[64], out_channels=64, num_outs=1)


def with_neck():
    config = ocd_of('simcc')
    config['head']['deploy']['neck'] = FPN
    return config


MODELS = {
    'okdhp': okdhp_config(num_branches=2),
    'ocd': ocd_of('simcc'),
    'ocd, neck': with_neck(),
    'distiller': distiller_config(),
    'okdhp in a distiller': okdhp_inside(),
}


def first_loss(kind, custom_keys=None, **settings):
    """The first loss in a run with these settings of the optimiser."""
    model = build(MODELS[kind])
    optim_wrapper = dict(
        optimizer=dict(type='SGD', lr=1.0),
        paramwise_cfg=dict(settings.pop('paramwise', {})),
        **settings,
    )
    if custom_keys is not None:
        optim_wrapper['paramwise_cfg']['custom_keys'] = custom_keys
    cfg = Config(dict(optim_wrapper=optim_wrapper))
    MessageHub.get_current_instance().update_info('cfg', cfg.pretty_text)
    batch = ocd_samples('simcc') if kind.startswith('ocd') else samples()
    return total(model.train().loss(images(), batch))


@pytest.mark.parametrize(
    ('kind', 'custom_keys'),
    [
        ('okdhp', {'head': SLOW}),  # the tails of the backbone are below head.branches
        ('okdhp', {'head': SLOW, 'layer4': dict(lr_mult=0.5)}),
        ('ocd, neck', {'head': SLOW, 'neck': dict(lr_mult=0.5)}),
        ('ocd, neck', {'head': SLOW}),
        ('okdhp in a distiller', {'head': SLOW}),
    ],
)
def test_keys_that_act_on_other_parameters_are_refused(kind, custom_keys):
    with pytest.raises(ValueError) as caught:
        first_loss(kind, custom_keys)
    told = str(caught.value)
    assert "optim_wrapper.paramwise_cfg.custom_keys['" in told and ' give ' in told
    assert 'head.' in told.rpartition('give')[2]


@pytest.mark.parametrize(
    ('kind', 'custom_keys'),
    [
        ('okdhp', {'backbone': SLOW}),
        ('okdhp', {'backbone': SLOW, 'head': dict(lr_mult=2.0)}),  # the longer key wins
        ('okdhp', {'backbone.layer4.0': SLOW, 'bn': dict(decay_mult=0.0)}),
        ('okdhp', {'.head.': SLOW}),
        ('okdhp', {'head.branches.0.head.': SLOW, 'head.branches.1.head.': SLOW}),
        ('okdhp', {'head.fau': SLOW}),
        ('ocd', {'backbone': SLOW, 'head': dict(lr_mult=2.0)}),
        ('ocd', {'head': SLOW, 'neck': dict(lr_mult=2.0)}),  # a neck without parameters
        ('ocd, neck', {'head.deploy.neck.': SLOW}),
        ('distiller', {'backbone': SLOW, 'head': dict(lr_mult=2.0)}),
        ('distiller', {'student.head': SLOW}),
        ('okdhp in a distiller', {'backbone': SLOW}),
        ('okdhp in a distiller', {'head': SLOW, 'student.head.branches': dict(lr_mult=0.5)}),
    ],
)
def test_keys_that_act_as_in_the_plain_model_are_taken(kind, custom_keys):
    assert first_loss(kind, custom_keys) > 0


def test_what_the_message_gives_is_taken():
    with pytest.raises(ValueError, match=r"give 'head\.branches\.0\.head\.', 'head\.branches\.1"):
        first_loss('okdhp', {'head': SLOW})


@pytest.mark.parametrize('kind', MODELS)
def test_a_run_without_such_settings_goes_on(kind):
    assert first_loss(kind) > 0
    assert first_loss(kind, paramwise=dict(norm_decay_mult=0.0, bypass_duplicate=True)) > 0


def test_mmposes_layer_decay_is_refused_where_the_backbone_has_another_name(monkeypatch):
    decay = dict(
        constructor='LayerDecayOptimWrapperConstructor',
        paramwise=dict(num_layers=2, layer_decay_rate=0.5),
    )
    # a vision transformer's names, which the layers are counted by
    monkeypatch.setattr(
        'mmpose_kd.core.paramwise.plain_names',
        lambda *_: [{'backbone.layers.0.ln1.weight': 'student.backbone.layers.0.ln1.weight'}],
    )
    with pytest.raises(ValueError, match=r'constructor=.LayerDecay.* layer 3, .* layer 1;'):
        first_loss('distiller', **decay)


@pytest.mark.parametrize('kind', ['ocd', 'distiller'])
def test_layer_decay_that_counts_the_same_layers_is_taken(kind):
    constructor = 'mmpose.engine.optim_wrappers.LayerDecayOptimWrapperConstructor'
    paramwise = dict(num_layers=2, layer_decay_rate=0.5)
    assert first_loss(kind, constructor=constructor, paramwise=paramwise) > 0


def test_an_unknown_constructor_is_warned_about(monkeypatch):
    heard = []
    monkeypatch.setattr('mmpose_kd.core.paramwise.print_log', lambda msg, *_: heard.append(msg))
    first_loss('distiller', constructor='Mine', paramwise=dict(layers=3))
    assert len(heard) == 1 and 'student.' in heard[0]
    first_loss('ocd', constructor='Mine', paramwise=dict(layers=3))
    assert len(heard) == 2


def test_the_key_is_the_one_that_mmengine_takes():
    custom_keys = {'head': dict(lr_mult=2.0), 'neck': dict(lr_mult=3.0), 'layer4': SLOW}
    model = build(plain_config())
    wrapper = build_optim_wrapper(
        model,
        dict(optimizer=dict(type='SGD', lr=1.0), paramwise_cfg=dict(custom_keys=custom_keys)),
    )
    for (name, _), group in zip(model.named_parameters(), wrapper.optimizer.param_groups):
        key = matching_key(name, custom_keys)
        assert group['lr'] == custom_keys.get(key, dict(lr_mult=1.0))['lr_mult']
    assert matching_key('head.deploy.neck.weight', custom_keys) == 'head'


def test_a_run_is_compared_once(monkeypatch):
    calls = []
    real = first_loss.__globals__['build']

    def counted(part, names):
        calls.append(names)
        return [{'a': 'a'}]

    monkeypatch.setattr('mmpose_kd.core.paramwise.plain_names', counted)
    monkeypatch.setitem(first_loss.__globals__, 'build', lambda c: built)
    built = real(MODELS['okdhp'])
    assert first_loss('okdhp', {'head': SLOW}) > 0
    total(built.loss(images(), samples()))
    assert len(calls) == 1
