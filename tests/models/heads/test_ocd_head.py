"""OCDHead: a heatmap head teaches a light one; what is deployed stays a stock model."""

import copy

import numpy as np
import pytest
import torch
from build import SIZE, build, images, randomize, total
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmpose.registry import MODELS
from ocd import (
    GAU,
    HEADS,
    HEATMAP_CODEC,
    POOL,
    SMOOTH_L1,
    K,
    batch_of,
    codec_of,
    heatmap_head,
    ocd_of,
    plain_of,
)

from mmpose_kd.deployed import training_part
from mmpose_kd.export import ExportError, export_student

each_kind = pytest.mark.parametrize('kind', HEADS)
two_kinds = pytest.mark.parametrize('kind', ['regression', 'simcc'])

PLAIN = dict(heatmap_weight=0, cross_weight=0)


def names(model):
    """Parameters of the deployed part by their names in the plain model."""
    found = dict(model.named_parameters())
    return model.head.deployed().state_dict(found)


def backward(model, samples):
    losses = model.loss(images(len(samples)), samples)
    total(losses).backward()
    return losses


# ------------------------------------------------------------------------ zero means plain


@each_kind
def test_with_weights_of_zero_it_is_the_plain_model_bit_for_bit(kind):
    plain, ocd = build(plain_of(kind)), build(ocd_of(kind, **PLAIN))
    samples = batch_of(codec_of(kind))
    expected, found = backward(plain, samples), backward(ocd, samples)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    ours = names(ocd)
    for name, p in plain.named_parameters():
        assert torch.equal(ours[name], p)
        if p.requires_grad:
            assert torch.equal(ours[name].grad, p.grad), name
    for name, value in plain.named_buffers():
        assert torch.equal(dict(ocd.named_buffers())[_inside(name)], value)


def _inside(name):
    return f'head.deploy.{name}' if name.startswith(('head.', 'neck.')) else name


@each_kind
def test_whatever_is_added_the_deployed_part_starts_as_the_plain_model(kind):
    plain = build(plain_of(kind))
    after = torch.rand(3)
    ocd = build(ocd_of(kind, assistant=HEADS[kind]['head']))
    assert torch.equal(torch.rand(3), after)  # and so do the run's random numbers
    ours = ocd.head.deployed().state_dict(ocd.state_dict())
    assert ours.keys() == plain.state_dict().keys()
    assert all(torch.equal(ours[name], value) for name, value in plain.state_dict().items())


def test_heads_that_are_not_run_want_no_gradient():
    """Else processes that train together would wait for them."""
    ocd = build(ocd_of('simcc', **PLAIN, assistant=HEADS['simcc']['head'], assistant_weight=0))
    backward(ocd, batch_of(codec_of('simcc')))
    assert all(p.grad is not None for p in ocd.parameters() if p.requires_grad)
    assert not any(p.requires_grad for p in ocd.head.heatmap.parameters())
    assert not any(p.requires_grad for p in ocd.head.assistant.parameters())


# -------------------------------------------------------------------------------- training


@each_kind
def test_one_step_trains_every_parameter_and_lowers_the_loss(kind):
    ocd = randomize(build(ocd_of(kind)))
    samples = batch_of(codec_of(kind))
    optimizer = torch.optim.SGD((p for p in ocd.parameters() if p.requires_grad), 1e-3)
    losses = backward(ocd, samples)
    assert {'loss_kpt', 'acc_pose', 'loss_heatmap', 'loss_cross', 'heatmap_factor'} == set(losses)
    trained = [p for p in ocd.parameters() if p.requires_grad]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in trained)
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    assert total(ocd.loss(images(2), samples)) < total(losses)


@each_kind
def test_the_deployed_heads_own_loss_is_the_plain_one(kind):
    plain, ocd = build(plain_of(kind)), build(ocd_of(kind))
    samples = batch_of(codec_of(kind))
    expected, found = plain.loss(images(2), samples), ocd.loss(images(2), samples)
    assert torch.equal(found['loss_kpt'], expected['loss_kpt'])
    assert torch.equal(found['acc_pose'], expected['acc_pose'])


@each_kind
def test_the_deployed_head_is_run_once_a_step(kind):
    ocd = build(ocd_of(kind))
    calls = []
    head = ocd.head.deploy['head']
    kinds = (torch.nn.Linear, torch.nn.ConvTranspose2d, torch.nn.Conv2d)
    layer = head.fc if kind == 'rle' else next(m for m in head.modules() if isinstance(m, kinds))
    layer.register_forward_hook(lambda *_: calls.append(1))
    ocd.loss(images(2), batch_of(codec_of(kind)))
    assert len(calls) == 1


def test_the_heatmap_heads_loss_is_the_stock_one_times_its_factor():
    ocd = build(ocd_of('regression', heatmap_weight=2.5, balance=False, cross_weight=0))
    samples = batch_of(codec_of('regression'))
    losses = ocd.loss(images(2), samples)
    maps = ocd.head.heatmap(ocd.extract_feat(images(2)))
    target = torch.cat([s.gt_instance_labels.cross_heatmaps for s in samples])
    weight = torch.cat([s.gt_instance_labels.cross_weights for s in samples])
    expected = 2.5 * ((maps - target).square() * weight[..., None, None]).mean()
    assert torch.allclose(losses['loss_heatmap'], expected)
    assert float(losses['heatmap_factor']) == 2.5 and float(losses['loss_cross']) == 0


def test_with_a_detached_feature_the_backbone_learns_from_the_deployed_head_alone():
    ocd = build(ocd_of('regression', detach_feature=True, cross_weight=0.0))
    plain = build(plain_of('regression'))
    samples = batch_of(codec_of('regression'))
    backward(plain, samples)
    losses = backward(ocd, samples)
    ours = names(ocd)
    assert all(torch.equal(ours[k].grad, p.grad) for k, p in plain.named_parameters())
    assert all(p.grad is not None for p in ocd.head.heatmap.parameters())
    assert float(losses['heatmap_factor']) == 1.0 and ocd.head.balance is None


@each_kind
@pytest.mark.parametrize('weight', [1.0, 0.5])
def test_the_balance_makes_both_losses_pull_equally_at_the_feature(kind, weight):
    ocd = build(ocd_of(kind, heatmap_weight=weight, cross_weight=0))
    feats = tuple(f.detach().requires_grad_() for f in ocd.extract_feat(images(4)))
    losses = ocd.head.loss(feats, batch_of(codec_of(kind), 4))
    task, heatmap = (
        torch.autograd.grad(losses[name], feats[-1], retain_graph=True)[0].norm()
        for name in ('loss_kpt', 'loss_heatmap')
    )
    assert task > 0
    assert torch.allclose(heatmap, weight * task, rtol=1e-3)


@two_kinds
def test_the_cross_loss_teaches_the_deployed_head_and_not_the_heatmap_head(kind):
    ocd = build(ocd_of(kind, heatmap_weight=1.0))
    losses = ocd.loss(images(2), batch_of(codec_of(kind)))
    losses['loss_cross'].backward()
    assert all(p.grad is None for p in ocd.head.heatmap.parameters())
    assert sum(float(p.grad.abs().sum()) for p in ocd.head.deploy.parameters()) > 0
    assert sum(float(p.grad.abs().sum()) for p in ocd.backbone.parameters()) > 0


def test_of_rle_the_cross_loss_teaches_mu_alone():
    ocd = build(ocd_of('rle'))
    ocd.loss(images(2), batch_of(codec_of('rle')))['loss_cross'].backward()
    grad = ocd.head.deploy['head'].fc.bias.grad.view(K, 4)
    assert (grad[:, :2] != 0).any() and (grad[:, 2:] == 0).all()
    assert all(
        p.grad is None for p in ocd.head.deploy['head'].loss_module.parameters()
    )  # of the flow


@each_kind
def test_an_unlabelled_keypoint_costs_nothing(kind):
    ocd = build(ocd_of(kind, balance=False))
    one, two = batch_of(codec_of(kind), hidden=(1, 3)), batch_of(codec_of(kind), hidden=(1, 3))
    for sample in two:  # another place for what has no label
        labels = sample.gt_instance_labels
        for name in labels.keys():  # noqa: SIM118 (no dict)
            if 'weights' not in name:
                labels[name][:, 1] += 0.3
    first, second = ocd.loss(images(2), one), ocd.loss(images(2), two)
    for name in ('loss_kpt', 'loss_heatmap', 'loss_cross'):
        assert torch.equal(first[name], second[name])


@two_kinds
def test_a_batch_without_any_label_is_finite(kind):
    ocd = build(ocd_of(kind, assistant=HEADS[kind]['head']))
    losses = backward(ocd, batch_of(codec_of(kind), hidden=range(K)))
    assert all(torch.isfinite(value).all() for value in losses.values())
    assert float(losses['loss_cross']) == 0 == float(losses['loss_heatmap'])


@pytest.mark.parametrize('epoch', [0, 2, 3, 5])
def test_the_cross_loss_follows_its_schedule(epoch):
    schedule = dict(type='linear_decay', start=2)
    ocd = build(ocd_of('regression', cross_schedule=schedule))
    samples = batch_of(codec_of('regression'))
    hub = MessageHub.get_current_instance()
    hub.update_info('max_epochs', 6)
    hub.update_info('epoch', 2)
    full = ocd.loss(images(2), samples)['loss_cross']
    hub.update_info('epoch', epoch)
    found = ocd.loss(images(2), samples)['loss_cross']
    share = 0 if epoch < 2 else 1 - (epoch - 2) / 4
    assert float(full) > 0
    assert torch.allclose(found, share * full)


def test_the_rendered_form_is_a_setting():
    ocd = build(ocd_of('regression', cross=dict(type='CrossHeatmapLoss', loss_weight=2.0)))
    assert float(ocd.loss(images(2), batch_of(codec_of('regression')))['loss_cross']) > 0


@each_kind
def test_half_precision_and_accumulated_gradients(kind):
    ocd = build(ocd_of(kind, balance=dict(interval=1), assistant=HEADS[kind]['head']))
    samples = batch_of(codec_of(kind))
    for _ in range(2):
        with torch.autocast('cpu', torch.float16):
            losses = ocd.loss(images(2), samples)
        assert all(torch.isfinite(value) for value in losses.values())
        (total(losses) / 2).backward()
    assert all(torch.isfinite(p.grad).all() for p in ocd.parameters() if p.requires_grad)


# --------------------------------------------------------------------------- downsized head

SMALL = {
    'simcc': (HEADS['simcc'], HEADS['rtmcc']['head']),
    'rtmcc': (
        dict(head={**HEADS['rtmcc']['head'], 'gau_cfg': {**GAU, 'hidden_dims': 8}}),
        HEADS['rtmcc']['head'],
    ),
    'regression': (HEADS['regression'], HEADS['regression']['head']),
    'rle': (HEADS['rle'], HEADS['rle']['head']),
    'regression by integral': (dict(HEADS['regression'], neck=None), HEADS['integral']['head']),
}


@pytest.mark.parametrize('kind', ['simcc', 'rtmcc', 'regression', 'rle'])
def test_a_bigger_head_learns_the_task_and_teaches_the_small_one(kind):
    small, big = SMALL[kind]
    config = ocd_of(kind, assistant=big)
    config['head']['deploy'] = copy.deepcopy(small)
    ocd = build(config)
    losses = ocd.loss(images(2), batch_of(codec_of(kind)))
    assert float(losses['loss_assistant']) != 0 and float(losses['loss_from_assistant']) > 0
    losses['loss_from_assistant'].backward(retain_graph=True)
    assert all(p.grad is None for p in ocd.head.assistant.parameters())
    assert (
        sum(float(p.grad.abs().sum()) for p in ocd.head.deploy.parameters() if p.grad is not None)
        > 0
    )
    total(losses).backward()
    assert all(p.grad is not None for p in ocd.parameters() if p.requires_grad)


@pytest.mark.parametrize('kind', ['simcc', 'regression'])
def test_nothing_is_taught_where_both_heads_agree(kind):
    ocd = build(ocd_of(kind, assistant=HEADS[kind]['head']))
    ocd.head.assistant.load_state_dict(ocd.head.deploy['head'].state_dict())
    losses = ocd.loss(images(2), batch_of(codec_of(kind)))
    assert float(losses['loss_from_assistant']) == pytest.approx(0, abs=1e-7)
    assert torch.allclose(losses['loss_assistant'], losses['loss_kpt'])


# ------------------------------------------------------------------------------- prediction


@each_kind
@pytest.mark.parametrize('flip', [False, True])
def test_it_predicts_as_the_plain_model(kind, flip):
    plain, ocd = build(plain_of(kind)).eval(), build(ocd_of(kind)).eval()
    for model in (plain, ocd):
        model.test_cfg = {**model.test_cfg, 'flip_test': flip}
    with torch.no_grad():
        found, expected = (
            model.predict(images(2), batch_of(codec_of(kind))) for model in (ocd, plain)
        )
        for a, b in zip(found, expected):
            assert np.array_equal(a.pred_instances.keypoints, b.pred_instances.keypoints)
            assert np.array_equal(
                a.pred_instances.keypoint_scores, b.pred_instances.keypoint_scores
            )
        one, two = ocd(images(2), None, mode='tensor'), plain(images(2), None, mode='tensor')
    pairs = zip(one, two) if isinstance(one, tuple) else [(one, two)]
    assert all(torch.equal(a, b) for a, b in pairs)


@each_kind
@pytest.mark.parametrize('flip', [False, True])
def test_both_heads_are_evaluated_in_one_pass(kind, flip):
    ocd = build(ocd_of(kind)).eval()
    found = {}
    with torch.no_grad():
        for branch in ('deploy', 'heatmap', 'all'):
            ocd.test_cfg = dict(flip_test=flip, branch=branch, output_heatmaps=True)
            found[branch] = ocd.predict(images(2), batch_of(codec_of(kind)))
    for i, both in enumerate(found['all']):
        for name in ('deploy', 'heatmap'):
            alone = found[name][i].pred_instances
            beside = both.get(f'pred_{name}')
            assert np.array_equal(beside.keypoints, alone.keypoints)
            assert np.array_equal(beside.keypoint_scores, alone.keypoint_scores)
            assert beside.bboxes.shape == (1, 4)
        assert np.array_equal(
            both.pred_instances.keypoints, found['deploy'][i].pred_instances.keypoints
        )
    assert not np.array_equal(
        found['heatmap'][0].pred_instances.keypoints, found['deploy'][0].pred_instances.keypoints
    )


UDP = dict(type='UDPHeatmap', input_size=SIZE, heatmap_size=(8, 16), sigma=1)


@pytest.mark.parametrize('codec', [HEATMAP_CODEC, UDP], ids=['MSRAHeatmap', 'UDPHeatmap'])
def test_the_heatmap_heads_flip_test_is_the_one_of_its_codecs_stock_configs(codec):
    """Which shift a flipped MSRAHeatmap, and no UDPHeatmap; the deployed head has no such key."""
    config = ocd_of('regression')
    config['head']['heatmap']['decoder'] = codec
    ocd = randomize(build(config)).eval()
    samples = batch_of(codec_of('regression'))
    flip = dict(flip_test=True, output_heatmaps=True)
    with torch.no_grad():
        pair = [ocd.extract_feat(images(2)), ocd.extract_feat(images(2).flip(-1))]
        shifted, still = (
            ocd.head.heatmap.predict(pair, samples, dict(flip, shift_heatmap=shift))[1][0].heatmaps
            for shift in (True, False)
        )
        assert not torch.equal(shifted, still)

        def heatmaps(**settings):
            ocd.test_cfg = dict(flip, branch='heatmap', **settings)
            return ocd.predict(images(2), samples)[0].pred_fields.heatmaps

        assert torch.equal(heatmaps(), shifted if codec is HEATMAP_CODEC else still)
        assert torch.equal(heatmaps(shift_heatmap=True), shifted)
        assert torch.equal(heatmaps(shift_heatmap=False), still)


def test_the_outputs_are_the_heads_that_are_trained():
    assert build(ocd_of('simcc'), init=False).head.output_names == ['deploy', 'heatmap']
    with_assistant = ocd_of('simcc', assistant=HEADS['simcc']['head'])
    assert build(with_assistant, init=False).head.output_names == [
        'deploy', 'heatmap', 'assistant'
    ]  # fmt: skip
    assert build(ocd_of('simcc', **PLAIN), init=False).head.output_names == ['deploy']


# ----------------------------------------------------------------------------------- export


@each_kind
def test_the_exported_student_is_the_plain_model_with_equal_predictions(kind, tmp_path):
    model = ocd_of(kind, assistant=HEADS[kind]['head'])
    model['test_cfg']['branch'] = 'all'
    ocd = build(model)
    ocd.train()
    optimizer = torch.optim.SGD((p for p in ocd.parameters() if p.requires_grad), 0.01)
    backward(ocd, batch_of(codec_of(kind)))
    optimizer.step()
    pipeline = [
        dict(type='TopdownAffine', input_size=(32, 64)),
        dict(type='GenerateTarget', encoder=codec_of(kind)),
        dict(type='PackPoseInputs'),
    ]
    loader = dict(dataset=dict(pipeline=pipeline))
    cfg = Config(
        dict(
            default_scope='mmpose',
            custom_imports=dict(imports=['mmpose_kd']),
            codec=codec_of(kind),
            model=model,
            train_dataloader=loader,
            custom_hooks=[dict(type='BranchMetricsHook')],
        )
    )
    cfg.dump(tmp_path / 'ocd.py')
    torch.save({'state_dict': ocd.state_dict()}, tmp_path / 'epoch_1.pth')
    export_student(tmp_path / 'ocd.py', tmp_path / 'epoch_1.pth', tmp_path / 'out')

    text = (tmp_path / 'out/student.py').read_text()
    assert 'mmpose_kd' not in text and 'CrossRepresentationLabel' not in text
    student = Config.fromfile(tmp_path / 'out/student.py')
    deployed = HEADS[kind]['head']['decoder']
    encoder = student.train_dataloader.dataset.pipeline[1].encoder.to_dict()
    assert encoder == Config(dict(c=deployed)).to_dict()['c'] == student.codec.to_dict()
    assert student.model.to_dict() == Config(plain_of(kind)).to_dict()
    plain = MODELS.build(student.model)
    state = torch.load(tmp_path / 'out/student.pth', weights_only=True)['state_dict']
    plain.load_state_dict(state, strict=True)
    ocd.eval(), plain.eval()
    with torch.no_grad():
        one, two = ocd(images(2), None, mode='tensor'), plain(images(2), None, mode='tensor')
    pairs = zip(one, two) if isinstance(one, tuple) else [(one, two)]
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize('kind', ['integral', 'simcc'])
def test_a_neck_that_both_heads_share_stays_in_the_model(kind):
    config = ocd_of(kind)
    config['neck'] = dict(type='ChannelMapper', in_channels=[64], out_channels=64, num_outs=1)
    ocd = build(config).eval()
    assert training_part(ocd) is ocd.head
    found = ocd.head.deployed()
    plain = build(found.config(config), seed=1).eval()
    plain.load_state_dict(found.state_dict(ocd.state_dict()), strict=True)
    assert any(name.startswith('neck.') for name in plain.state_dict())
    with torch.no_grad():
        one, two = ocd(images(2), None, mode='tensor'), plain(images(2), None, mode='tensor')
    assert all(torch.equal(a, b) for a, b in zip(one, two))


@each_kind
def test_by_default_the_cross_loss_weighs_what_was_measured_for_its_kind(kind):
    head = build(ocd_of(kind)).head
    assert head.cross_weight == dict(coordinates=10, bins=1)[head.kind]


# ----------------------------------------------------------------------------------- errors

TWO_NECKS = r'model\.neck and model\.head\.deploy\.neck are both given.*model\.neck=None'


def test_two_necks_are_refused_wherever_the_whole_model_is_seen(tmp_path):
    config = ocd_of('regression')
    config['neck'] = dict(type='FeatureMapProcessor')
    model = build(config)  # MMPose's model builds its parts without showing them to each other
    with pytest.raises(ValueError, match=TWO_NECKS):
        training_part(model)
    with pytest.raises(ValueError, match=TWO_NECKS):
        build(dict(type='PoseDistiller', student=config, teachers=[], distill=[]), init=False)
    loader = dict(dataset=dict(pipeline=[dict(type='TopdownAffine', input_size=(32, 64))]))
    Config(dict(model=config, train_dataloader=loader)).dump(tmp_path / 'ocd.py')
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'epoch_1.pth')
    with pytest.raises(ExportError, match=TWO_NECKS):
        export_student(tmp_path / 'ocd.py', tmp_path / 'epoch_1.pth', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


BAD = {
    'head.heatmap_weight=-1': dict(heatmap_weight=-1),
    'head.heatmap_weight=0 with head.cross_weight=10.0': dict(heatmap_weight=0),
    "head.cross_weight='x'": dict(cross_weight='x'),
    'head.balance.interval=0': dict(balance=dict(interval=0)),
    'head.balance=None': dict(balance=None),
    r"head.balance=\{'every': 3\}": dict(balance=dict(every=3)),
    'head.cross_schedule.type': dict(cross_schedule=dict(type='up')),
    'CrossSimCCLoss teaches bins': dict(cross=dict(type='CrossSimCCLoss')),
    r'head.cross=.*give CrossCoordinateLoss': dict(cross=SMOOTH_L1),
    'head.heatmap.out_channels: it has 7': dict(heatmap=heatmap_head() | dict(out_channels=7)),
    'head.heatmap.decoder=None': dict(heatmap=heatmap_head() | dict(decoder=None)),
    "head.heatmap.type='RegressionHead'": dict(heatmap=HEADS['regression']['head']),
    'heatmap_codec is a RegressionLabel': dict(
        heatmap=heatmap_head() | dict(decoder=HEADS['regression']['head']['decoder'])
    ),
    "head.assistant.type='SimCCHead'": dict(assistant=HEADS['simcc']['head']),
    'head.assistant.type=HeatmapHead': dict(assistant=heatmap_head()),
    'head.deploy=': dict(deploy=HEADS['regression']['head']),
    r'head.deploy=\[': dict(deploy=[HEADS['regression']]),
    'head.deploy=.*give dict': dict(deploy=dict(neck=POOL, head=None)),
    'head.deploy.head.type=HeatmapHead': dict(deploy=dict(head=heatmap_head())),
    'head.deploy.head.decoder is the codec of both': dict(
        deploy=dict(
            neck=POOL, head=HEADS['regression']['head'] | dict(decoder=codec_of('regression'))
        )
    ),
    'head.deploy.head.decoder is a NoneType': dict(
        deploy=dict(head=HEADS['regression']['head'] | dict(decoder=None))
    ),
    'head.init_cfg': dict(init_cfg=dict(type='Normal')),
}


@pytest.mark.parametrize(('message', 'settings'), BAD.items(), ids=range(len(BAD)))
def test_a_mistake_in_the_config_names_its_key_when_the_model_is_built(message, settings):
    config = ocd_of('regression')
    config['head'].update(copy.deepcopy(settings))
    with pytest.raises(ValueError, match=message):
        build(config, init=False)


def test_an_unknown_branch_is_refused_when_the_model_is_built():
    config = ocd_of('regression')
    config['test_cfg']['branch'] = 'ensemble'
    with pytest.raises(ValueError, match=r"test_cfg.branch='ensemble'.*'deploy', 'heatmap'"):
        build(config, init=False)


def test_heatmaps_of_another_size_are_named():
    ocd = build(ocd_of('regression'))
    other = {**codec_of('regression'), 'heatmap': {**HEATMAP_CODEC, 'heatmap_size': (16, 32)}}
    with pytest.raises(ValueError, match=r'\(16, 32\).*head.heatmap.decoder.*\(8, 16\)'):
        ocd.loss(images(2), batch_of(other))


def test_a_pipeline_without_heatmaps_is_named():
    ocd = build(ocd_of('regression'))
    samples = batch_of(HEADS['regression']['head']['decoder'])
    with pytest.raises(ValueError, match='CrossRepresentationLabel'):
        ocd.loss(images(2), samples)
