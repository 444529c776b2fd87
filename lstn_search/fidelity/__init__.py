"""Whether the cheap measurements of a search rank architectures as its dear ones do. Nothing here imports torch."""

from typing import TYPE_CHECKING, Any

from lstn_search.fidelity.rank import Correlation, correlate

if TYPE_CHECKING:
    from lstn_search.fidelity.facts import FidelityInfo, fidelity_info, warnings, write_fidelity

__all__ = ["Correlation", "FidelityInfo", "correlate", "fidelity_info", "warnings", "write_fidelity"]


def __getattr__(name: str) -> Any:
    # These read runs, with Optuna, which `import lstn_search` must not cost.
    if name in __all__:
        from lstn_search.fidelity import facts

        return getattr(facts, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
