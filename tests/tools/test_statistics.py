"""Means, intervals and paired differences, against SciPy and by hand."""

import numpy as np
import pytest
from scipy import stats

from stata_jax.tools.statistics import Interval, mean_interval, paired_difference, sample_sd


def test_sample_sd_divides_by_one_less():
    assert sample_sd([1.0, 2.0, 6.0]) == pytest.approx(np.std([1, 2, 6], ddof=1))
    assert sample_sd([3.0]) is None


@pytest.mark.parametrize("confidence", [0.5, 0.95])
@pytest.mark.parametrize("count", [2, 5, 9])
def test_interval_is_scipys(count, confidence):
    values = list(np.random.default_rng(count).normal(3, 2, count))
    found = mean_interval(values, confidence=confidence)
    low, high = stats.t.interval(confidence, count - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(values), low, high))
    assert found.count == count


def test_by_hand():
    """The 0.975 quantile of 2 degrees of freedom is 4.3027."""
    found = mean_interval([1.0, 2.0, 3.0])
    assert found.high == pytest.approx(2 + 4.3027 / 3**0.5, abs=1e-4)


def test_a_single_value_has_no_interval():
    assert mean_interval([2.0]) == Interval(2.0, None, None, 1)
    assert not mean_interval([2.0]).excludes_zero


def test_equal_values_have_an_interval_without_width():
    assert mean_interval([0.5, 0.5, 0.5]) == Interval(0.5, 0.5, 0.5, 3)
    assert mean_interval([0.5, 0.5]).excludes_zero and not mean_interval([0.0, 0.0]).excludes_zero


def test_differences_are_paired_over_the_common_seeds():
    ours = {0: 0.9, 1: 0.7, 2: 0.8, 9: 0.1}
    theirs = {2: 0.75, 0: 0.82, 1: 0.66, 5: 0.0}
    found = paired_difference(ours, theirs)
    expected = stats.ttest_rel([0.9, 0.7, 0.8], [0.82, 0.66, 0.75])
    low, high = expected.confidence_interval(0.95)
    assert found is not None and found.count == 3
    assert (found.mean, found.low, found.high) == pytest.approx((0.17 / 3, low, high))
    assert found.excludes_zero == (expected.pvalue < 0.05)
    assert paired_difference(ours, {5: 1.0}) is None


@pytest.mark.parametrize(("low", "high", "excludes"), [(0.1, 0.2, True), (-0.2, -0.1, True), (-0.1, 0.1, False)])
def test_whether_an_interval_excludes_zero(low, high, excludes):
    assert Interval((low + high) / 2, low, high, 2).excludes_zero == excludes


@pytest.mark.parametrize(("values", "confidence"), [([], 0.95), ([1.0], 1.0), ([1.0], 0.0)])
def test_nothing_to_average(values, confidence):
    with pytest.raises(ValueError, match="values and a confidence between 0 and 1"):
        mean_interval(values, confidence=confidence)
