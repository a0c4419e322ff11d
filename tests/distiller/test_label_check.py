"""A teacher that knows less than the mean places of the labels stops the training."""

import copy

import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from mmpose.structures import MultilevelPixelData, PoseDataSample

from mmpose_kd.core.head_output import label_weights
from mmpose_kd.distiller import label_check
from mmpose_kd.distiller.label_check import LabelCheck, UselessTeacherError, label_positions

from ..helpers.distillers import batch_of, distiller, saved_teacher
from ..helpers.models import RESNET, images, plain_config, samples

KEYPOINTS = 10


def people(count, seed=0):
    """Labels (B, K, 2): each keypoint around a place of its own, some without a label."""
    draw = torch.Generator().manual_seed(seed)
    means = torch.rand(KEYPOINTS, 2, generator=torch.Generator().manual_seed(1))
    labels = (means + 0.1 * torch.randn(count, KEYPOINTS, 2, generator=draw)).clamp(0, 1)
    labelled = torch.rand(count, KEYPOINTS, generator=draw) > 0.2
    found = [
        PoseDataSample(
            gt_instance_labels=InstanceData(
                keypoint_labels=one[None], keypoint_weights=seen[None].float()
            )
        )
        for one, seen in zip(labels, labelled)
    ]
    return found, labels


def looked_at(teach, batches=30):
    """A check that has seen batches of 16 people, with what ``teach`` makes of their labels."""
    check = LabelCheck('model.teachers[0]')
    for i in range(batches):
        batch, labels = people(16, seed=i)
        check.add('coordinates', [teach(labels)], batch, None)
    return check


def test_a_teacher_that_errs_a_little_teaches():
    noise = torch.Generator().manual_seed(3)
    check = looked_at(lambda x: x + 0.03 * torch.randn(x.shape, generator=noise))
    assert check.done


def test_a_perfect_teacher_teaches_where_labels_hardly_vary():
    check = LabelCheck('model.teachers[0]')
    batch, labels = people(1)
    for _ in range(250):  # one picture, again and again
        check.add('coordinates', [labels], batch, None)
    assert check.done


def test_a_teacher_that_finds_nothing_is_refused_where_the_mean_places_do_not_either():
    check = LabelCheck('model.teachers[0]')
    place = dict(keypoint_weights=torch.ones(1, KEYPOINTS))
    corners = [torch.full((1, KEYPOINTS, 2), float(i)) for i in (0, 1)]
    batch = [
        PoseDataSample(gt_instance_labels=InstanceData(keypoint_labels=x, **place))
        for x in corners
    ]
    found = torch.cat(corners[::-1])
    with pytest.raises(UselessTeacherError, match=r'finds 0\.0 % .*mean place 0\.0 %'):
        for _ in range(100):
            check.add('coordinates', [found], batch, None)


@pytest.mark.parametrize(
    'teach',
    [
        lambda labels: torch.rand(labels.shape, generator=torch.Generator().manual_seed(0)),
        lambda labels: labels.roll(1, dims=1),
        lambda labels: labels.flip(-1),
    ],
    ids=['random places', 'keypoints in another order', 'x and y exchanged'],
)
def test_a_teacher_that_knows_less_than_the_mean_places_is_refused_with_its_key(teach):
    with pytest.raises(UselessTeacherError, match=r'model\.teachers\[0\] finds .*check_labels'):
        looked_at(teach)


def test_nothing_is_said_of_few_keypoints_or_without_labels():
    nothing = [
        PoseDataSample(gt_instance_labels=InstanceData(keypoint_weights=torch.ones(1, KEYPOINTS)))
    ]
    assert label_positions(nothing) is None
    check = looked_at(lambda labels: torch.zeros_like(labels), batches=2)
    assert not check.done
    check.add('coordinates', [torch.zeros(1, KEYPOINTS, 2)], nothing, None)


def test_labels_that_stand_alone_say_nothing_of_what_is_easy_to_guess(monkeypatch):
    """With data sets of other keypoints each, a keypoint may be labelled once in the first."""
    monkeypatch.setattr(label_check, 'KEYPOINTS', 2 * KEYPOINTS)
    check = LabelCheck('model.teachers[0]')
    labels = torch.rand(2, KEYPOINTS, 2, generator=torch.Generator().manual_seed(0))
    weights = torch.zeros(2, KEYPOINTS)
    weights[0, :5], weights[1, 5:] = 1, 1  # no keypoint twice
    batch = [
        PoseDataSample(
            gt_instance_labels=InstanceData(keypoint_labels=x[None], keypoint_weights=w[None])
        )
        for x, w in zip(labels, weights)
    ]
    check.add('coordinates', [labels + 0.2], batch, None)
    assert check.done


def test_of_several_levels_the_last_one_s_weights_count_and_places_are_not_known():
    """As GenerateTarget(multilevel=True) makes them for MSPN and RSN."""
    levels = torch.stack([torch.zeros(1, KEYPOINTS), torch.ones(1, KEYPOINTS)])
    fields = MultilevelPixelData()
    fields.set_data(dict(heatmaps=[torch.rand(KEYPOINTS, 8, 6), torch.rand(KEYPOINTS, 16, 12)]))
    batch = [
        PoseDataSample(
            gt_instance_labels=InstanceData(keypoint_weights=levels[:, None, 0]), gt_fields=fields
        )
        for _ in range(3)
    ]
    for sample in batch:
        sample.gt_instance_labels = InstanceData()
        sample.gt_instance_labels.set_field(levels, 'keypoint_weights')
    assert torch.equal(label_weights(batch), torch.ones(3, KEYPOINTS))
    assert label_positions(batch) is None


def test_a_distiller_stops_before_such_a_teacher_has_taught_much(tmp_path, monkeypatch):
    monkeypatch.setattr(label_check, 'KEYPOINTS', 60)
    student = plain_config(RESNET)
    student['head']['out_channels'] = 17
    entry = dict(teacher_weights=None)
    teacher = saved_teacher(tmp_path)
    model = distiller(entry, student=student, teachers=[teacher])
    model.teachers[0].ready = True
    batch = samples(k=17)
    with pytest.raises(UselessTeacherError, match=r'teachers\[0\] finds'):
        for _ in range(20):
            model.loss(images(), batch)
    trusted = dict(copy.deepcopy(teacher), check_labels=False)
    model = distiller(entry, student=student, teachers=[trusted])
    model.teachers[0].ready = True
    for _ in range(3):
        assert model.loss(images(), batch)['loss_distill0'] > 0


def test_with_teacher_weights_labels_only_what_a_teacher_finds_is_taught():
    entry = distiller(dict(teacher_weights='labels')).distill[0]
    student, truth = torch.rand(2, 3, 8, 8), torch.zeros(2, 3, 8, 8)
    truth[:, :, 2, 3] = 1.0
    teacher = truth.clone()
    teacher[0, 1] = torch.roll(truth[0, 1], 3, dims=0)  # one of six is elsewhere
    weight = torch.ones(2, 3)
    batch = batch_of([student.requires_grad_()], {0: [teacher]}, weight)
    for sample, maps in zip(batch.data_samples, truth):
        sample.gt_fields = PixelData(heatmaps=maps)
    found = weight.clone()
    found[0, 1] = 0
    expected = ((student - teacher) ** 2 * found[..., None, None]).mean()
    torch.testing.assert_close(entry(batch), expected)
