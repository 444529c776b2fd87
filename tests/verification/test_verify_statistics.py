"""Intervals that hold what they promise, and the one-standard-error rule; each number found in two ways."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from lstn_search.verification.statistics import (
    Interval,
    bootstrap_interval,
    least_sd,
    one_standard_error,
    paired,
    t_interval,
)

SEEDS = 5


def test_the_interval_is_scipys() -> None:
    ours, theirs = np.random.default_rng(0).normal(60, 1.5, (2, SEEDS)).tolist()
    interval = t_interval(paired(ours, theirs))
    expected = scipy.stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert interval.mean == pytest.approx(np.mean(ours) - np.mean(theirs))
    assert interval.se == pytest.approx(scipy.stats.sem(np.subtract(ours, theirs)))


def test_one_value_has_a_mean_and_no_interval() -> None:
    assert t_interval([3.0]) == Interval(mean=3.0, low=None, high=None, se=None)
    assert not t_interval([3.0]).is_above_0 and not t_interval([-3.0]).is_below_0
    assert bootstrap_interval([3.0]) is None


def test_2000_intervals_of_5_values_hold_the_truth_95_times_of_100() -> None:
    rows = np.random.default_rng(1).normal(2.0, 1.4, (2000, SEEDS))
    intervals = [t_interval(row) for row in rows]
    held = np.mean([i.low is not None and i.high is not None and i.low <= 2.0 <= i.high for i in intervals])
    assert held == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 2000))


def test_the_bootstrap_is_every_resample_there_is() -> None:
    """Of three values there are 27; its quantiles are theirs."""
    values = [1.0, 2.0, 4.0]
    means = sorted(sum(resample) / 3 for resample in itertools.product(values, repeat=3))
    low, high = bootstrap_interval(values) or (0, 0)
    assert (low, high) == pytest.approx((means[0], means[-1]))  # 1 of 27 is more than 2.5 %
    values = np.random.default_rng(2).normal(0, 1, SEEDS).tolist()
    every = np.array(values)[list(itertools.product(range(SEEDS), repeat=SEEDS))].mean(axis=1)
    assert bootstrap_interval(values) == pytest.approx(tuple(np.quantile(every, (0.025, 0.975))), abs=0.05)
    assert bootstrap_interval(values) == bootstrap_interval(values)


def test_the_bootstrap_of_5_values_is_too_narrow_as_the_docs_say() -> None:
    rows = np.random.default_rng(3).normal(0, 1.4, (300, SEEDS))
    bounds = [bootstrap_interval(row) or (0, 0) for row in rows]
    assert np.mean([low <= 0 <= high for low, high in bounds]) == pytest.approx(0.83, abs=0.06)


def test_seeds_that_agree_to_the_last_image_are_not_certain() -> None:
    """Two differences of one image of 60 each: no spread, yet no proof."""
    step = 100 / 60
    assert t_interval([step, step]).is_above_0
    assert not t_interval([step, step], least_sd=least_sd(60, of_difference=True)).is_above_0


def test_the_least_spread_is_that_of_rounding_to_whole_images() -> None:
    rng = np.random.default_rng(4)
    true_A, true_B = rng.uniform(40, 60, (2, 100_000))
    step = 100 / 60
    errors_A, errors_B = (np.round(true / step) * step - true for true in (true_A, true_B))
    assert errors_A.std() == pytest.approx(least_sd(60, of_difference=False), rel=0.01)
    assert (errors_A - errors_B).std() == pytest.approx(least_sd(60, of_difference=True), rel=0.01)


# -- the pick -----------------------------------------------------------------------------------------------------

GFLOPS = {"cheap": 0.001, "middle": 0.002, "best": 0.03}


def test_the_cheapest_within_one_standard_error_is_picked() -> None:
    """Differences to the best: -1, 1, 3 (mean 1.0, standard error 2 / sqrt(3) = 1.15) and 2, 2, 2.3 (0.1)."""
    values = {"best": [66.0, 66.0, 66.0], "middle": [67.0, 65.0, 63.0], "cheap": [64.0, 64.0, 63.7]}
    pick, behind = one_standard_error(values, GFLOPS)
    assert pick == "middle"
    assert behind["middle"].mean == pytest.approx(1.0)
    assert behind["middle"].se == pytest.approx(2 / math.sqrt(3))
    assert behind["cheap"].mean == pytest.approx(2.1) and behind["cheap"].se == pytest.approx(0.1)
    assert behind["best"].mean == 0


def test_it_is_the_paired_difference_that_counts_not_the_spread_of_the_values() -> None:
    """Behind by 1 with every seed, to 0.1: however wide the seeds lie apart, it is behind."""
    values = {"best": [60.0, 66.0, 72.0], "cheap": [59.1, 65.0, 70.9]}
    assert one_standard_error(values, GFLOPS)[0] == "best"


def test_a_dearer_one_is_never_picked_over_an_equal() -> None:
    row = [60.0, 61.0]
    assert one_standard_error({"best": row, "cheap": row, "middle": row}, GFLOPS)[0] == "cheap"


def test_nothing_to_pick_from() -> None:
    assert one_standard_error({}, {}) == (None, {})
    assert one_standard_error({"cheap": [60.0], "best": [61.0]}, GFLOPS)[0] is None
