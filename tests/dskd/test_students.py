"""DSKDHook: students of other kinds, of other methods, and big teachers."""

import pytest
import torch
from mmengine.config import Config

from mmpose_kd.core.deployed import deployed_head
from mmpose_kd.export import export_student

from ..helpers.dskd_runs import (
    HOOK,
    dskd_config,
    hook_of,
    make_runner,
    saved,
    train,
    value,
    with_17,
)
from ..helpers.models import (
    HOURGLASS,
    RESNET,
    build,
    images,
    okdhp_config,
    plain_config,
    randomize,
)
from ..helpers.ocd import codec_of, ocd_of, plain_of


def simcc(data_config):
    """A SimCC student, and the run's pipeline with its targets."""
    codec = dict(
        type='SimCCLabel', input_size=(32, 64), sigma=2.0, simcc_split_ratio=2.0,
        use_dark=False,
    )  # fmt: skip
    head = dict(
        type='SimCCHead', in_channels=64, out_channels=17, input_size=(32, 64),
        in_featuremap_size=(1, 2), simcc_split_ratio=2.0, deconv_out_channels=None,
        loss=dict(type='KLDiscretLoss', use_target_weight=True), decoder=codec,
    )  # fmt: skip
    data_config['model']['head'] = head
    data_config['train_dataloader']['dataset']['pipeline'][-2]['encoder'] = codec


def coordinates(kind):
    def change(data_config):
        codec = dict(type='RegressionLabel', input_size=(32, 64))
        head = dict(type=kind, in_channels=64, num_joints=17, decoder=codec)
        if kind in ('IntegralRegressionHead', 'UnbiasedIntegralHead'):
            codec.update(type='IntegralRegressionLabel', heatmap_size=(8, 16), sigma=1.0)
            head.update(in_featuremap_size=(1, 2), deconv_out_channels=(8, 8, 8), beta=2.0)
        else:
            data_config['model']['neck'] = dict(type='GlobalAveragePooling')
        data_config['model']['head'] = head
        data_config['train_dataloader']['dataset']['pipeline'][-2]['encoder'] = codec

    return change


@pytest.mark.parametrize(
    'change',
    [
        simcc,
        coordinates('RegressionHead'),
        pytest.param(coordinates('RLEHead'), marks=pytest.mark.slow),
        pytest.param(coordinates('IntegralRegressionHead'), marks=pytest.mark.slow),
    ],
    ids=['SimCC', 'regression', 'RLE', 'integral'],
)
def test_students_without_heatmaps_are_guided_too(data, tmp_path, change):
    cfg = dskd_config(data, tmp_path, epochs=2, num_guides=1, floor=None)
    change(cfg)
    runner, losses = train(cfg)
    kd = [value(step['loss_dskd_kd']) for step in losses.values()]
    assert kd[0] == 0 and 0 < kd[-1] < float('inf')
    assert hook_of(runner).gamma == 0
    for of_heatmaps in (dict(gamma=0.1), dict(floor=0.1), dict(cls_target='guides')):
        ((name, given),) = of_heatmaps.items()
        with pytest.raises(ValueError, match=rf'DSKDHook\.{name}={given!r}: .*leave it out'):
            train({**cfg, 'custom_hooks': [{**HOOK, 'floor': None, **of_heatmaps}]})


@pytest.mark.parametrize(('kind', 'weights'), [('heatmap', (3.0, 0.001)), ('simcc', (1.0, 0.0))])
def test_weights_that_are_not_given_are_those_for_the_students_output(
    data, tmp_path, kind, weights
):
    cfg = dskd_config(data, tmp_path, alpha=None, floor=None)
    if kind == 'simcc':
        simcc(cfg)
    runner = make_runner(cfg)
    hook = hook_of(runner)
    hook.start(runner, length=6)
    assert (hook.alpha, hook.gamma) == weights


def test_alpha_stands_beside_the_heads_own_weight_of_its_loss(data, tmp_path):
    torch.save({'state_dict': build(with_17(), seed=1).state_dict()}, tmp_path / 'guide.pth')

    def losses(**weight):
        model = with_17()
        model['head']['loss'] = dict(type='KeypointMSELoss', use_target_weight=True, **weight)
        guides = [str(tmp_path / 'guide.pth')]
        return train(dskd_config(data, tmp_path / 'work', model, epochs=1, guides=guides))[1]

    plain, weighted = losses(), losses(loss_weight=500.0)
    assert plain == losses(loss_weight=1.0)
    one, other = ({name: value(x) for name, x in run[0].items()} for run in (plain, weighted))
    for name in ('loss_kpt', 'loss_dskd_kd'):
        assert other[name] == pytest.approx(500 * one[name], rel=1e-5) and one[name] > 0
    assert other['loss_dskd_cls'] == one['loss_dskd_cls'] > 0


def distilled():
    return dict(
        type='PoseDistiller',
        student=with_17(),
        teachers=[dict(config=with_17(), checkpoint=None)],
        distill=[
            dict(
                loss=dict(type='KeypointMSELoss', use_target_weight=True),
                student='head.final_layer',
                teacher='head.final_layer',
            )
        ],
    )


def okdhp(**head):
    config = okdhp_config(RESNET, 'stage2', deploy_branch=1, **head)
    config['head']['head']['out_channels'] = 17
    return config


@pytest.mark.parametrize(
    ('model', 'head'),
    [(distilled, 'student.head'), (okdhp, 'head.branches.1.head')],
    ids=['PoseDistiller', 'OKDHP'],
)
def test_the_deployed_part_of_other_methods_is_guided_and_frozen(data, tmp_path, model, head):
    cfg = dskd_config(data, tmp_path / 'work', model=model(), epochs=2, num_guides=1)
    Config(cfg).dump(tmp_path / 'run.py')
    runner, losses = train(cfg)
    assert deployed_head(runner.model) == head
    assert value(losses[len(losses) - 1]['loss_dskd_kd']) > 0
    guide = saved(tmp_path / 'work/dskd_epoch_1.pth')['state_dict']
    assert guide.keys() == build(with_17()).state_dict().keys()
    export_student(tmp_path / 'run.py', tmp_path / 'work/epoch_1.pth', tmp_path / 'out')
    student = saved(tmp_path / 'out/student.pth')['state_dict']
    assert all(torch.equal(student[key], guide[key]) for key in guide)


def test_the_deployed_head_of_ocd_is_guided_and_frozen(data, tmp_path):
    model, plain = ocd_of('simcc'), plain_of('simcc')
    for head in (model['head']['deploy']['head'], model['head']['heatmap'], plain['head']):
        head['out_channels'] = 17
    cfg = dskd_config(data, tmp_path / 'work', model=model, epochs=2, num_guides=1, floor=None)
    cfg['train_dataloader']['dataset']['pipeline'][-2]['encoder'] = codec_of('simcc')
    Config(cfg).dump(tmp_path / 'run.py')
    runner, losses = train(cfg)
    assert deployed_head(runner.model) == 'head.deploy.head'
    last = losses[len(losses) - 1]
    assert all(value(last[f'loss_{name}']) > 0 for name in ('kpt', 'heatmap', 'cross', 'dskd_kd'))
    guide = saved(tmp_path / 'work/dskd_epoch_1.pth')['state_dict']
    assert guide.keys() == build(plain).state_dict().keys()
    export_student(tmp_path / 'run.py', tmp_path / 'work/epoch_1.pth', tmp_path / 'out')
    student = saved(tmp_path / 'out/student.pth')['state_dict']
    assert all(torch.equal(student[key], guide[key]) for key in guide)


def test_of_a_stacked_hourglass_the_last_stage_is_guided():
    from mmpose_kd.core.capture import returned_by
    from mmpose_kd.core.head_output import head_kind, read_output

    model = randomize(build(plain_config(HOURGLASS)))
    with returned_by(model.head) as caught:
        every = model.head.forward(model.extract_feat(images()))
    assert head_kind(model.head) == 'heatmap' and 'forward' not in vars(model.head)
    assert read_output('heatmap', caught[-1])[0] is every[-1]


def test_a_big_teacher_guides_from_the_start(data, tmp_path):
    big = with_17(dict(type='ResNet', depth=34, stem_channels=8, base_channels=8))
    torch.save({'state_dict': randomize(build(big)).state_dict()}, tmp_path / 'big.pth')
    teachers = [dict(config=big, checkpoint=str(tmp_path / 'big.pth'))]
    cfg = dskd_config(data, tmp_path / 'work', epochs=2, num_guides=1, teachers=teachers)
    runner, losses = train(cfg)
    assert min(value(step['loss_dskd_kd']) for step in losses.values()) > 0
    assert [guide.name for guide in hook_of(runner).bank.guides] == ['guide0', 'epoch_1']
