"""What a verification adds to the picture of the front."""

from lstn_search.pictures.front_plot import ErrorBar
from lstn_search.spec.objectives import Objective
from lstn_search.verification.result import Verification

__all__ = ["error_bars"]


def error_bars(verification: Verification | None, cost: Objective) -> tuple[ErrorBar, ...]:
    """The verified means with their 95 % intervals, where there are any."""
    if verification is None:
        return ()
    return tuple(
        ErrorBar(name=row.name, cost=getattr(row, cost.name), mean=row.mean_val, low=row.low_val, high=row.high_val)
        for row in verification.finalists
        if row.gflops is not None and row.mean_val is not None and row.low_val is not None and row.high_val is not None
    )
