"""Rank correlation with an interval, and what it allows one to say. No torch here.

Kendall's tau-b is the share of pairs of architectures that two measures put in the same order, minus the share they put
in opposite orders, corrected for ties. Its 95 % interval is a percentile bootstrap: architectures are drawn with
replacement `NUM_RESAMPLES` times. Checked on normal samples of 6 to 25: unrelated measures are called a hint in 1 to
2.5 % of cases, measures of tau 0.5 are trusted in 1 to 3.5 %.

The rule, declared before anything was measured:

    fewer than 6 architectures            too few to say
    one side the same for all             cannot say
    interval above 0.5                    trust it
    interval above 0                      a hint, no more
    interval below 0                      do not trust it: it ranks the wrong way round
    interval below 0.5, with 0 in it      do not trust it: it does not rank
    interval with both 0 and 0.5 in it    too few to say
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["MIN_ARCHITECTURES", "NUM_RESAMPLES", "Correlation", "correlate", "verdict"]

MIN_ARCHITECTURES = 6
"""With fewer, even a perfect order comes about by chance too often: one time in 60 with five."""
NUM_RESAMPLES = 2000
TRUSTED_TAU = 0.5
MAX_SAMPLE = 500
"""Of more architectures a sample is resampled, and the width scaled to all of them (the m out of n bootstrap)."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Correlation:
    """How far two measures of the same architectures agree on their order."""

    a: str
    """The cheaper measure, in plain words. Errors count as better when they are smaller."""
    b: str
    """The dearer one."""
    num: int
    """Architectures that have both."""
    num_left_out: int = 0
    """Architectures that have only the first: they were stopped before the second, or failed."""
    tau: float | None
    """Kendall's tau-b, -1 to 1; None: fewer than two architectures, or one measure is the same for all."""
    low: float | None
    """Lower end of the 95 % interval; None where nothing can be said. Like the next."""
    high: float | None
    verdict: str
    """What the rule says, see the top of this file."""

    @property
    def is_doubtful(self) -> bool:
        """Whether the verdict is not to trust it. Too few to say is no such verdict."""
        return self.verdict.startswith("do not trust it")

    @property
    def sentence(self) -> str:
        """The measures, the numbers and the verdict in one sentence."""
        count = f"n = {self.num}" + (f" of {self.num + self.num_left_out}" if self.num_left_out else "")
        numbers = [] if self.tau is None else [f"tau {self.tau:.2f}"]
        if self.low is not None and self.high is not None:
            numbers.append(f"95 % interval {self.low:.2f} to {self.high:.2f}")
        return f"{self.a} against {self.b}: {self.verdict} ({', '.join([*numbers, count])})"

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON types."""
        return dataclasses.asdict(self) | {"sentence": self.sentence}


def verdict(num: int, tau: float | None, low: float | None, high: float | None) -> str:
    """What a rank correlation over `num` architectures allows one to say, by the rule at the top of this file."""
    if num < MIN_ARCHITECTURES:
        return "too few to say"
    if tau is None or low is None or high is None:
        return "cannot say: one side is the same for all"
    if low > 0:
        return "trust it" if low > TRUSTED_TAU else "a hint, no more"
    if high < 0:
        return "do not trust it: it ranks the wrong way round"
    return "do not trust it: it does not rank" if high < TRUSTED_TAU else "too few to say"


def correlate(
    a: str, a_values: Mapping[int, float], b: str, b_values: Mapping[int, float], *, seed: int = 0
) -> Correlation:
    """The rank correlation of two measures over the architectures (the keys) that have both.

    More must mean better on both sides. The interval needs `MIN_ARCHITECTURES`.
    """
    import numpy as np
    from scipy.stats import kendalltau  # type: ignore[import-untyped]

    both = sorted(a_values.keys() & b_values.keys())
    a_N, b_N = (np.array([values[key] for key in both], dtype=float) for values in (a_values, b_values))
    tau = low = high = None
    if len(both) >= 2 and len(set(a_N)) > 1 and len(set(b_N)) > 1:
        tau = float(kendalltau(a_N, b_N).statistic)
        if len(both) >= MIN_ARCHITECTURES:
            low, high = _interval(a_N, b_N, tau, seed)
    return Correlation(
        a=a,
        b=b,
        num=len(both),
        num_left_out=len(a_values.keys() - b_values.keys()),
        tau=tau,
        low=low,
        high=high,
        verdict=verdict(len(both), tau, low, high),
    )


def _interval(a_N: "NDArray[np.float64]", b_N: "NDArray[np.float64]", tau: float, seed: int) -> tuple[float, float]:
    """The 95 % interval around `tau`, that of all architectures."""
    import numpy as np
    from scipy.stats import kendalltau  # type: ignore[import-untyped]

    rng = np.random.default_rng(seed)
    if len(a_N) <= MAX_SAMPLE:
        return _percentiles(a_N, b_N, rng)
    chosen = rng.choice(len(a_N), MAX_SAMPLE, replace=False)
    centre = float(kendalltau(a_N[chosen], b_N[chosen]).statistic)
    scale = math.sqrt(MAX_SAMPLE / len(a_N))
    low, high = _percentiles(a_N[chosen], b_N[chosen], rng)
    return max(-1.0, tau + scale * (low - centre)), min(1.0, tau + scale * (high - centre))


def _percentiles(
    a_N: "NDArray[np.float64]", b_N: "NDArray[np.float64]", rng: "np.random.Generator"
) -> tuple[float, float]:
    """The 2.5 and 97.5 % points of tau-b over bootstrap resamples.

    An architecture drawn w times counts w times, so the pairs of a resample are the pairs of the sample, weighted.
    """
    import numpy as np

    num = len(a_N)
    drawn_RN = rng.integers(num, size=(NUM_RESAMPLES, num)) + num * np.arange(NUM_RESAMPLES)[:, None]
    weights_RN = np.bincount(drawn_RN.ravel(), minlength=NUM_RESAMPLES * num).reshape(-1, num).astype(np.float32)
    a_NN, b_NN = (np.sign(values_N[:, None] - values_N).astype(np.float32) for values_N in (a_N, b_N))

    def sums(pairs_NN: "NDArray[np.float32]") -> "NDArray[np.float64]":
        sums_R: NDArray[np.float32] = np.einsum("rn,rn->r", weights_RN @ pairs_NN, weights_RN)
        return sums_R.astype(np.float64)

    untied_R = np.sqrt(sums(np.abs(a_NN)) * sums(np.abs(b_NN)))
    tau_R = (sums(a_NN * b_NN) / np.where(untied_R > 0, untied_R, np.nan)).clip(-1, 1)
    low, high = np.nanpercentile(tau_R, [2.5, 97.5]).tolist()  # nan: one architecture alone, or its equals
    return low, high
