"""GradientBalance: the auxiliary loss pulls at the feature as strongly as the main one."""

import pytest
import torch
from torch.optim import SGD
from torch.utils.checkpoint import checkpoint

from mmpose_kd.core.gradient_balance import GradientBalance

pytestmark = pytest.mark.reliability


def losses(feature, main=3.0, auxiliary=0.01):
    """Gradients of sizes 3 n and 0.01 n at the feature, n the root of its number of elements."""
    return main * feature.sum(), auxiliary * feature.sum()


def feature():
    return torch.randn(2, 4, requires_grad=True)


def test_the_first_factor_makes_the_norms_equal():
    f = feature()
    main, auxiliary = losses(f)
    factor = GradientBalance()(main, auxiliary, [f])
    norms = [
        torch.autograd.grad(loss, f, retain_graph=True)[0].norm()
        for loss in (main, factor * auxiliary)
    ]
    assert torch.allclose(*norms)
    assert float(factor) == pytest.approx(300)
    assert not factor.requires_grad


def test_several_features_count_together_and_unused_ones_not():
    f, g, unused = feature(), feature(), feature()
    main, auxiliary = 3 * f.sum() + 4 * g.sum(), f.sum() + 0 * g.sum()
    factor = GradientBalance()(main, auxiliary, [f, g, unused])
    assert float(factor) == pytest.approx(5)


def test_a_feature_that_one_loss_does_not_see_does_not_count():
    f, g, h = feature(), feature(), feature()
    main, auxiliary = 3 * f.sum() + 4 * g.sum(), f.sum() + 5 * h.sum()
    assert float(GradientBalance()(main, auxiliary, [f, g, h])) == pytest.approx(3)
    # where they have none in common, each at its own
    main, auxiliary = 3 * f.sum(), 2 * g.sum()
    assert float(GradientBalance()(main, auxiliary, [f, g])) == pytest.approx(1.5)


def test_layers_that_are_run_again_by_torchs_reentrant_checkpoint_are_refused():
    f = feature()
    main = checkpoint(lambda x: 3 * x.sum(), f, use_reentrant=True)
    with pytest.raises(ValueError, match=r'^distill\[0\]\.balance: .*backbone\.with_cp=True'):
        GradientBalance(key='distill[0].balance')(main, f.sum(), [f])


def test_it_measures_at_every_interval_th_step_and_averages():
    balance = GradientBalance(interval=2, momentum=0.5, warmup=1)
    found = []
    for main in (3.0, 5.0, 5.0, 7.0):
        f = feature()
        found.append(float(balance(*losses(f, main, 1.0), [f])))
    assert found == pytest.approx([3, 3, 4, 4])  # (3 + 5) / 2 at the third step


def test_the_first_steps_are_all_measured_and_weigh_alike():
    balance = GradientBalance(interval=4, momentum=0.1, warmup=3)
    found = []
    for main in (3.0, 6.0, 9.0, 100.0, 10.0):  # the fourth step is not measured
        f = feature()
        found.append(float(balance(*losses(f, main, 1.0), [f])))
    # the fifth is the fourth measurement
    assert found == pytest.approx([3, 4.5, 6, 6, 7])


def test_no_single_measurement_decides_for_many_steps():
    """An auxiliary loss almost without gradient, at one step in twenty."""
    balance = GradientBalance()
    found = []
    for step in range(60):
        f = feature()
        found.append(float(balance(*losses(f, 1.0, 1e-9 if step % 20 == 0 else 1.0), [f])))
    assert max(found[1:]) < 2.1
    assert found[0] == 1e6  # for one step, and bounded


def test_the_factor_is_bounded_in_both_directions():
    for main, auxiliary, expected in ((1e4, 1e-4, 1e6), (1e-4, 1e4, 1e-6), (3.0, 1.0, 3.0)):
        f = feature()
        assert float(GradientBalance()(*losses(f, main, auxiliary), [f])) == pytest.approx(
            expected
        )


def test_a_later_measurement_counts_for_no_more_than_its_limit():
    balance = GradientBalance(interval=1, momentum=0.5, warmup=1, limit=3)
    found = []
    for main in (2.0, 1000.0, 1e-9):
        f = feature()
        found.append(float(balance(*losses(f, main, 1.0), [f])))
    assert found == pytest.approx([2, 4, (4 + 4 / 3) / 2])  # 1000 counts as 6, 1e-9 as 4 / 3


def test_a_resumed_balance_goes_on_as_it_would_have():
    one, two = (
        GradientBalance(interval=2, momentum=0.5, warmup=1),
        GradientBalance(interval=2, momentum=0.5, warmup=1),
    )
    found = []
    for step, main in enumerate((3.0, 5.0, 5.0, 7.0)):
        if step == 1:
            two.load_state_dict(one.state_dict())
        f = feature()
        found.append(
            [float(b(*losses(f, main, 1.0), [f])) for b in ([one, two] if step else [one])]
        )
    assert all(a == b for a, b in found[1:])


@pytest.mark.parametrize('bad', [0.0, float('inf'), float('nan')])
def test_a_batch_without_labels_or_with_an_overflow_changes_nothing(bad):
    balance = GradientBalance(interval=1)
    for main, expected in ((bad, 1), (3.0, 3), (bad, 3)):
        f = feature()
        assert float(balance(*losses(f, main, 1.0), [f])) == pytest.approx(expected)


def test_a_frozen_feature_and_no_gradient_leave_it_at_one():
    balance = GradientBalance()
    frozen, own = torch.randn(3), torch.ones((), requires_grad=True)
    assert float(balance(own * frozen.sum(), own, [frozen])) == 1
    with torch.no_grad():
        f = feature()
        assert float(balance(*losses(f), [f])) == 1
    assert int(balance.step) == 0


def test_the_losses_can_be_differentiated_afterwards_as_if_nothing_had_been_measured():
    f = feature()
    layer = torch.nn.Linear(4, 4)

    def both():
        hidden = layer(f)
        return hidden, hidden.square().sum(), hidden.exp().sum()

    hidden, main, auxiliary = both()
    factor = GradientBalance()(main, auxiliary, [hidden])
    assert layer.weight.grad is None and f.grad is None
    (main + factor * auxiliary).backward()
    measured = layer.weight.grad.clone()
    layer.zero_grad()
    _, main, auxiliary = both()
    (main + factor * auxiliary).backward()
    assert torch.equal(layer.weight.grad, measured)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_small_gradients_in_half_precision_do_not_vanish(dtype):
    f = torch.ones(8, dtype=dtype, requires_grad=True)
    main = (f * 1e-3).sum()
    auxiliary = (
        f.float() * 2e-7
    ).sum()  # its gradient in half precision: between 0 and 6e-8 apart
    factor = GradientBalance()(main, auxiliary, [f])
    assert float(factor) == pytest.approx(5000, rel=0.02)


def test_it_reads_no_value_of_the_device_in_a_step():
    balance = GradientBalance(interval=1)
    balance._step = 0  # read once, after building or loading
    balance.to('meta')
    f = torch.randn(2, 4, device='meta', requires_grad=True)
    assert balance(*losses(f), [f]).shape == ()


def test_its_averages_are_no_parameters():
    balance = GradientBalance()
    assert not list(balance.parameters()) and set(balance.state_dict()) == {'norms', 'step'}
    with pytest.raises(ValueError):
        SGD(balance.parameters(), 0.1)


@pytest.mark.parametrize(
    'setting',
    [
        dict(interval=0),
        dict(interval=2.0),
        dict(momentum=0),
        dict(warmup=0),
        dict(limit=0.5),
        dict(limit=float('inf')),
    ],
)
def test_settings_out_of_range_name_the_key(setting):
    (name,) = setting
    with pytest.raises(ValueError, match=f'head.balance.{name}={setting[name]}'):
        GradientBalance(**setting, key='head.balance')
