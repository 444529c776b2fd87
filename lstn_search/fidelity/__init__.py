"""Whether the cheap measurements of a search rank architectures as its dear ones do. Nothing here imports torch."""

from lstn_search.fidelity.facts import FidelityInfo, fidelity_info, warnings, write_fidelity
from lstn_search.fidelity.rank import Correlation, correlate

__all__ = ["Correlation", "FidelityInfo", "correlate", "fidelity_info", "warnings", "write_fidelity"]
