"""Means, intervals and the pick, on plain numbers: a value a seed. No torch; docs/verify.md says why.

Accuracy comes in steps of one image, 100 / number of images. A few seeds may agree to the last image by chance, which
would make their spread zero and any difference certain; so no spread is believed that is below what such steps alone
cause (`least_sd`).
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["CONFIDENCE", "Interval", "bootstrap_interval", "least_sd", "one_standard_error", "paired", "t_interval"]

CONFIDENCE = 0.95
NUM_RESAMPLES = 9999
BOOTSTRAP_SEED = 0


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Interval:
    """A mean and its Student t interval."""

    mean: float
    low: float | None
    """None for a single value, like the next two."""
    high: float | None
    se: float | None
    """Standard error of the mean."""

    @property
    def is_above_0(self) -> bool:
        """Whether all of it is."""
        return self.low is not None and self.low > 0

    @property
    def is_below_0(self) -> bool:
        """Whether all of it is."""
        return self.high is not None and self.high < 0


def t_interval(values: Sequence[float], *, least_sd: float = 0.0) -> Interval:
    """Mean and 95 % Student t interval of at least one value; the standard deviation is at least `least_sd`."""
    from scipy.stats import t as student  # type: ignore[import-untyped]  # takes a second

    num = len(values)
    mean = math.fsum(values) / num
    if num == 1:
        return Interval(mean=mean, low=None, high=None, se=None)
    se = max(float(np.std(values, ddof=1)), least_sd) / math.sqrt(num)
    half = float(student.ppf((1 + CONFIDENCE) / 2, num - 1)) * se
    return Interval(mean=mean, low=mean - half, high=mean + half, se=se)


def paired(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Ours minus theirs, seed by seed."""
    return [a - b for a, b in zip(ours, theirs, strict=True)]


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % percentile bootstrap interval of the mean, always the same for the same values; None for a single one.

    It assumes no shape, but with few values it is too narrow (docs/verify.md has its measured coverage).
    """
    if len(values) < 2:
        return None
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    array_N = np.asarray(values, dtype=float)
    means_R = rng.choice(array_N, (NUM_RESAMPLES, len(array_N))).mean(axis=1)
    low, high = np.quantile(means_R, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return float(low), float(high)


def least_sd(num_images: int, *, of_difference: bool) -> float:
    """The standard deviation that steps of one image cause: of an accuracy in percent, or of a difference of two.

    A value that is only known to one step is spread evenly over it: step / sqrt(12), times sqrt(2) for a difference.
    """
    return 100 / num_images / math.sqrt(6 if of_difference else 12)


def one_standard_error(
    values: Mapping[str, Sequence[float]], gflops: Mapping[str, float], *, least_sd: float = 0.0
) -> tuple[str | None, dict[str, Interval]]:
    """The pick by the one-standard-error rule, and how far behind the best each one is (best minus it, paired).

    The best has the highest mean. Of all whose mean paired difference to it is at most one standard error of that
    difference, the cheapest is picked. `values` holds an accuracy a seed by name; without names or with fewer than two
    seeds there is no pick. (Breiman et al. 1984; Hastie et al., The Elements of Statistical Learning, 7.10.)
    """
    if not values:
        return None, {}
    best = max(values, key=lambda name: (math.fsum(values[name]), -gflops[name]))
    behind = {name: t_interval(paired(values[best], row), least_sd=least_sd) for name, row in values.items()}
    close = [name for name, gap in behind.items() if gap.se is not None and (name == best or gap.mean <= gap.se)]
    return min(close, key=lambda name: (gflops[name], behind[name].mean), default=None), behind
