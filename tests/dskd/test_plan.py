"""When the student becomes a guide."""

import pytest

from mmpose_kd.dskd.plan import GuidePlan


def test_a_run_is_cut_into_generations_of_shares_of_its_length():
    assert GuidePlan('generations').steps(210) == [70, 140]
    plan = GuidePlan('generations', num_guides=2, lengths=(2, 1, 1))
    assert [plan.steps(length) for length in (40, 8, 210)] == [[20, 30], [4, 6], [105, 158]]


def test_there_are_half_as_many_guides_in_the_mean_over_equal_generations():
    assert GuidePlan('generations', num_guides=4).mean_guides() == 2
    assert GuidePlan('generations', num_guides=1, lengths=(1, 3)).mean_guides() == 0.75


def test_snapshots_are_taken_at_intervals_and_not_at_the_end():
    assert GuidePlan('snapshots', interval=3).steps(9) == [3, 6]
    assert GuidePlan('snapshots', interval=0.25).steps(8) == [2, 4, 6]


def test_given_guides_are_never_frozen():
    assert GuidePlan(['a.pth']).steps(5) == []


@pytest.mark.parametrize(
    ('settings', 'key'),
    [
        (dict(guides='generations', num_guides=0), 'num_guides=0'),
        (dict(guides='generations', interval=3), 'interval=3'),
        (dict(guides='generations', lengths=(1, 1)), 'lengths='),
        (dict(guides='generations', lengths=(1, 1, 0)), 'lengths='),
        (dict(guides='snapshots', lengths=(1, 1, 1)), 'lengths='),
        (dict(guides='snapshots', interval=0), 'interval=0'),
        (dict(guides=['a.pth'], num_guides=2), 'num_guides=2'),
    ],
)
def test_a_bad_setting_is_named(settings, key):
    with pytest.raises(ValueError, match=key):
        GuidePlan(**settings)


def test_a_run_too_short_is_told():
    with pytest.raises(ValueError, match=r'num_guides=4: 3 epochs'):
        GuidePlan('generations', num_guides=4).steps(3)
    with pytest.raises(ValueError, match=r'of lengths \(1, 8\)'):
        GuidePlan('generations', num_guides=1, lengths=(1, 8)).steps(3)
    with pytest.raises(ValueError, match=r'interval=5'):
        GuidePlan('snapshots', interval=5).steps(5)
