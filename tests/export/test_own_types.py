"""What of a config is this package's, however it is written."""

import pytest
from torch import nn

import mmpose_kd
from mmpose_kd.export.own_types import own_class, own_parts, traces, training_hooks
from mmpose_kd.okdhp.stacked_hourglass import Bottleneck


@pytest.mark.parametrize('scope', ['', 'mmpose.', 'mmpose_kd.', 'mmpose_kd.okdhp.'])
def test_a_class_is_known_by_each_of_its_names(scope):
    assert own_class(f'{scope}OKDHPHead') is mmpose_kd.OKDHPHead


@pytest.mark.parametrize(
    'kind', ['HeatmapHead', 'mmdet.OKDHPHead', 'OKDHP', 'x.mmpose.OKDHPHead', None, 3, nn.Module]
)
def test_others_are_not_ours(kind):
    assert own_class(kind) is None


def test_hooks_that_teach_are_known_among_others():
    hooks = [
        dict(type='DSKDHook', guides='generations'),
        dict(type='BranchMetricsHook'),
        dict(type='EMAHook'),
        dict(),
    ]
    assert training_hooks(dict(custom_hooks=hooks)) == hooks[:1]
    assert training_hooks(dict(custom_hooks=None)) == training_hooks({}) == []


def test_parts_of_ours_are_named_by_their_keys():
    node = dict(
        type='FAU',
        a=[dict(type='HeatmapHead'), (dict(type='UnbiasedIntegralHead', b=dict(type='FAU')),)],
    )
    assert own_parts(node, kept=False) == ["type='FAU'", "a.1.0.b.type='FAU'"]
    assert own_parts(node, kept=True) == ["a.1.0.type='UnbiasedIntegralHead'"]
    assert own_parts('FAU', kept=False) == []


def of(*modules):
    model = nn.Sequential(nn.Linear(1, 1))
    for module in modules:
        model.append(module)
    return model


class OfAUser(mmpose_kd.HeatmapKLLoss):
    """A class of another package."""


def test_traces_are_found_in_the_text_and_in_the_model():
    loss = mmpose_kd.HeatmapKLLoss()
    assert list(traces('', loss)) == ['the model: itself is a HeatmapKLLoss']
    assert list(traces('', of(loss))) == ['the model: 1 is a HeatmapKLLoss']
    assert list(traces('', of(nn.Identity(), OfAUser()))) == []
    kept = mmpose_kd.StackedHourglass(3, num_stacks=1, downsample_times=1, feat_channels=4)
    assert list(traces('', of(kept, Bottleneck(4, 4)))) == ['the model: 2 is a Bottleneck']
    for text in ("dict(type='FAU')", "{'type': 'mmpose.FAU'}", "type = 'mmpose_kd.okdhp.FAU'"):
        (found,) = traces(text, of())
        assert found.startswith("student.py: type='") and 'FAU' in found


def test_what_may_stay_and_what_is_others_leaves_no_trace():
    text = "type='UnbiasedIntegralHead' type='HeatmapHead' type='mmdet.FAU' FAU prototype='FAU'"
    head = mmpose_kd.UnbiasedIntegralHead
    kept = head.__new__(head)
    nn.Module.__init__(kept)
    assert list(traces(text, of(kept))) == []
