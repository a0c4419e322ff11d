"""UnbiasedIntegralHead: the bump's place instead of the soft-argmax, from the first step on."""

import pytest
import torch
from mmengine.structures import InstanceData
from mmpose.models.heads import IntegralRegressionHead
from mmpose.registry import MODELS
from mmpose.structures import PoseDataSample

from mmpose_kd.hhd.integral_head import UnbiasedIntegralHead, remove_bias

from ..helpers.hhd import gaussian as bumps

SIZE = (48, 64)  # W, H
CODEC = dict(type='IntegralRegressionLabel', input_size=(192, 256), heatmap_size=SIZE, sigma=2.0)


def head(cls=UnbiasedIntegralHead, size=SIZE, deconvs=0, **settings):
    """Without deconvolutions and a final layer, features are the maps."""
    defaults = dict(final_layer=None) if not deconvs else {}
    return cls(
        in_channels=8 if deconvs else 3,
        in_featuremap_size=tuple(n >> deconvs for n in size),
        num_joints=3,
        deconv_out_channels=(4,) * deconvs,
        deconv_kernel_sizes=(4,) * deconvs,
        **{**defaults, **settings},
    )


def gaussian(x, y, size=SIZE, dtype=torch.float32):
    return bumps(x, y, size, dtype=dtype)


def pixels(coords, size=SIZE):
    return coords.double() * torch.tensor(size)


def samples(coords):
    found = []
    for labels in coords:
        labels = InstanceData(
            keypoint_labels=labels[None], keypoint_weights=torch.ones(1, len(labels))
        )
        instances = InstanceData(bboxes=[[0, 0, 1, 1]], bbox_scores=[1.0])
        info = dict(
            input_size=CODEC['input_size'],
            input_center=(96, 128),
            input_scale=(192, 256),
            flip_indices=[1, 0, 2],
        )
        found.append(
            PoseDataSample(metainfo=info, gt_instance_labels=labels, gt_instances=instances)
        )
    return found


@pytest.mark.parametrize('beta', [1.0, 3.0, 10.0])
@pytest.mark.parametrize('level', [0.0, -2.0, 0.1])
@pytest.mark.parametrize('size', [(64, 64), (48, 64)])
@pytest.mark.parametrize('training', [True, False])
def test_the_coordinate_is_the_bump_s_place(beta, level, size, training):
    generator = torch.Generator().manual_seed(0)
    place = 6 + (torch.tensor(size) - 13) * torch.rand(20, 3, 2, generator=generator)
    maps = gaussian(place[..., 0], place[..., 1], size) + level
    coords, _ = head(size=size, beta=beta).train(training)((maps,))
    assert (pixels(coords, size) - place).abs().max() < 0.05
    stock, _ = head(IntegralRegressionHead, size=size, beta=beta)((maps,))
    assert (pixels(stock, size) - place).abs().max() > 0.8


def test_value_by_hand_where_the_stock_head_stays_at_the_middle():
    # 64 x 64, Cbar = 1.0081: 31.65 = 50 + (31.5 - 50) / 1.0081
    maps = gaussian([[50.0] * 3], [[31.5] * 3], (64, 64))
    for settings, expected, error in (
        (dict(cls=IntegralRegressionHead), 31.65, 5e-3),
        (dict(cls=IntegralRegressionHead, debias=True), 31.65, 5e-3),
        (dict(), 50.0, 1e-3),
    ):
        coords, _ = head(size=(64, 64), **settings)((maps,))
        assert pixels(coords, (64, 64))[0, 0].tolist() == pytest.approx(
            [expected, 31.5], abs=error
        )


def test_the_formula_by_hand():
    low, high = torch.zeros(2), torch.tensor([0.75, 0.75])
    found = remove_bias(torch.tensor([[0.5, 0.375]]), torch.tensor([1.0]), low, high)
    assert found.tolist() == [[0.625, 0.375]]  # 0.5 + (0.5 - 0.375) / 1
    found = remove_bias(torch.tensor([[0.5, 0.3125]]), torch.tensor([0.25]), low, high)
    assert found.tolist() == [[0.75, 0.1875]]  # 1 and 0.0625, halfway back to the border at 0.75


@pytest.mark.parametrize('excess', [0.0, 1e-3, -0.5, 1e13])
def test_the_expectation_stays_where_there_is_no_bump_or_no_background(excess):
    low, high = torch.zeros(2), torch.ones(2)
    expectation = torch.tensor([[0.5, 0.2]])
    found = remove_bias(expectation, torch.tensor([excess]), low, high)
    assert torch.allclose(found, expectation, atol=1e-7)


def test_the_coordinate_does_not_jump_as_a_bump_grows():
    heights = torch.logspace(-3, 2, 600)
    maps = gaussian(30.0, 20.0) * heights[:, None, None, None].expand(-1, 3, 1, 1)
    coords, _ = head()((maps,))
    assert pixels(coords).diff(dim=0).norm(dim=-1).max() < 0.5
    assert (pixels(coords)[-1] - torch.tensor([30, 20])).abs().max() < 0.01


def test_heatmaps_are_those_of_the_stock_head():
    maps = torch.randn(2, 3, 64, 48)
    found, expected = (
        head(cls, beta=2.0)((maps,))[1] for cls in (UnbiasedIntegralHead, IntegralRegressionHead)
    )
    assert torch.equal(found, expected)


# ----------------------------------------------------------------------------- gradient


@pytest.mark.parametrize('beta', [1.0, 3.0, 10.0])
def test_the_gradient_moves_the_coordinate_with_the_bump(beta):
    """A pixel's move of the bump is a pixel's move of the coordinate, but for the cut."""
    x = torch.full((1, 3), 30.0, dtype=torch.float64).requires_grad_()
    maps = gaussian_of(x, 20.0)
    module = head(beta=beta).double()
    excess = (beta * gaussian_of(x.detach(), 20.0)).exp().mean((2, 3)) - 1
    coords, _ = module((maps,))
    (found,) = torch.autograd.grad(pixels(coords)[..., 0].sum(), x)
    expected = (10 / (1 + 1 / excess)).clamp(max=1)
    assert torch.allclose(found, expected, rtol=0.03)


def gaussian_of(x, y):
    """As gaussian at sigma 2, differentiable in x."""
    columns = torch.arange(SIZE[0], dtype=x.dtype)
    rows = torch.arange(SIZE[1], dtype=x.dtype)[:, None]
    return torch.exp(-((columns - x[..., None, None]) ** 2 + (rows - y) ** 2) / 8)


@pytest.mark.parametrize('kind', ['bump', 'noise', 'flat'])
@pytest.mark.parametrize('beta', [1.0, 10.0])
def test_a_shift_of_the_whole_map_gets_no_gradient(kind, beta):
    generator = torch.Generator().manual_seed(0)
    maps = {
        'bump': gaussian([[30.0, 20, 12]], [[20.0, 50, 7]], dtype=torch.float64),
        'noise': torch.randn(1, 3, 64, 48, generator=generator, dtype=torch.float64),
        'flat': torch.zeros(1, 3, 64, 48, dtype=torch.float64),
    }[kind].requires_grad_()
    coords, _ = head(beta=beta).double()((maps,))
    coords.sum().backward()
    assert maps.grad.abs().max() > 0
    assert maps.grad.sum((2, 3)).abs().max() < 1e-9


@pytest.mark.parametrize('scale', [0.0, 1e-6, 1e-4, 1e-3, 1e-2, 0.1, 1.0])
@pytest.mark.parametrize('bump', [0.0, 0.3])
def test_the_gradient_is_bounded_from_an_untrained_map_on(scale, bump):
    generator = torch.Generator().manual_seed(0)
    maps = scale * torch.randn(20, 3, 64, 48, generator=generator) + bump * gaussian(30.0, 20.0)
    lengths = []
    for cls in (UnbiasedIntegralHead, IntegralRegressionHead):
        maps = maps.detach().requires_grad_()
        head(cls)((maps,))[0].sum().backward()
        lengths.append(maps.grad.flatten(2).norm(dim=-1))
    assert (lengths[0] <= 25 * lengths[1]).all()
    assert (lengths[0] > 0).all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize('kind', ['zero', 'constant', 'peak', 'hole', 'huge', 'very negative'])
@pytest.mark.parametrize('beta', [1.0, 10.0])
def test_finite_and_in_the_map_for_extreme_maps_in_every_precision(dtype, kind, beta):
    maps = torch.zeros(2, 3, 64, 48, dtype=dtype)
    if kind == 'constant':
        maps += 3
    elif kind in ('peak', 'hole'):
        maps[..., 10, 5] = 100 if kind == 'peak' else -100
    elif kind == 'huge':
        maps += 1e4
        maps[..., 10, 5] = 6e4
    elif kind == 'very negative':
        maps -= 6e4
    maps.requires_grad_()
    coords, heatmaps = head(beta=beta)((maps,))
    coords.square().sum().backward()
    assert coords.dtype == heatmaps.dtype == torch.float32
    assert (coords >= 0).all() and (coords <= 1).all()
    assert torch.isfinite(maps.grad).all()
    if kind in ('peak', 'huge'):
        assert torch.allclose(pixels(coords), torch.tensor([5.0, 10]).double(), atol=1e-4)


@pytest.mark.parametrize('scale', [1e-4, 1e-2, 0.1, 1.0, 5.0])
def test_noise_gives_coordinates_in_the_map(scale):
    generator = torch.Generator().manual_seed(0)
    coords, _ = head()((scale * torch.randn(50, 3, 64, 48, generator=generator),))
    assert (coords >= -1e-6).all()
    assert (pixels(coords) <= torch.tensor(SIZE) - 1 + 1e-4).all()


# --------------------------------------------------------------------- as the stock head


@pytest.mark.parametrize('deconvs', [0, 2])
def test_checkpoints_load_both_ways_strictly(deconvs):
    settings = dict(final_layer=dict(kernel_size=1), deconvs=deconvs)
    ours, stock = (head(cls, **settings) for cls in (UnbiasedIntegralHead, IntegralRegressionHead))
    ours.load_state_dict(stock.state_dict(), strict=True)
    stock.load_state_dict(ours.state_dict(), strict=True)
    feats = (torch.randn(2, 8 if deconvs else 3, 64 >> deconvs, 48 >> deconvs),)
    ours.eval(), stock.eval()
    (coords, heatmaps), (_, expected) = ours(feats), stock(feats)
    assert coords.shape == (2, 3, 2)
    assert torch.allclose(heatmaps, expected, atol=1e-7)


@pytest.mark.parametrize('deconvs', [0, 2])
def test_one_training_step_lowers_the_loss(deconvs):
    torch.manual_seed(0)
    module = head(deconvs=deconvs, final_layer=dict(kernel_size=1))
    feats = (torch.randn(4, 8 if deconvs else 3, 64 >> deconvs, 48 >> deconvs),)
    batch = samples(torch.rand(4, 3, 2) * 0.9)
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, 0.01)
    before = module.loss(feats, batch)
    assert {'loss_kpt', 'acc_pose'} == before.keys()
    before['loss_kpt'].backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in parameters)
    optimizer.step()
    assert module.loss(feats, batch)['loss_kpt'] < before['loss_kpt']


@pytest.mark.parametrize('flip', [False, True])
def test_predictions_are_in_input_pixels_with_and_without_flip_test(flip):
    module = MODELS.build(
        dict(
            type='UnbiasedIntegralHead',
            in_channels=3,
            in_featuremap_size=SIZE,
            num_joints=3,
            deconv_out_channels=None,
            final_layer=None,
            decoder=CODEC,
        )
    ).eval()
    x, y = torch.tensor([[30.0, 20, 12]]), torch.tensor([[20.0, 50, 9]])
    feats = (gaussian(x, y),)
    if flip:  # mirrored, where MMPose takes 1 - x / W - 1 / 192 for x; joints 0 and 1 swap
        feats = [feats, (gaussian(47.75 - x, y)[:, [1, 0, 2]],)]
    with torch.no_grad():
        (found,) = module.predict(
            feats, samples(torch.zeros(1, 3, 2)), dict(flip_test=flip, shift_coords=True)
        )
    keypoints = torch.from_numpy(found.keypoints[0]).double()
    expected = torch.stack([x[0] / 48 * 192, y[0] / 64 * 256], -1).double()
    assert (keypoints - expected).abs().max() < 0.1


def test_a_forward_and_backward_pass_reads_no_value():
    maps = torch.zeros(2, 3, 64, 48, device='meta', requires_grad=True)
    coords, _ = head().to('meta')((maps,))
    coords.sum().backward()
    assert maps.grad.shape == maps.shape


def test_it_says_that_its_coordinates_are_unbiased():
    assert head().decode_is_unbiased is True


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(debias=True), 'debias=True'),
        (dict(beta=0), 'beta=0'),
        *((dict(debias=v), f'debias={v!r}') for v in ('no', None, 0, 1)),
        *((dict(beta=v), 'beta=') for v in ('10', None, True, float('nan'), float('inf'), [1])),
        *((dict(beta=v), f'beta={v}: ') for v in (-1, -0.5)),
    ],
)
def test_bad_settings_name_the_key(settings, message):
    with pytest.raises(ValueError, match=f'UnbiasedIntegralHead.{message}'):
        head(**settings)


@pytest.mark.parametrize(
    ('name', 'wrong'),
    [
        ('in_channels', [0, None, '8', 8.0, True, (8,)]),
        ('in_featuremap_size', [8, None, (8,), (8, 0), (8.0, 8), ('8', 8), 'ab']),
        ('num_joints', [0, None, '3', 3.0, True]),
        ('deconv_out_channels', [256, '256', True]),
        ('deconv_kernel_sizes', [4, 'abc']),
        ('conv_out_channels', [8]),
        ('conv_kernel_sizes', [3]),
        ('final_layer', [3, 'Conv2d', True]),
        ('loss', [None, 'SmoothL1Loss']),
        ('decoder', ['IntegralRegressionLabel', True]),
    ],
)
def test_bad_settings_of_the_stock_head_name_the_key(name, wrong):
    good = dict(in_channels=8, in_featuremap_size=(6, 8), num_joints=3)
    for value in wrong:
        with pytest.raises(ValueError) as error:
            UnbiasedIntegralHead(**{**good, name: value})
        assert str(error.value).startswith(f'UnbiasedIntegralHead.{name}={value!r}: give ')


def test_the_map_s_size_may_be_a_list():
    module = head(size=[48, 64])
    assert module.heatmap_size == (48, 64)
