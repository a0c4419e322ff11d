"""The two losses of one step, without a run around them."""

import re

import pytest
import torch

from mmpose_kd.dskd.guidance import Guidance
from mmpose_kd.dskd.losses import CLASSIFICATION_FORMS as FORMS

KINDS = {'heatmap': [(2, 3, 16, 8)], 'bins': [(2, 3, 16), (2, 3, 32)], 'coordinates': [(2, 3, 2)]}


def output(kind, seed=0, device='cpu'):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(*shape, generator=generator).to(device) for shape in KINDS[kind]]


kinds = pytest.mark.parametrize('kind', KINDS)


@kinds
def test_each_guide_has_a_loss_that_reaches_the_student_alone(kind):
    student, guides = output(kind), [output(kind, seed) for seed in (1, 2)]
    for x in student:
        x.requires_grad_()
    losses = Guidance().guide_losses(kind, student, guides, torch.ones(2, 3))
    assert len(losses) == 2 and losses[0] != losses[1]
    sum(losses).backward()
    assert all(x.grad.abs().sum() > 0 for x in student)


@kinds
def test_a_student_like_its_guide_costs_nothing_and_invisible_keypoints_neither(kind):
    guidance, student = Guidance(form='raw'), output(kind)
    assert guidance.guide_losses(kind, student, [student], torch.ones(2, 3))[
        0
    ].item() == pytest.approx(0)
    assert guidance.guide_losses(kind, student, [output(kind, 1)], torch.zeros(2, 3))[0] == 0


OF_HEATMAPS = [
    dict(form='soft'),
    dict(form='hard'),
    dict(threshold=0.5),
    dict(floor=0.2),
    dict(cls={}),
    dict(cls=dict(form='bce')),
    dict(cls_target='ground_truth'),
    dict(below_floor='skip'),
]


@pytest.mark.parametrize('kind', ['bins', 'coordinates'])
@pytest.mark.parametrize('settings', OF_HEATMAPS, ids=str)
def test_a_setting_of_heatmaps_is_refused_for_a_student_without(kind, settings):
    guidance = Guidance(**settings, key='hook')
    ((name, value),) = settings.items()
    message = re.escape(f'hook.{name}={value!r}: it is for heatmaps, the student puts out {kind}')
    with pytest.raises(ValueError, match=f'{message}: leave it out'):
        guidance.check_kind(kind, None)
    guidance.check_kind('heatmap', 0.1)


@pytest.mark.parametrize('kind', ['bins', 'coordinates'])
def test_the_weight_of_the_classification_is_for_heatmaps_unless_it_is_0(kind):
    for gamma in (None, 0, 0.0):
        Guidance().check_kind(kind, gamma)
    with pytest.raises(ValueError, match=r'DSKDHook\.gamma=0\.1: it is for heatmaps'):
        Guidance().check_kind(kind, 0.1)


def test_target_bits_are_those_of_the_truth_or_the_mean_of_the_guides():
    truth, one, two = (torch.zeros(1, 1, 2, 2) for _ in range(3))
    truth[..., 0, 0] = one[..., 0, 1] = two[..., 1, 1] = 1
    student = torch.rand(1, 1, 2, 2)
    bce = dict(form='bce')
    by_truth, by_guides = (Guidance(cls=bce, cls_target=t) for t in ('ground_truth', 'guides'))
    weight = torch.ones(1, 1)
    expected = by_truth.cls_loss(student, truth, weight)
    assert by_truth.classification_loss([student], [[one], [two]], [truth], weight) == expected
    expected = by_guides.cls_loss(student, (one + two) / 2, weight)
    assert by_guides.classification_loss([student], [[one], [two]], [truth], weight) == expected
    assert by_guides.classification_loss([student], [], [truth], weight) == 0


def test_by_default_the_place_is_told_as_a_distribution_of_the_truth():
    truth, student = torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4, 5)
    found = Guidance().classification_loss([student], [], [truth], torch.ones(2, 3))
    p, q = ((10 * maps).flatten(2).softmax(-1) for maps in (truth, student))
    torch.testing.assert_close(found, -(p * q.log()).sum(-1).mean())


# of two keypoints the guide sees the first alone; the student sees both
SEEN, UNSEEN = [[[[1.0, 0.0]], [[0.05, 0.0]]]], [[[[0.0, 0.0]], [[2.0, 0.0]]]]


def gradient(below_floor, form='soft'):
    student = torch.tensor(UNSEEN, requires_grad=True)
    guidance = Guidance(form=form, below_floor=below_floor)
    (loss,) = guidance.guide_losses('heatmap', [student], [[torch.tensor(SEEN)]], torch.ones(1, 2))
    loss.backward()
    return loss.item(), student.grad


def test_a_map_without_a_peak_teaches_that_nothing_is_there_or_nothing_at_all():
    zero, toward_nothing = gradient('zero')
    skip, none = gradient('skip')
    assert (zero, skip) == ((1 + 4) / 4, 1 / 4)  # the mean is over both keypoints
    assert toward_nothing[0, 1].tolist() == [[1.0, 0.0]] and none[0, 1].tolist() == [[0.0, 0.0]]
    assert torch.equal(toward_nothing[0, 0], none[0, 0]) and none[0, 0].abs().sum() > 0


@pytest.mark.parametrize('form', ['soft', 'hard', 'raw'])
def test_a_skipped_keypoint_gets_no_gradient_in_any_form(form):
    assert gradient('skip', form)[1][0, 1].abs().sum() == 0
    assert gradient('zero', form)[1][0, 1].abs().sum() > 0


def test_target_bits_are_the_mean_of_the_guides_that_have_a_peak():
    one, two = torch.tensor(SEEN), torch.tensor([[[[0.0, 1.0]], [[0.0, 0.01]]]])
    three = torch.zeros(1, 2, 1, 2)
    student, weight = torch.tensor(UNSEEN), torch.ones(1, 2)
    guides = [[one], [two], [three]]
    bce = dict(form='bce')
    guidance = Guidance(cls=bce, cls_target='guides', below_floor='skip')
    bits = torch.tensor([[[[0.5, 0.5]], [[0.0, 0.0]]]])
    expected = guidance.cls_loss(student, bits, torch.tensor([[1.0, 0.0]]))
    assert guidance.classification_loss([student], guides, [one], weight) == expected > 0
    zero = Guidance(cls=bce, cls_target='guides')
    expected = zero.cls_loss(student, bits * 2 / 3, weight)
    assert zero.classification_loss([student], guides, [one], weight) == pytest.approx(
        expected.item()
    )


def test_agreement_and_kept_pixels_by_hand():
    truth = torch.zeros(1, 2, 10, 40)
    truth[0, 0, 5, 20] = truth[0, 1, 5, 20] = 1
    guide = torch.zeros(1, 2, 10, 40)
    guide[0, 0, 5, 21] = guide[0, 1, 5, 23] = 1  # 5 % of 40 columns are 2
    found = Guidance().statistics('heatmap', [[guide]], [truth], torch.ones(1, 2))
    assert found[0]['agreement'] == 0.5 and found[0]['kept'].item() == pytest.approx(1 / 400)
    found = Guidance().statistics('heatmap', [[guide]], [truth], torch.tensor([[1.0, 0.0]]))
    assert found[0]['agreement'] == 1


@kinds
@pytest.mark.parametrize('form', FORMS)
def test_nothing_reads_a_value_on_the_host(kind, form):
    """On meta tensors, which have no values, reading one is an error."""
    guidance = Guidance(cls=dict(form=form), cls_target='guides', below_floor='skip')
    student, guide = (output(kind, seed, 'meta') for seed in (0, 1))
    weight = torch.ones(2, 3, device='meta')
    guidance.guide_losses(kind, student, [guide], weight)
    guidance.statistics(kind, [guide], student, weight)
    if kind == 'heatmap':
        guidance.classification_loss(student, [guide], student, weight)
