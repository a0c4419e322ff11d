"""The interval of a gain: paired over persons and seeds."""

import numpy as np
import pytest
from scipy import stats

from mmpose_kd.gain.interval import paired_gain


def tables(hits, joints=10):
    hits = np.asarray(hits)
    return hits, np.full_like(hits, joints)


def test_the_gain_of_a_method_over_itself_is_zero():
    same = tables(np.random.default_rng(0).integers(0, 11, (3, 50)))
    assert paired_gain(same, same) == (0, 0, 0, 3)


def test_a_constant_gain_has_no_spread():
    hits = np.random.default_rng(0).integers(0, 10, (3, 50))
    assert paired_gain(tables(hits), tables(hits + 1)) == pytest.approx((10, 10, 10, 3))


def test_the_gain_is_that_of_the_pooled_joints():
    plain = np.array([[1, 0]]), np.array([[2, 8]])  # 1 of 10
    distilled = np.array([[2, 3]]), np.array([[2, 8]])  # 5 of 10
    assert paired_gain(plain, distilled).gain == pytest.approx(40)


def test_pairing_persons_and_seeds_narrows_the_interval():
    rng = np.random.default_rng(0)
    person, seed = rng.integers(0, 7, 200), rng.integers(0, 3, (5, 1))
    plain = person + seed
    distilled = plain + rng.integers(0, 2, (5, 200))
    paired = paired_gain(tables(plain), tables(distilled))
    unpaired = paired_gain(tables(plain), tables(rng.permuted(distilled, axis=1)[::-1]))
    assert paired.high - paired.low < 0.5 * (unpaired.high - unpaired.low)


@pytest.mark.parametrize('spread', [0, 0.005, 0.02], ids='seeds_spread_by_{}'.format)
@pytest.mark.parametrize('seeds', [2, 3, 5])
def test_the_interval_holds_the_true_gain_95_times_in_100(seeds, spread):
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(400):
        person = rng.uniform(0.3, 0.7, 100)
        shift = 0.05 + rng.normal(0, spread, (seeds, 1)) + rng.normal(0, 0.05, 100)
        plain = rng.binomial(10, person, (seeds, 100))
        distilled = rng.binomial(10, np.clip(person + shift, 0, 1))
        found = paired_gain(tables(plain), tables(distilled))
        inside.append(found.low < 5 < found.high)
    assert np.mean(inside) >= 0.93  # 0.95 less two standard errors of 400


def test_it_is_the_t_interval_over_seeds_where_persons_do_not_differ():
    plain, distilled = np.full((3, 40), 2), np.full((3, 40), 3) + [[0], [1], [3]]
    differences = np.array([10, 20, 40])
    found = paired_gain(tables(plain), tables(distilled))
    half = stats.t.ppf(0.975, 2) * differences.std(ddof=1) / 3**0.5
    mean = differences.mean()
    assert found[:3] == pytest.approx((mean, mean - half, mean + half))


def test_it_is_the_interval_of_the_persons_mean_with_one_seed():
    rng = np.random.default_rng(0)
    plain, distilled = rng.integers(0, 5, (1, 60)), rng.integers(3, 11, (1, 60))
    found = paired_gain(tables(plain), tables(distilled))
    each = 10 * (distilled - plain)[0]  # every person has ten joints: the ratio is a mean
    expected = stats.ttest_1samp(each, 0).confidence_interval(0.95)
    assert found.seeds == 1
    assert found[1:3] == pytest.approx((expected.low, expected.high))


def test_an_empty_comparison_is_an_error():
    with pytest.raises(ValueError, match='nothing to compare'):
        paired_gain(tables([[0]], 0), tables([[0]], 0))
