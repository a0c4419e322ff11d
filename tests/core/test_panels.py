"""What a model can show of a batch, and that showing it leaves no trace."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmpose_kd.core.panels import (
    labels_panel,
    panel_of,
    panels_of,
    picture,
    undisturbed,
)

from ..helpers.distillers import distiller
from ..helpers.models import SIZE, K, build, images, okdhp_config, plain_config, randomize, samples
from ..helpers.ocd import HEADS, ocd_of


def shown_by(model, batch=2):
    return {panel.title: panel for panel in panels_of(model, images(batch), samples(batch))}


def test_okdhp_shows_branches_ensemble_and_weights():
    model = randomize(build(okdhp_config(num_branches=3), init=False)).train()
    found = shown_by(model)
    *titles, weights = found
    assert titles == ['student', 'branch 1', 'branch 2', 'ensemble']
    table = found[weights].table
    assert table.shape == (2, 3, K) and torch.allclose(table.sum(1), torch.ones(2, K))
    parts = torch.stack([found[name].maps for name in titles[:3]], 1)
    mixed = (table[..., None, None] * parts).sum(1)
    assert torch.allclose(found['ensemble'].maps, mixed, atol=1e-5)


def test_ocd_shows_the_heatmap_head():
    found = shown_by(randomize(build(ocd_of('simcc'), init=False)))
    assert list(found) == ['student', 'heatmap head']
    assert found['heatmap head'].maps.shape == (2, K, 16, 8)


def test_a_distiller_shows_its_teachers_and_the_student_as_a_stock_model_shows_itself():
    model = distiller()
    found = shown_by(model)
    assert list(found) == ['student', 'teacher']
    with torch.no_grad():
        wanted = model.teachers[0].model(images(), None, mode='tensor')
    assert torch.equal(found['teacher'].maps, wanted)
    assert torch.equal(found['student'].maps, shown_by(model.student)['student'].maps)


def test_keypoints_that_a_teacher_does_not_have_are_not_drawn():
    model = distiller(teachers=[dict(config=plain_config(), checkpoint=None,
                                     keypoints=[2, -1, 0, 1, 4])])  # fmt: skip
    teacher = shown_by(model)['teacher']
    assert teacher.shown.tolist() == [[True, False, True, True, True]] * 2
    assert not teacher.maps[:, 1].any() and teacher.maps[:, 0].any()


@pytest.mark.parametrize('kind', HEADS)
def test_every_kind_of_head_is_shown_where_its_output_lies(kind):
    model = build(ocd_of(kind), init=False).eval()
    head = model.head.deploy['head']
    with torch.no_grad():
        returned = model(images(), None, mode='tensor')
    found = panel_of('a', head, returned)
    assert found.places.shape == (2, K, 2) and found.places.isfinite().all()
    if kind in ('simcc', 'rtmcc'):
        top = [axis.argmax(-1) / axis.shape[-1] for axis in returned]
        assert torch.allclose(found.places, torch.stack(top, -1))


def test_maps_of_bins_have_their_peak_where_the_bins_have_theirs():
    head = build(ocd_of('simcc'), init=False).head.deploy['head']
    x, y = torch.zeros(1, 1, 64), torch.zeros(1, 1, 128)
    x[0, 0, 48], y[0, 0, 33] = 1.0, 1.0
    found = panel_of('a', head, (x, y))
    assert found.places.tolist() == [[[0.75, 33 / 128]]]
    height, width = found.maps.shape[2:]
    assert (height, width) == (64, 64)
    assert divmod(int(found.maps.argmax()), width) == (16, 48)


def test_a_maps_place_is_the_middle_of_its_cell():
    maps = torch.zeros(1, 1, 4, 2)
    maps[0, 0, 3, 1] = 1.0
    head = build(plain_config(), init=False).head
    assert panel_of('a', head, maps).places.tolist() == [[[0.75, 0.875]]]


def test_labels_lie_in_the_crop_as_the_picture_does():
    (sample,) = samples(1)
    centre, scale = sample.input_center, sample.input_scale
    corners = np.stack([centre - scale / 2, centre, centre + scale / 2])
    sample.gt_instances = InstanceData(
        keypoints=corners[None], keypoints_visible=np.array([[1.0, 0.0, 1.0]])
    )
    panel = labels_panel([sample])
    assert panel.places[0].tolist() == [[0, 0], [0.5, 0.5], [1, 1]]
    assert panel.shown[0].tolist() == [True, False, True]
    assert labels_panel(samples(1)) is None


def state_of(model):
    return (
        {name: x.clone() for name, x in model.state_dict().items()},
        [module.training for module in model.modules()],
        [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        torch.get_rng_state(),
        np.random.get_state()[1].copy(),
    )


@pytest.mark.parametrize('config', [okdhp_config(), ocd_of('rle')], ids=['okdhp', 'ocd'])
def test_showing_leaves_no_trace(config):
    model = randomize(build(config, init=False)).train()
    model.backbone.eval()  # as a frozen stage is
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = state_of(model)
    panels_of(model, images(), samples())
    for one, other in zip(before, state_of(model)):
        if isinstance(one, dict):
            assert one.keys() == other.keys()
            assert all(torch.equal(one[name], other[name]) for name in one)
        elif isinstance(one, list):
            assert all(
                torch.equal(a, b) if torch.is_tensor(a) else a == b for a, b in zip(one, other)
            )
        else:
            assert (np.asarray(one) == np.asarray(other)).all()


def test_an_error_on_the_way_leaves_no_trace_either():
    model = build(plain_config(), init=False).train()
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError), undisturbed(model):
        torch.rand(1)
        raise RuntimeError
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), before) and torch.is_grad_enabled()


def test_the_picture_is_what_the_pipeline_read_red_first():
    preprocessor = build(plain_config(), init=False).data_preprocessor
    read = torch.randint(0, 256, (3, SIZE[1], SIZE[0]), dtype=torch.uint8)  # blue first
    inputs = preprocessor({'inputs': [read], 'data_samples': samples(1)})['inputs']
    (found,) = picture(inputs, preprocessor)
    assert np.array_equal(found, read.flip(0).permute(1, 2, 0).numpy())
