"""What a loss does with a setting that a config leaves out."""

import inspect

import pytest
from mmpose.registry import MODELS

import mmpose_kd
from mmpose_kd.dskd.losses import bins_kl, heatmap_bce, heatmap_cross_entropy, residual_smooth_l1
from mmpose_kd.hhd.loss import DEFAULTS, hhd_aligned, hhd_released
from mmpose_kd.hhd.windows import cut_windows
from mmpose_kd.losses import feature_mse, heatmap_kl, simcc_kl
from mmpose_kd.ocd_tcd.losses import cross_coordinates
from mmpose_kd.ocd_tcd.simcc_loss import cross_simcc
from mmpose_kd.pkd import pearson_distance

#: the settings of each loss that a config may leave out, as its documentation has them
LOSSES = {
    'FeatureMSELoss': dict(divisor='elements', loss_weight=1.0),
    'HeatmapKLLoss': dict(
        temperature=1.0,
        normalize='none',
        divisor='elements',
        weigh_maps=False,
        use_target_weight=True,
        loss_weight=1.0,
    ),
    'JointsMSELoss': dict(use_target_weight=True, loss_weight=1.0, key=None),
    'SimCCKLLoss': dict(beta=None, use_target_weight=True, loss_weight=1.0),
    'PearsonFeatureLoss': dict(loss_weight=1.0),
    'HHDLoss': dict(
        mode='aligned',
        beta=None,
        crop_size=(8, 8),
        norm_student=None,
        norm_teacher=None,
        window=None,
        padding=None,
        align=None,
        use_target_weight=True,
        teacher_confidence=False,
        loss_weight=0.5,
    ),
    'HeatmapClassificationLoss': dict(
        form='distribution',
        kappa=10.0,
        pos_weight=None,
        focus=None,
        use_target_weight=True,
        loss_weight=1.0,
        key=None,
    ),
    'CrossCoordinateLoss': dict(beta=1.0),
    'CrossHeatmapLoss': dict(heatmap_codec=None, use_target_weight=True, loss_weight=1.0),
    'CrossSimCCLoss': dict(temperature=1.0, match_width=True),
}

#: and those of the functions that compute them
FUNCTIONS = [
    (feature_mse, dict(divisor='elements')),
    (
        heatmap_kl,
        dict(
            target_weight=None,
            temperature=1.0,
            normalize='none',
            divisor='elements',
            weigh_maps=False,
        ),
    ),
    (simcc_kl, dict(target_weight=None, beta=1.0)),
    (pearson_distance, dict(eps=1e-6)),
    (hhd_aligned, dict(weight=None, beta=1.0, crop_size=(8, 8), **DEFAULTS['aligned'])),
    (hhd_released, dict(weight=None, crop_size=(8, 8), **DEFAULTS['released'])),
    (cut_windows, dict(padding='reflect', value=None)),
    (heatmap_bce, dict(weight=None, kappa=10.0, pos_weight=None, focus=0.0)),
    (heatmap_cross_entropy, dict(weight=None, kappa=10.0)),
    (bins_kl, dict(weight=None, beta=1.0)),
    (residual_smooth_l1, dict(weight=None, size_average=True)),
    (cross_coordinates, dict(target_weight=None, beta=1.0, window=None)),
    (cross_simcc, dict(target_weight=None, temperature=1.0, beta=1.0)),
]


def left_out(function):
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


@pytest.mark.parametrize('name', sorted(LOSSES))
def test_a_setting_that_is_left_out_is_what_it_always_was(name):
    assert left_out(getattr(mmpose_kd, name)) == LOSSES[name]


@pytest.mark.parametrize(
    ('function', 'defaults'), FUNCTIONS, ids=lambda x: getattr(x, '__name__', '')
)
def test_the_functions_do_the_same(function, defaults):
    assert left_out(function) == defaults


def test_every_loss_is_known_to_this_test():
    losses = {name for name in mmpose_kd.__all__ if name.endswith('Loss')}
    assert losses == set(LOSSES)


def test_the_forms_of_a_loss_have_what_their_papers_say():
    assert (
        dict(
            aligned=dict(
                norm_student='softmax',
                norm_teacher='sum',
                window='integer',
                padding='mirror',
                align='full',
            ),
            released=dict(norm_student='l2', norm_teacher='l2'),
        )
        == DEFAULTS
    )
    focus = {
        form: mmpose_kd.HeatmapClassificationLoss(form).focus
        for form in ('bce', 'focal', 'softmax', 'distribution')
    }
    assert focus == dict(bce=0, focal=2, softmax=0, distribution=0)


@pytest.mark.parametrize('name', sorted(LOSSES))
def test_a_loss_is_found_by_its_name_in_a_config(name):
    assert MODELS.get(name) is getattr(mmpose_kd, name)
