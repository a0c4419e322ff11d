"""TCD: a heatmap teacher teaches coordinates and bins, and a task loss through its frozen head."""

import copy
import uuid

import numpy as np
import pytest
import torch
from build import CODEC, HRNET, RESNET, SIZE, K, build, images, plain_config, randomize, total
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmpose.registry import MODELS, TRANSFORMS
from runs import draw, run_config

from mmpose_kd.codecs import pixel_size
from mmpose_kd.export import export_student
from mmpose_kd.models.distillers.through_teacher_head import head_input_size
from mmpose_kd.models.losses.cross_representation import cross_coordinates

# ResNet's feature is 64 x 2 x 1 here, HRNet's head expects 4 x 16 x 8
ADAPTER = dict(
    type='pixel_shuffle', in_channels=64, out_channels=4, scale_factor=8, upsample_kernel=1
)
TASK = dict(type='ThroughTeacherHead', student='backbone', adapter=ADAPTER, name='task')
CROSS = dict(loss=dict(type='CrossCoordinateLoss'), student='head', teacher='head', name='cross')

REGRESSION = dict(type='RegressionLabel', input_size=SIZE)
INTEGRAL = dict(type='IntegralRegressionLabel', input_size=SIZE, heatmap_size=(8, 16), sigma=1.0)
SIMCC = dict(type='SimCCLabel', input_size=SIZE, sigma=2.0, simcc_split_ratio=2.0, normalize=False)
LINEAR = dict(in_channels=64, num_joints=K, decoder=REGRESSION)
SOFT = dict(
    in_channels=64,
    in_featuremap_size=(1, 2),
    num_joints=K,
    deconv_out_channels=(8, 8, 8),
    decoder=INTEGRAL,
)
BINS = dict(in_channels=64, out_channels=K, input_size=SIZE, in_featuremap_size=(1, 2))
HEADS = dict(
    RegressionHead=LINEAR,
    RLEHead=LINEAR,
    IntegralRegressionHead=SOFT,
    DSNTHead=SOFT,
    SimCCHead=dict(**BINS, deconv_out_channels=(8, 8, 8), decoder=SIMCC),
    RTMCCHead=dict(
        **BINS,
        gau_cfg=dict(
            hidden_dims=16,
            s=8,
            expansion_factor=2,
            dropout_rate=0.0,
            drop_path=0.0,
            act_fn='SiLU',
            use_rel_bias=False,
            pos_enc=False,
        ),
        loss=dict(type='KLDiscretLoss', use_target_weight=True, beta=10.0, label_softmax=True),
        decoder=SIMCC,
    ),
)
OUTPUT = dict(
    RegressionHead='head',
    RLEHead='head',
    IntegralRegressionHead='head[0]',
    DSNTHead='head[0]',
    SimCCHead=('head[0]', 'head[1]'),
    RTMCCHead=('head[0]', 'head[1]'),
)


def student_config(head='RegressionHead', **changes):
    config = plain_config(RESNET)
    config['head'] = copy.deepcopy(dict(type=head, **HEADS[head]))
    config['head'].update(changes)
    if HEADS[head] is LINEAR:
        config['neck'] = dict(type='GlobalAveragePooling')
    config['test_cfg'] = dict(flip_test=True)
    return config


def teacher(config=None, **settings):
    return dict(config=config or plain_config(HRNET), checkpoint=None, **settings)


def cross(head):
    kind = 'CrossSimCCLoss' if HEADS[head]['decoder'] is SIMCC else 'CrossCoordinateLoss'
    return {**CROSS, 'loss': dict(type=kind), 'student': OUTPUT[head]}


def config(*entries, head='RegressionHead', teachers=None, student=None):
    return dict(
        type='PoseDistiller',
        student=student or student_config(head),
        teachers=teachers or [teacher()],
        distill=list(entries) or [TASK, cross(head)],
    )


def distiller(*entries, **settings):
    model = build(config(*entries, **settings))
    randomize(model.student)
    for n, one in enumerate(model.teachers):
        randomize(one.model, seed=n + 1)
    return model.train()


def samples(deploy=REGRESSION, heatmap=CODEC, batch=2, dtype=torch.float32):
    """Packed by MMPose's pipeline with the codec of two targets."""
    codec = dict(type='CrossRepresentationLabel', deploy=deploy, heatmap=heatmap)
    if heatmap is None:
        codec = deploy
    steps = Compose(
        [TRANSFORMS.build(s) for s in (dict(type='GenerateTarget', encoder=codec),
                                       dict(type='PackPoseInputs'))]
    )  # fmt: skip
    rng = np.random.default_rng(0)
    packed = []
    for _ in range(batch):
        visible = np.ones((1, K), dtype=np.float32)
        visible[0, rng.integers(K)] = 0
        results = dict(
            img=np.zeros((SIZE[1], SIZE[0], 3), dtype=np.uint8),
            input_size=SIZE,
            transformed_keypoints=rng.uniform(4, np.array(SIZE) - 4, (1, K, 2)).astype(np.float32),
            keypoints_visible=visible,
            dataset_keypoint_weights=np.ones(K, dtype=np.float32),
            flip_indices=list(range(K))[::-1],
            input_center=np.array([60.0, 80.0]),
            input_scale=np.array([96.0, 128.0]),
            bbox=np.array([[20.0, 20.0, 100.0, 140.0]]),
            bbox_score=np.ones(1),
        )
        packed.append(steps(results)['data_samples'].to(dtype=dtype))
    return packed


def of(head, **settings):
    return samples(HEADS[head]['decoder'], **settings)


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters()}


every_head = pytest.mark.parametrize('head', HEADS)


# ------------------------------------------------------------------ all stock heads


@every_head
def test_both_losses_reach_the_student_and_never_the_teacher(head):
    model = distiller(head=head)
    frozen = model.teachers[0].model
    losses = model.loss(images(), of(head))
    for name, parts in (
        ('loss_task', ('distill.0.adapter.', 'student.backbone.')),
        ('loss_cross', ('student.head.', 'student.backbone.')),
    ):
        assert torch.isfinite(losses[name]) and losses[name] > 0
        model.zero_grad()
        losses[name].backward(retain_graph=True)
        moved = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        assert all(any(n.startswith(part) for n in moved) for part in parts)
    assert all(p.grad is None and not p.requires_grad for p in frozen.parameters())


@every_head
def test_with_all_weights_0_losses_and_gradients_are_those_of_plain_training(head):
    plain = build(student_config(head)).train()
    entries = [{**entry, 'weight': 0.0} for entry in (TASK, cross(head))]
    model = build(config(*entries, head=head)).train()
    torch.manual_seed(1)
    expected = plain.loss(images(), of(head))
    torch.manual_seed(1)
    losses = model.loss(images(), of(head))
    assert losses['loss_task'] == losses['loss_cross'] == 0
    assert all(torch.equal(losses[key], expected[key]) for key in expected)
    one, two = gradients(plain, total(expected)), gradients(model, total(losses))
    for name, grad in one.items():  # the stock DSNT loss has gradients that are no numbers
        torch.testing.assert_close(two[f'student.{name}'], grad, rtol=0, atol=0, equal_nan=True)
    state = model.state_dict()
    assert all(torch.equal(v, state[f'student.{k}']) for k, v in plain.state_dict().items())


@every_head
def test_the_students_own_losses_are_untouched(head):
    plain = build(student_config(head)).train()
    model = distiller(head=head)
    plain.load_state_dict(model.student.state_dict())
    expected = plain.loss(images(), samples(HEADS[head]['decoder'], heatmap=None))
    losses = model.loss(images(), of(head))
    assert all(torch.equal(losses[key], expected[key]) for key in expected)


# ------------------------------------------------------------------ through the head


def test_the_task_loss_is_the_heatmap_loss_of_the_frozen_head():
    model = distiller({**TASK, 'weight': 2.0})
    twin, batch = copy.deepcopy(model), samples()
    loss = model.loss(images(), batch)['loss_task']
    (feature,) = twin.student.backbone(images())
    maps = model.teachers[0].model.head((twin.distill[0].adapter(feature),))
    labels = [sample.gt_instance_labels for sample in batch]
    target = torch.cat([label.cross_heatmaps for label in labels])
    weight = torch.cat([label.cross_weights for label in labels])
    assert weight.min() == 0
    expected = ((maps - target).square() * weight[..., None, None]).mean()
    torch.testing.assert_close(loss, 2.0 * expected)


def test_the_loss_is_0_where_the_head_makes_the_labels_and_where_all_is_masked():
    model = distiller(TASK)
    entry, one = model.distill[0], model.teachers[0]
    targets = entry.targets(samples())
    with torch.no_grad():
        feature = torch.rand(2, 64, 2, 1)
        maps = one.through_head(entry.adapter(feature))
    assert entry([feature], {}, model.teachers, targets._replace(heatmaps=maps)) == 0
    masked = entry([feature], {}, model.teachers, targets._replace(weights=torch.zeros(2, K)))
    assert masked == 0


def test_the_teachers_backbone_does_not_run_for_its_head_alone():
    model = distiller(TASK)
    calls = []
    model.teachers[0].model.backbone.register_forward_hook(lambda *_: calls.append(1))
    model.loss(images(), samples())
    assert not calls
    distiller_of_both = distiller()
    distiller_of_both.teachers[0].model.backbone.register_forward_hook(lambda *_: calls.append(1))
    distiller_of_both.loss(images(), samples())
    assert len(calls) == 1


def test_a_teacher_with_deconvolutions_stays_bit_for_bit_as_it_is():
    same = dict(type='Conv2d', in_channels=64, out_channels=64, kernel_size=1)
    model = distiller({**TASK, 'adapter': same}, CROSS, teachers=[teacher(plain_config(RESNET))])
    frozen = model.teachers[0].model
    norms = [m for m in frozen.head.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 3
    assert head_input_size(frozen.head) == (2, 1)
    before = copy.deepcopy(frozen.state_dict())
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    adapter = model.distill[0].adapter.weight.detach().clone()
    for mode in (True, False, True):
        model.train(mode)
        wrapper.update_params(total(model.loss(images(), samples())))
    assert not torch.equal(model.distill[0].adapter.weight, adapter)
    assert all(torch.equal(v, before[k]) for k, v in frozen.state_dict().items())
    assert not any(m.training for m in frozen.modules())
    assert not any(p.requires_grad or p.grad is not None for p in frozen.parameters())
    assert all(k.startswith(('student.', 'distill.0.adapter.')) for k in model.state_dict())


@pytest.mark.parametrize('how', ['corners', 'areas', 'origin'])
def test_a_feature_of_another_size_is_resized(how):
    plain = dict(type='Conv2d', in_channels=64, out_channels=4, kernel_size=1)
    losses = distiller({**TASK, 'adapter': plain, 'resize': how}).loss(images(), samples())
    assert torch.isfinite(losses['loss_task']) and losses['loss_task'] > 0


def test_a_balanced_loss_pulls_at_the_feature_as_the_students_own():
    model = distiller({**TASK, 'balance': True, 'weight': 0.5})
    features = []
    model.student.backbone.register_forward_hook(lambda m, i, o: features.append(o[-1]))
    losses = model.loss(images(), samples())
    own, task = (
        torch.autograd.grad(losses[k], features, retain_graph=True)[0].norm()
        for k in ('loss_kpt', 'loss_task')
    )
    torch.testing.assert_close(task, 0.5 * own)
    assert 'distill.0.balance.norms' in model.state_dict()


def test_keypoints_in_another_order_give_the_same_losses():
    order = [3, 0, 4, 1, 2]
    moved, same = distiller(teachers=[teacher(keypoints=order)]), distiller()
    layer = same.teachers[0].model.head.final_layer
    layer.weight.data, layer.bias.data = layer.weight.data[order], layer.bias.data[order]
    one, two, other = (m.loss(images(), samples()) for m in (moved, same, distiller()))
    for name in ('loss_task', 'loss_cross'):
        torch.testing.assert_close(one[name], two[name])
        assert (one[name] - other[name]).detach().abs() > 1e-5


def test_a_keypoint_the_teacher_does_not_have_is_not_taught():
    wide = plain_config(HRNET)
    wide['head']['out_channels'] = 7
    model = distiller(teachers=[teacher(wide, keypoints=[6, -1, 0, 1, 2])])
    outputs = []
    model.student.head.fc.register_forward_hook(
        lambda m, i, o: o.retain_grad() or outputs.append(o)
    )
    batch = samples()
    for sample in batch:
        sample.gt_instance_labels.keypoint_weights.fill_(1)
        sample.gt_instance_labels.cross_weights.fill_(1)
    model.teachers[0].model.head.final_layer.bias.data += 1  # so that every map has a peak
    losses = model.loss(images(), batch)
    losses['loss_cross'].backward()
    taught = outputs[0].grad.reshape(2, K, 2).abs().sum((0, 2)) > 0
    assert taught.tolist() == [True, False, True, True, True]
    entry = model.distill[0]
    targets = entry.targets(batch)
    feature = torch.rand(2, 64, 2, 1)
    changed = targets.heatmaps.clone()
    changed[:, 1] += 1
    assert entry([feature], {}, model.teachers, targets) == entry(
        [feature], {}, model.teachers, targets._replace(heatmaps=changed)
    )


@pytest.mark.parametrize('dtype', ['bfloat16', 'float32'])
def test_a_head_has_its_own_precision_inside_mixed_precision(dtype):
    model = distiller(TASK, CROSS, teachers=[teacher(dtype=dtype)])
    with torch.autocast('cpu', dtype=torch.float16):
        losses = model.loss(images(), samples())
    assert losses['loss_task'].dtype == torch.float32
    grads = gradients(model, total(losses))
    assert all(g is None or torch.isfinite(g).all() for g in grads.values())
    assert grads['distill.0.adapter.upsample_conv.weight'].any()


# ------------------------------------------------------------------ across representations


def test_the_cross_loss_is_that_of_the_teachers_heatmaps_and_the_heads_coordinates():
    model = distiller({**CROSS, 'weight': 3.0})
    twin, batch = copy.deepcopy(model.student), samples()
    loss = model.loss(images(), batch)['loss_cross']
    head = model.teachers[0].model.head
    with torch.no_grad():
        maps = model.teachers[0].model(images(), None, mode='tensor')
    weight = torch.cat([sample.gt_instance_labels.keypoint_weights for sample in batch])
    expected = cross_coordinates(
        twin(images(), None, mode='tensor'), maps, torch.tensor(pixel_size(head.decoder)), weight
    )
    torch.testing.assert_close(loss, 3.0 * expected)


def test_the_cross_loss_alone_needs_no_heatmaps_of_the_labels():
    batch = samples(heatmap=None)
    assert distiller(CROSS).loss(images(), batch)['loss_cross'] > 0


def test_a_simcc_head_may_be_named_by_its_last_layers():
    one, two = (
        distiller({**cross('RTMCCHead'), 'student': names}, head='RTMCCHead')
        for names in (OUTPUT['RTMCCHead'], ('head.cls_x', 'head.cls_y'))
    )
    batch = of('RTMCCHead')
    losses = [m.loss(images(), batch)['loss_cross'] for m in (one, two)]
    assert torch.equal(*losses)


def test_the_second_form_teaches_as_well():
    entry = {**CROSS, 'loss': dict(type='CrossHeatmapLoss')}
    losses = distiller(entry).loss(images(), samples())
    assert torch.isfinite(losses['loss_cross']) and losses['loss_cross'] > 0


# ------------------------------------------------------------------ mistakes


UDP = dict(type='UDPHeatmap', input_size=SIZE, heatmap_size=(8, 16), sigma=1)


def with_decoder(decoder):
    changed = plain_config(HRNET)
    changed['head']['decoder'] = decoder
    return [teacher(changed)]


@pytest.mark.parametrize(
    ('entry', 'settings', 'message'),
    [
        (dict(type='Through'), {}, r"distill\[0\].type='Through'.*ThroughTeacherHead"),
        (dict(student=('backbone', 'backbone')), {}, r'distill\[0\].student=.*one feature map'),
        (dict(from_teachers=[0, 1]), dict(teachers=[teacher()] * 2), r'from_teachers.*own entry'),
        (dict(teacher='head'), {}, r"distill\[0\].*'teacher'"),
        (dict(balance='yes'), {}, r"distill\[0\].balance='yes'"),
        (dict(balance=dict(step=1)), {}, r'distill\[0\].balance=.*step'),
        (
            dict(adapter={**ADAPTER, 'out_channels': 5}),
            {},
            r'adapter.out_channels=5: the head of model.teachers\[0\] expects 4',
        ),
        (
            {},
            dict(teachers=[teacher(student_config('RTMCCHead'))]),
            r'teachers\[0\].config: the head is a RTMCCHead',
        ),
        ({}, dict(teachers=with_decoder(None)), r'teachers\[0\].config: head.decoder=None'),
        (
            {},
            dict(teachers=with_decoder({**UDP, 'heatmap_type': 'combined'})),
            r'teachers\[0\].config: head.decoder is a UDPHeatmap \(combined\)',
        ),
    ],
)
def test_a_wrong_entry_through_the_head_is_told_when_the_model_is_built(entry, settings, message):
    with pytest.raises(ValueError, match=message):
        build(config({**TASK, **entry}, **settings), init=False)


@pytest.mark.parametrize(
    ('entry', 'settings', 'message'),
    [
        (dict(resize='areas'), {}, r'distill\[0\].resize.*CrossCoordinateLoss.*leave it out'),
        (dict(from_teachers=[0, 1]), dict(teachers=[teacher()] * 2), r'from_teachers.*own entry'),
        (dict(teacher=('head', 'head')), {}, r'distill\[0\].teacher.*one teacher'),
        (dict(loss=dict(type='CrossSimCCLoss')), {}, 'give CrossCoordinateLoss'),
        ({}, dict(teachers=[teacher(student_config('RTMCCHead'))]), r'decoder is a SimCCLabel'),
        ({}, dict(teachers=with_decoder(None)), 'heatmap_codec=None'),
    ],
)
def test_a_wrong_cross_entry_is_told_when_the_model_is_built(entry, settings, message):
    with pytest.raises(ValueError, match=message):
        build(config({**CROSS, **entry}, **settings), init=False)


def test_labels_without_heatmaps_are_told_with_what_to_put_there():
    with pytest.raises(ValueError, match=r'distill\[0\].*GenerateTarget.*CrossRepresentation'):
        distiller(TASK).loss(images(), samples(heatmap=None))


def test_heatmaps_of_another_codec_are_told():
    other = {**CODEC, 'heatmap_size': (16, 32)}
    with pytest.raises(
        ValueError, match=r'\(2, 5, 32, 16\).*\(2, 5, 16, 8\).*heatmap_size=\(8, 16\)'
    ):
        distiller(TASK).loss(images(), samples(heatmap=other))


def test_a_feature_that_does_not_fit_the_head_is_told_with_both_sides():
    plain = dict(type='Conv2d', in_channels=64, out_channels=4, kernel_size=1)
    with pytest.raises(
        ValueError,
        match=r"student='backbone' has \(2, 64, 2, 1\).*\(2, 4, 2, 1\).*teachers\[0\] expects "
        r'\(B, 4, 16, 8\).*distill\[0\].resize',
    ):
        distiller({**TASK, 'adapter': plain}).loss(images(), samples())
    with pytest.raises(ValueError, match=r'adapter.in_channels=32.*\(2, 64, 2, 1\), give 64'):
        distiller({**TASK, 'adapter': {**ADAPTER, 'in_channels': 32}}).loss(images(), samples())
    with pytest.raises(ValueError, match=r"student='neck' has \(2, 64\)"):
        distiller({**TASK, 'student': 'neck', 'adapter': None}).loss(images(), samples())


@pytest.mark.parametrize(
    ('head', 'names'),
    [
        ('RegressionHead', 'head.fc'),
        ('RegressionHead', 'backbone'),
        ('IntegralRegressionHead', 'head.simplebaseline_head.final_layer'),
        ('SimCCHead', 'head[0]'),
    ],
)
def test_a_student_output_of_another_kind_is_told_with_both_sides(head, names):
    entry = {**cross(head), 'student': names}
    with pytest.raises(ValueError, match=r'distill\[0\].student=.*\(2, .*teachers\[0\] \(2, 5'):
        distiller(entry, head=head).loss(images(), of(head))


def test_a_teacher_output_that_is_no_heatmap_is_told():
    model = distiller({**CROSS, 'teacher': 'backbone.conv1'})
    with pytest.raises(
        ValueError, match=r"distill\[0\].teacher='backbone.conv1'.*\(B, K, 16, 8\)"
    ):
        model.loss(images(), samples())


# ------------------------------------------------------------------ in MMPose's runner


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return draw(tmp_path_factory.mktemp('drawn') / 'data')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A teacher's config and checkpoint."""
    folder = tmp_path_factory.mktemp('teacher')
    model = plain_config(HRNET)
    model['head']['out_channels'] = 17
    Config(dict(model=model)).dump(folder / 'teacher.py')
    torch.save({'state_dict': randomize(build(model)).state_dict()}, folder / 'teacher.pth')
    return dict(config=str(folder / 'teacher.py'), checkpoint=str(folder / 'teacher.pth'))


def run_of(data, work_dir, trained, **task):
    student = student_config('RegressionHead', num_joints=17)
    model = config({**TASK, 'balance': True, **task}, CROSS, teachers=[trained], student=student)
    cfg = run_config(data, work_dir, model)
    codec = dict(type='CrossRepresentationLabel', deploy=REGRESSION, heatmap=CODEC)
    cfg['train_dataloader']['dataset']['pipeline'][-2] = dict(type='GenerateTarget', encoder=codec)
    cfg['custom_hooks'] = [dict(type='SyncBuffersHook')]
    return cfg


class Stop(Hook):
    """Ends a run as a crash would, at the start of an epoch."""

    def before_train_epoch(self, runner):
        if runner.epoch == 1:
            raise KeyboardInterrupt


def train(cfg, stop=False, **changes):
    cfg = Config(copy.deepcopy({**cfg, **changes}))
    cfg.experiment_name = uuid.uuid4().hex
    runner = Runner.from_cfg(cfg)
    if stop:
        runner.register_hook(Stop())
    runner.train()
    return runner


def saved(path):
    return torch.load(path, weights_only=True)['state_dict']


def test_a_resumed_run_ends_with_the_same_weights_to_the_last_bit(data, tmp_path, trained):
    task = dict(balance=dict(interval=3))
    whole, parts = (run_of(data, tmp_path / name, trained, **task) for name in ('whole', 'parts'))
    steps = train(whole).iter
    with pytest.raises(KeyboardInterrupt):
        train(parts, stop=True)
    train(parts, resume=True)
    one, two = (saved(tmp_path / name / 'epoch_2.pth') for name in ('whole', 'parts'))
    assert one.keys() == two.keys()
    assert [key for key in one if not torch.equal(one[key], two[key])] == []
    assert one['distill.0.balance.step'] == steps > 0
    assert all(k.startswith(('student.', 'distill.0.adapter.', 'distill.0.balance.')) for k in one)


def test_the_exported_student_is_plain_and_predicts_the_same(data, tmp_path, trained):
    cfg = run_of(data, tmp_path / 'work', trained)
    Config(cfg).dump(tmp_path / 'run.py')
    runner = train(cfg)
    export_student(tmp_path / 'run.py', tmp_path / 'work/epoch_2.pth', tmp_path / 'out')
    script = Config.fromfile(tmp_path / 'out/student.py')
    student = student_config('RegressionHead', num_joints=17)
    assert script.model == Config(dict(model=student)).model
    assert 'mmpose_kd' not in (tmp_path / 'out/student.py').read_text()
    step = script.train_dataloader.dataset.pipeline[-2]
    assert step.encoder == Config(dict(codec=REGRESSION)).codec
    plain = MODELS.build(script.model).eval()
    plain.load_state_dict(saved(tmp_path / 'out/student.pth'), strict=True)
    runner.model.eval()
    with torch.no_grad():
        assert torch.equal(
            plain(images(), None, mode='tensor'), runner.model(images(), None, mode='tensor')
        )


def with_cache(cfg, folder):
    """The run with TeacherCacheHook, and pictures that come back."""
    steps = cfg['train_dataloader']['dataset']['pipeline']
    crop = next(i for i, step in enumerate(steps) if step['type'] == 'TopdownAffine')
    steps[crop] = dict(
        type='FixedAugmentations',
        variants=1,
        transforms=[dict(type='RandomFlip'), steps[crop]],
    )
    steps[-1] = dict(type='PackPoseViews')
    cfg['train_cfg']['max_epochs'] = 1
    cfg['custom_hooks'] += [dict(type='TeacherCacheHook', path=str(folder))]
    return cfg


def test_a_cached_teacher_ends_with_the_same_weights_filled_or_empty(data, tmp_path, trained):
    ends = []
    for name in ('filling', 'filled'):
        cfg = with_cache(run_of(data, tmp_path / name, trained), tmp_path / 'cache')
        calls = []
        cfg = Config(cfg)
        cfg.experiment_name = uuid.uuid4().hex
        runner = Runner.from_cfg(cfg)
        backbone = runner.model.teachers[0].model.backbone
        backbone.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        runner.train()
        ends.append((len(calls), saved(tmp_path / name / 'epoch_1.pth')))
    (ran, one), (ran_again, two) = ends
    assert ran > 0 == ran_again
    assert [key for key in one if not torch.equal(one[key], two[key])] == []


def logged(work_dir):
    return next(work_dir.glob('*/*.log')).read_text()


def test_a_teacher_of_which_only_the_head_is_used_gets_no_cache(data, tmp_path, trained):
    cfg = with_cache(run_of(data, tmp_path / 'work', trained), tmp_path / 'cache')
    cfg['model']['teachers'].append(dict(trained))
    cfg['model']['distill'][0]['from_teachers'] = [1]
    cfg['log_level'] = 'INFO'
    train(cfg)
    assert [path.name for path in (tmp_path / 'cache').iterdir()] == ['teacher0.sqlite']
    log = logged(tmp_path / 'work')
    assert 'teacher0.sqlite: ' in log
    assert log.count('model.teachers[1] is not cached') == 1
    assert 'model.teachers[0] is not cached' not in log


@pytest.mark.parametrize('rest', [[], [{**CROSS, 'weight': 0.0}]], ids=['task alone', 'weight 0'])
def test_without_outputs_to_keep_the_hook_rests_and_asks_nothing_of_the_pipeline(
    data, tmp_path, trained, rest
):
    cfg = run_of(data, tmp_path / 'work', trained)
    cfg['model']['distill'][1:] = rest
    cfg['log_level'] = 'INFO'
    cfg['train_cfg']['max_epochs'] = 1
    cfg['custom_hooks'] += [dict(type='TeacherCacheHook', path=str(tmp_path / 'cache'))]
    train(cfg)
    assert not (tmp_path / 'cache').exists()
    assert 'model.teachers[0] is not cached: no entry of' in logged(tmp_path / 'work')
