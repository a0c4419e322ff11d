"""What OKDHPHead predicts: a branch, the ensemble, or all outputs in one pass."""

import numpy as np
import pytest
import torch

from ..helpers.models import (
    CODEC,
    K,
    build,
    images,
    okdhp_config,
    plain_config,
    randomize,
    samples,
)
from ..helpers.okdhp import predictions, share_weights


@pytest.mark.parametrize('flip_test', [False, True])
@pytest.mark.parametrize('branch', [0, 2])
def test_a_branch_predicts_what_its_plain_model_predicts(flip_test, branch):
    ours = randomize(build(okdhp_config()))
    plain = build(plain_config())
    share_weights(plain, ours, branch)
    expected = predictions(plain, flip_test, output_heatmaps=True)
    found = predictions(ours, flip_test, branch=branch, output_heatmaps=True)
    for a, b in zip(expected, found):
        np.testing.assert_array_equal(a.pred_instances.keypoints, b.pred_instances.keypoints)
        np.testing.assert_array_equal(
            a.pred_instances.keypoint_scores, b.pred_instances.keypoint_scores
        )
        assert torch.equal(a.pred_fields.heatmaps, b.pred_fields.heatmaps)


@pytest.mark.parametrize('flip_test', [False, True])
def test_all_outputs_in_one_pass_equal_each_one_alone(flip_test):
    model = randomize(build(okdhp_config(deploy_branch=1)))
    together = predictions(model, flip_test, branch='all')
    for output in (0, 1, 2, 'ensemble'):
        alone = predictions(model, flip_test, branch=output)
        name = output if output == 'ensemble' else f'branch{output}'
        for a, b in zip(alone, together):
            beside = b.get(f'pred_{name}')
            np.testing.assert_array_equal(a.pred_instances.keypoints, beside.keypoints)
            np.testing.assert_array_equal(a.pred_instances.keypoint_scores, beside.keypoint_scores)
            assert 'bboxes' in beside
            if output == 1:  # the deployed one is the model's own prediction
                np.testing.assert_array_equal(
                    b.pred_instances.keypoints, a.pred_instances.keypoints
                )


def test_flip_test_of_the_ensemble_by_hand():
    """The ensemble of the mirrored picture, with its own attention, mirrored back."""
    model = randomize(build(okdhp_config())).eval()
    batch = samples()
    flip = [1, 0, 2, 4, 3]
    for sample in batch:
        sample.set_metainfo(dict(flip_indices=flip))

    def ensemble(x):
        feats = model.extract_feat(x)
        heatmaps = model.head.forward_branches(feats)
        attention = model.head.fau.attention(feats.steps['stem'])
        return sum(attention[:, t, :, None, None] * heatmaps[t] for t in range(3))

    model.test_cfg = dict(
        flip_test=True, shift_heatmap=False, branch='ensemble', output_heatmaps=True
    )
    with torch.no_grad():
        expected = 0.5 * (ensemble(images()) + ensemble(images().flip(-1)).flip(-1)[:, flip])
        found = model.predict(images(), batch)
    for sample, maps in zip(found, expected):
        torch.testing.assert_close(sample.pred_fields.heatmaps, maps)


def test_output_keypoint_indices_are_respected_in_every_output():
    model = randomize(build(okdhp_config()))
    found = predictions(model, branch='all', output_keypoint_indices=[1, 3])
    full = predictions(model, branch='all', output_keypoint_indices=None)
    for a, b in zip(found, full):
        for name in ('pred_instances', 'pred_branch2', 'pred_ensemble'):
            np.testing.assert_array_equal(a.get(name).keypoints, b.get(name).keypoints[:, [1, 3]])


def test_tensor_mode_returns_the_deployed_branchs_heatmaps():
    model = randomize(build(okdhp_config(deploy_branch=1))).eval()
    with torch.no_grad():
        maps = model(images(), None, mode='tensor')
        assert torch.equal(maps, model.head.branches[1](model.extract_feat(images())))
    assert maps.shape == (2, K, CODEC['heatmap_size'][1], CODEC['heatmap_size'][0])
