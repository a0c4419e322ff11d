"""heatmap_kl: hand-computed values, and the promises of a distillation loss."""

import math

import pytest
import torch

from mmpose_kd.losses.heatmap_kl import HeatmapKLLoss, heatmap_kl

B, K, H, W = 2, 3, 4, 5


def maps(seed, dtype=torch.float64, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(B, K, H, W, generator=generator, dtype=torch.float64).mul(scale).to(dtype)


def reference(s, t, w, temperature, normalize, divisor, weigh_maps):
    """The formula in plain Python floats, map by map and position by position."""
    sum_ = 0.0
    for b in range(B):
        for k in range(K):
            sm = [float(v) for v in s[b, k].flatten()]
            tm = [float(v) for v in t[b, k].flatten()]
            weight = float(w[b, k])
            if normalize == 'peak':
                peak = max(max(tm), 0.1)
                sm, tm = [v / peak for v in sm], [v / peak for v in tm]
            elif normalize == 'standard':
                scaled = []
                for m in (sm, tm):
                    mean = sum(m) / len(m)
                    std = max(math.sqrt(sum((v - mean) ** 2 for v in m) / len(m)), 0.01)
                    scaled.append([(v - mean) / std for v in m])
                sm, tm = scaled
            if weigh_maps:
                sm, tm = [v * weight for v in sm], [v * weight for v in tm]
                weight = 1.0
            es = [math.exp(v / temperature) for v in sm]
            et = [math.exp(v / temperature) for v in tm]
            for a, c in zip(es, et):
                q, p = c / sum(et), a / sum(es)
                sum_ += weight * q * (math.log(q) - math.log(p))
    count = dict(elements=B * K * H * W, keypoints=B * K, positions=B * H * W)[divisor]
    return temperature**2 * sum_ / count


@pytest.mark.parametrize('temperature', [1.0, 0.1, 2.5])
@pytest.mark.parametrize('normalize', ['none', 'peak', 'standard'])
@pytest.mark.parametrize('divisor', ['elements', 'keypoints', 'positions'])
@pytest.mark.parametrize('weigh_maps', [False, True])
def test_equals_the_formula_written_out(temperature, normalize, divisor, weigh_maps):
    weight = torch.tensor([[1.0, 0.0, 1.5], [0.5, 1.0, 1.0]], dtype=torch.float64)
    settings = dict(
        temperature=temperature, normalize=normalize, divisor=divisor, weigh_maps=weigh_maps
    )
    found = heatmap_kl(maps(0), maps(1), weight, **settings)
    expected = reference(maps(0), maps(1), weight, *settings.values())
    assert float(found) == pytest.approx(expected, abs=1e-10)


def test_value_by_hand():
    # softmax (1/4, 3/4) against (1/2, 1/2): 1/4 log(1/2) + 3/4 log(3/2)
    teacher = torch.tensor([0.0, math.log(3.0)], dtype=torch.float64).view(1, 1, 1, 2)
    found = heatmap_kl(torch.zeros_like(teacher), teacher, divisor='keypoints')
    assert float(found) == pytest.approx(0.25 * math.log(0.5) + 0.75 * math.log(1.5), abs=1e-12)


@pytest.mark.parametrize('normalize', ['none', 'peak', 'standard'])
def test_zero_at_equality(normalize):
    same = maps(0)
    assert float(heatmap_kl(same, same.clone(), normalize=normalize)) == pytest.approx(
        0, abs=1e-15
    )


@pytest.mark.parametrize('weigh_maps', [False, True])
def test_weights_of_zero_and_one_mean_the_same_in_both_weighings(weigh_maps):
    weight = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], dtype=torch.float64)
    found = heatmap_kl(maps(0), maps(1), weight, weigh_maps=weigh_maps)
    assert float(found) == pytest.approx(float(heatmap_kl(maps(0), maps(1), weight)), abs=1e-15)


def test_finite_and_zero_when_everything_is_masked():
    student = maps(0).requires_grad_()
    loss = heatmap_kl(student, maps(1), torch.zeros(B, K, dtype=torch.float64))
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(student.grad, torch.zeros_like(student))


def test_an_unlabelled_keypoint_gets_no_gradient():
    student = maps(0).requires_grad_()
    weight = torch.ones(B, K, dtype=torch.float64)
    weight[0, 1] = 0
    heatmap_kl(student, maps(1), weight, temperature=0.1).backward()
    assert student.grad[0, 1].abs().max() == 0
    assert student.grad[0, 0].abs().max() > 0


def test_gradient_reaches_the_student_and_a_detached_teacher_gets_none():
    student, teacher = maps(0).requires_grad_(), maps(1).requires_grad_()
    HeatmapKLLoss()(student, teacher.detach()).backward()
    assert student.grad.abs().max() > 0
    assert teacher.grad is None


def test_gradient_is_right():
    student = maps(0).requires_grad_()
    teacher = maps(1).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda s, t: heatmap_kl(s, t, temperature=0.3), (student, teacher)
    )


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize('kind', ['zero', 'constant', 'peak', 'huge'])
@pytest.mark.parametrize('normalize', ['none', 'peak', 'standard'])
def test_finite_for_extreme_maps_in_every_precision(dtype, kind, normalize):
    flat = torch.zeros(B, K, H, W, dtype=dtype)
    extreme = flat.clone()
    if kind == 'constant':
        extreme += 3
    elif kind == 'peak':
        extreme[..., 1, 2] = 100
    elif kind == 'huge':
        extreme[..., 1, 2] = 3e4
    for student, teacher in ((extreme, flat), (flat, extreme), (extreme, extreme)):
        student = student.clone().requires_grad_()
        loss = heatmap_kl(student, teacher, temperature=0.1, normalize=normalize)
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(temperature=0), 'temperature=0'),
        (dict(normalize='max'), "normalize='max'.*peak"),
        (dict(divisor='all'), "divisor='all'.*positions"),
        (dict(loss_weight=-1), 'loss_weight=-1'),
    ],
)
def test_bad_settings_name_the_key(settings, message):
    with pytest.raises(ValueError, match=f'HeatmapKLLoss.{message}'):
        HeatmapKLLoss(**settings)
