"""SharedTrunk and splits: two pieces of a backbone are the backbone."""

import copy

import pytest
import torch
from mmengine.model import BaseModule
from mmpose.registry import MODELS
from torch import nn

from mmpose_kd.okdhp.splits import Step, backbone_steps, build_piece, run_steps

from ..helpers.models import (
    BACKBONES,
    HOURGLASS,
    HRNET,
    LITEHRNET,
    MOBILENET,
    RESNET,
    SPLITS,
    build,
    images,
    randomize,
)

# the last split of each backbone, and with the slow tests the others
PAIRS = [
    pytest.param(name, split, marks=[pytest.mark.slow] * (split != splits[-1]))
    for name, splits in SPLITS.items()
    for split in splits
]
# the first split of each, and with the slow tests the others
FIRST = [
    pytest.param(name, split, marks=[pytest.mark.slow] * (split != splits[0]))
    for name, splits in SPLITS.items()
    for split in splits
]
VARIANTS = dict(
    all_outputs=dict(RESNET, out_indices=(0, 1, 2, 3)),
    deep_stem=dict(type='ResNetV1d', depth=18, stem_channels=8, base_channels=8),
    litehrnet_without_head=dict(LITEHRNET, extra=dict(LITEHRNET['extra'], with_head=False)),
    resnext=dict(type='ResNeXt', depth=50, groups=4, base_channels=8, width_per_group=2),
    seresnet=dict(type='SEResNet', depth=50, base_channels=8, stem_channels=8),
    mobilenet_two=dict(MOBILENET, out_indices=(2, 7)),
    hrnet_multiscale=dict(
        HRNET,
        extra=dict(HRNET['extra'], stage4=dict(HRNET['extra']['stage4'], multiscale_output=True)),
    ),
)


def cut(config, split):
    """A stock backbone, and trunk and tail with the same weights."""
    stock = randomize(build(config))
    trunk = MODELS.build(dict(type='SharedTrunk', backbone=copy.deepcopy(config), split=split))
    tail, kept = build_piece(copy.deepcopy(config), split, shared=False)
    state = stock.state_dict()
    trunk.load_state_dict({k: v for k, v in state.items() if k in trunk.state_dict()})
    tail.load_state_dict({k: v for k, v in state.items() if k in tail.state_dict()})
    return stock, trunk, tail, kept


def finish(feats, tail, kept):
    return run_steps(tail, kept, feats.state, feats.outputs)[1]


def check_same(config, split):
    stock, trunk, tail, kept = cut(config, split)
    for training in (True, False):
        for module in (stock, trunk, tail):
            module.train(training)
        expected = stock(images())
        found = finish(trunk(images()), tail, kept)
        assert len(found) == len(expected)
        assert all(torch.equal(a, b) for a, b in zip(found, expected))


@pytest.mark.parametrize(('name', 'split'), PAIRS)
def test_trunk_and_tail_compute_what_the_stock_backbone_computes(name, split):
    check_same(BACKBONES[name], split)


SLOW = [pytest.param(split, marks=pytest.mark.slow) for split in ('stem', 'stage2')]


@pytest.mark.parametrize('variant', VARIANTS)
@pytest.mark.parametrize('split', [*SLOW, 'end'])
def test_variants_of_the_stock_backbones_can_be_split_too(variant, split):
    check_same(VARIANTS[variant], split)


@pytest.mark.parametrize(('name', 'split'), FIRST)
def test_names_are_the_stock_names_and_each_is_in_one_piece(name, split):
    stock, trunk, tail, _ = cut(BACKBONES[name], split)
    ours = [*trunk.state_dict(), *tail.state_dict()]
    assert sorted(ours) == sorted(stock.state_dict())
    named = [n for piece in (trunk, tail) for n, _ in piece.named_parameters()]
    assert sorted(named) == sorted(n for n, _ in stock.named_parameters())


@pytest.mark.parametrize('split', ['stem', 'end'])
def test_a_single_hourglass_can_be_split(split):
    """Stock code gives it a layer between stacks that it never runs."""
    check_same(dict(HOURGLASS, num_stacks=1), split)


def test_the_paths_into_deeper_networks_start_the_same():
    """What lets branches of 4, 6 and 8 stacks hang on one trunk."""
    trunks = [
        MODELS.build(
            dict(type='SharedTrunk', backbone=dict(HOURGLASS, num_stacks=n), split='stack2')
        )
        for n in (2, 3, 5)
    ]
    assert trunks[1].structure == trunks[2].structure
    assert trunks[0].structure != trunks[1].structure  # has no way on to a third stack
    assert list(trunks[1].state_dict()) == list(trunks[2].state_dict())


def test_unknown_split_names_the_setting_and_the_choices():
    with pytest.raises(ValueError, match=r"split='stage9'.*HRNet.*'stem', 'stage1'.*'end'"):
        MODELS.build(dict(type='SharedTrunk', backbone=HRNET, split='stage9'))


def test_backbone_without_known_steps_is_refused():
    with pytest.raises(TypeError, match=r'backbone.type: VGG cannot be split.*HRNet'):
        MODELS.build(dict(type='SharedTrunk', backbone=dict(type='VGG', depth=11), split='stem'))


def test_a_kin_with_a_forward_of_its_own_is_refused():
    regnet = dict(type='RegNet', arch='regnetx_400mf')
    with pytest.raises(TypeError, match=r'RegNet is a ResNet with a forward of its own'):
        MODELS.build(dict(type='SharedTrunk', backbone=regnet, split='stage2'))


class Chain(BaseModule):
    """A backbone of two layers with something beside them."""

    def __init__(self, beside):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 8, 1)
        if beside == 'scale':
            self.scale = nn.Parameter(torch.ones(1))
        elif beside == 'mean':
            self.register_buffer('mean', torch.ones(1), persistent=False)
        elif beside == 'norm.weight':
            self.norm = nn.BatchNorm2d(4)


@backbone_steps.register
def _(backbone: Chain):
    return [
        Step('stem', ('one',), lambda net, x: net.one(x)),
        Step('end', ('two',), lambda net, x: net.two(x), lambda x: (x,)),
    ]


@pytest.mark.parametrize('shared', [True, False])
@pytest.mark.parametrize('beside', ['scale', 'mean', 'norm.weight'])
def test_weights_that_no_step_lists_are_refused_by_name(beside, shared):
    message = rf'backbone\.type: .*Chain has {beside}, .* put it into a submodule'
    with pytest.raises(TypeError, match=message):
        build_piece(dict(type=Chain, beside=beside), 'stem', shared=shared)
    build_piece(dict(type=Chain, beside=None), 'stem', shared=shared)


def test_output_of_the_trunk_cannot_be_mistaken_for_features():
    feats = MODELS.build(dict(type='SharedTrunk', backbone=RESNET, split='stage2'))(images())
    for misuse in (lambda: feats[-1], lambda: list(feats)):
        with pytest.raises(TypeError, match=r'model\.head\.neck'):
            misuse()


def test_frozen_stages_and_norm_eval_stay_frozen_after_train():
    config = dict(RESNET, frozen_stages=1, norm_eval=True)
    trunk = MODELS.build(dict(type='SharedTrunk', backbone=config, split='stage2'))
    tail, _ = build_piece(config, 'stage2', shared=False)
    trunk.train()
    tail.train()
    assert not any(p.requires_grad for p in trunk.layer1.parameters())
    assert all(p.requires_grad for p in trunk.layer2.parameters())
    norms = [
        m for piece in (trunk, tail) for m in piece.modules() if isinstance(m, nn.BatchNorm2d)
    ]
    assert norms and not any(m.training for m in norms)


def test_stock_initialisation_reaches_both_pieces():
    class Parent(BaseModule):
        def __init__(self):
            super().__init__()
            self.trunk = MODELS.build(dict(type='SharedTrunk', backbone=HRNET, split='stage2'))
            self.tail, _ = build_piece(HRNET, 'stage2', shared=False)

    parent = Parent()
    parent.init_weights()
    for piece in (parent.trunk, parent.tail):
        convs = [m for m in piece.modules() if isinstance(m, nn.Conv2d)]
        # HRNet draws from a normal of 0.001; torch's own default is far wider
        assert convs and all(0 < m.weight.std() < 0.002 for m in convs)


def test_pretrained_checkpoint_reaches_both_pieces(tmp_path):
    stock = randomize(build(HRNET), seed=3)
    torch.save({'state_dict': stock.state_dict()}, tmp_path / 'pretrained.pth')
    config = dict(
        HRNET, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'pretrained.pth'))
    )
    trunk = MODELS.build(dict(type='SharedTrunk', backbone=config, split='stage2'))
    tail, _ = build_piece(config, 'stage2', shared=False)
    trunk.init_weights()
    tail.init_weights()
    for piece in (trunk, tail):
        assert piece.state_dict()
        assert all(torch.equal(v, stock.state_dict()[k]) for k, v in piece.state_dict().items())


def test_a_copy_is_independent_of_the_original():
    trunk = randomize(
        MODELS.build(dict(type='SharedTrunk', backbone=RESNET, split='stage1'))
    ).eval()
    before = trunk(images()).state
    other = copy.deepcopy(trunk)
    randomize(other, seed=1)
    assert torch.equal(trunk(images()).state, before)
    assert not torch.equal(other(images()).state, before)


def test_a_swapped_layer_is_swapped_in_the_forward_too():
    trunk = MODELS.build(dict(type='SharedTrunk', backbone=RESNET, split='stem')).eval()
    trunk.bn1 = nn.Identity()
    norm = trunk._stock.bn1
    assert norm is trunk.bn1
