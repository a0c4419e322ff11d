"""OCDHead predicts as the stock model that remains of it, and is exported as that."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpose.registry import MODELS

from mmpose_kd.core.deployed import training_part
from mmpose_kd.export import export_student

from ..helpers.models import build, images, randomize
from ..helpers.ocd import (
    HEADS,
    HEATMAP_CODEC,
    PLAIN,
    UDP,
    backward,
    codec_of,
    each_kind,
    ocd_of,
    plain_of,
    samples,
)

# ------------------------------------------------------------------------------- prediction


@each_kind
@pytest.mark.parametrize('flip', [False, True])
def test_it_predicts_as_the_plain_model(kind, flip):
    plain, ocd = build(plain_of(kind)).eval(), build(ocd_of(kind)).eval()
    for model in (plain, ocd):
        model.test_cfg = {**model.test_cfg, 'flip_test': flip}
    with torch.no_grad():
        found, expected = (model.predict(images(2), samples(kind)) for model in (ocd, plain))
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
            found[branch] = ocd.predict(images(2), samples(kind))
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


@pytest.mark.parametrize('codec', [HEATMAP_CODEC, UDP], ids=['MSRAHeatmap', 'UDPHeatmap'])
def test_the_heatmap_heads_flip_test_is_the_one_of_its_codecs_stock_configs(codec):
    """Which shift a flipped MSRAHeatmap, and no UDPHeatmap; the deployed head has no such key."""
    config = ocd_of('regression')
    config['head']['heatmap']['decoder'] = codec
    ocd = randomize(build(config)).eval()
    batch = samples('regression')
    flip = dict(flip_test=True, output_heatmaps=True)
    with torch.no_grad():
        pair = [ocd.extract_feat(images(2)), ocd.extract_feat(images(2).flip(-1))]
        shifted, still = (
            ocd.head.heatmap.predict(pair, batch, dict(flip, shift_heatmap=shift))[1][0].heatmaps
            for shift in (True, False)
        )
        assert not torch.equal(shifted, still)

        def heatmaps(**settings):
            ocd.test_cfg = dict(flip, branch='heatmap', **settings)
            return ocd.predict(images(2), batch)[0].pred_fields.heatmaps

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
    backward(ocd, samples(kind))
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
