"""FAU: attention over branches, in the paper's, the release's and our form."""

import pytest
import torch
from mmengine.analysis import get_model_complexity_info

from mmpose_kd.okdhp.fau import FAU, FORMS, weighted_ensemble

from ..helpers.models import randomize

B, T, K, C, H, W = 2, 3, 4, 6, 10, 8


def correlate(x, weight, bias, pad):
    """2-D correlation of one image, written out: x (C, H, W), weight (O, C, k, k)."""
    channels, height, width = x.shape
    k = weight.shape[-1]
    padded = torch.zeros(channels, height + 2 * pad, width + 2 * pad, dtype=x.dtype)
    padded[:, pad : pad + height, pad : pad + width] = x
    out = torch.zeros(weight.shape[0], height, width, dtype=x.dtype)
    for i in range(k):
        for j in range(k):
            window = padded[:, i : i + height, j : j + width]
            out += (weight[:, :, i, j] @ window.reshape(channels, -1)).view(-1, height, width)
    return out + bias[:, None, None]


def batch_norm(maps, norm):
    """Training-mode batch normalisation, written out: maps (B, C, H, W)."""
    mean = maps.mean((0, 2, 3), keepdim=True)
    var = ((maps - mean) ** 2).mean((0, 2, 3), keepdim=True)
    shape = (1, -1, 1, 1)
    return (maps - mean) / (var + norm.eps) ** 0.5 * norm.weight.view(shape) + norm.bias.view(
        shape
    )


def softmax_over_branches(logits):
    """(B, T K) -> (B, T, K), written out."""
    e = torch.exp(logits.reshape(len(logits), T, K))
    return e / e.sum(1, keepdim=True)


def reference(fau, x):
    """Attention from the formulas, with the weights of ``fau`` and no layer of torch."""
    parts = []
    for kernel in fau.kernels:
        conv = kernel[0]
        maps = torch.stack(
            [correlate(i, conv.weight, conv.bias, conv.kernel_size[0] // 2) for i in x]
        )
        if fau.form == 'released':
            maps = batch_norm(maps, kernel[1])
            parts.append(maps * (maps > 0))
        else:
            one = kernel[1]
            maps = torch.stack([correlate(i, one.weight, one.bias, 0) for i in maps])
            parts.append(maps.sum((2, 3)) / (H * W))
    if fau.form == 'released':
        s = sum(parts).sum((2, 3)) / (H * W)
        v = s @ fau.squeeze.weight.T + fau.squeeze.bias
    else:
        pooled = x.sum((2, 3)) / (H * W)
        parts.append(pooled @ fau.pooled.weight[:, :, 0, 0].T + fau.pooled.bias)
        v = torch.cat(parts, 1)
    return softmax_over_branches(v @ fau.attend.weight.T + fau.attend.bias)


def make(form, **settings):
    fau = FAU(in_channels=C, num_keypoints=K, num_branches=T, form=form, **settings)
    return randomize(fau.double())


@pytest.mark.parametrize('form', ['paper', 'released'])
@pytest.mark.parametrize('kernel_sizes', [(3, 5, 7), (3,), (1, 3, 5, 7)])
def test_attention_equals_the_formulas_written_out(form, kernel_sizes):
    fau = make(form, kernel_sizes=kernel_sizes)
    x = torch.randn(B, C, H, W, dtype=torch.float64)
    torch.testing.assert_close(fau.attention(x), reference(fau, x), rtol=0, atol=1e-10)


@pytest.mark.parametrize('form', FORMS)
def test_attention_is_a_probability_over_branches_for_each_keypoint_and_image(form):
    attention = make(form).attention(torch.randn(B, C, H, W, dtype=torch.float64))
    assert attention.shape == (B, T, K)
    assert (attention > 0).all()
    torch.testing.assert_close(attention.sum(1), torch.ones(B, K, dtype=torch.float64))
    assert attention.std((0, 2)).max() > 1e-3  # it does depend on image and keypoint


@pytest.mark.parametrize('form', FORMS)
def test_ensemble_is_the_attention_weighted_sum(form):
    fau = make(form)
    x = torch.randn(B, C, H, W, dtype=torch.float64)
    heatmaps = torch.randn(B, T, K, 5, 6, dtype=torch.float64)
    ensemble, attention = fau(x, heatmaps)
    by_hand = torch.zeros(B, K, 5, 6, dtype=torch.float64)
    for b in range(B):
        for t in range(T):
            for k in range(K):
                by_hand[b, k] += attention[b, t, k] * heatmaps[b, t, k]
    torch.testing.assert_close(ensemble, by_hand, rtol=0, atol=1e-10)


@pytest.mark.parametrize('form', FORMS)
def test_equal_branches_make_an_equal_ensemble(form):
    one = torch.randn(B, 1, K, 5, 6, dtype=torch.float64)
    ensemble, _ = make(form)(
        torch.randn(B, C, H, W, dtype=torch.float64), one.expand(-1, T, -1, -1, -1)
    )
    torch.testing.assert_close(ensemble, one[:, 0])


@pytest.mark.parametrize('form', FORMS)
def test_gradients_reach_every_weight(form):
    fau = make(form)
    x = torch.randn(B, C, H, W, dtype=torch.float64)
    ensemble, _ = fau(x, torch.randn(B, T, K, 5, 6, dtype=torch.float64))
    ensemble.square().sum().backward()
    # a bias before a batch normalisation has no effect, so its gradient is zero by nature
    before_norm = {f'kernels.{i}.0.bias' for i in range(3)} if form != 'paper' else set()
    for name, p in fau.named_parameters():
        assert p.grad is not None
        assert name in before_norm or p.grad.abs().max() > 0, name


def test_light_form_costs_a_thousandth_of_the_released_one():
    def macs(form):
        fau = FAU(in_channels=256, num_keypoints=16, num_branches=3, form=form)
        fau.forward = fau.attention
        return get_model_complexity_info(fau, (256, 64, 64), show_table=False, show_arch=False)[
            'flops'
        ]

    released, light = macs('released'), macs('light')
    assert released == pytest.approx(22e9, rel=0.05)  # the number that the specification quotes
    assert light < released / 1000


def test_small_features_work_in_the_light_form():
    attention = FAU(C, K, T).eval().attention(torch.randn(1, C, 2, 2))
    assert torch.isfinite(attention).all()


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(form='heavy'), r"fau.form='heavy'.*light"),
        (dict(kernel_sizes=(2,)), r'fau.kernel_sizes=\(2,\).*odd'),
        (dict(kernel_sizes=()), r'fau.kernel_sizes=\(\)'),
        (dict(mid_channels=0), r'fau.mid_channels=0'),
        (dict(stride=0), r'fau.stride=0'),
        *((dict(form=v), f'fau.form={v}') for v in (None, 1, True)),
        *((dict(kernel_sizes=v), 'fau.kernel_sizes=') for v in (3, None, 'abc', (3.0,), (True,))),
        *((dict(kernel_sizes=v), 'fau.kernel_sizes=') for v in ((float('nan'),), ('3',), (-3,))),
        *((dict(mid_channels=v), 'fau.mid_channels=') for v in (None, '64', 64.0, True, [64])),
        *((dict(stride=v), 'fau.stride=') for v in (None, '4', 2.0, True, float('inf'))),
    ],
)
def test_bad_settings_name_the_key(settings, message):
    with pytest.raises(ValueError, match=message):
        FAU(C, K, T, **settings)


@pytest.mark.parametrize('name', ['in_channels', 'num_keypoints', 'num_branches'])
@pytest.mark.parametrize('value', [0, -1, None, '3', 2.0, True])
def test_bad_sizes_name_the_key(name, value):
    sizes = {**dict(in_channels=C, num_keypoints=K, num_branches=T), name: value}
    with pytest.raises(ValueError, match=f'fau.{name}={value!r}: '):
        FAU(**sizes)


def test_weighted_ensemble_by_hand():
    heatmaps = torch.tensor([[[[[1.0, 2.0]]], [[[3.0, 6.0]]]]])  # B 1, T 2, K 1, H 1, W 2
    attention = torch.tensor([[[0.25], [0.75]]])
    assert torch.equal(weighted_ensemble(heatmaps, attention), torch.tensor([[[[2.5, 5.0]]]]))
