"""Datasets: decoded once, memory-mapped, split the same way on every machine."""

from typing import TYPE_CHECKING, Any

from lstn_search.spec.names import DATASET_NAMES

if TYPE_CHECKING:
    from lstn_search.data.dataset import Dataset, load_dataset

__all__ = ["DATASET_NAMES", "Dataset", "load_dataset"]


def __getattr__(name: str) -> Any:
    # The names above must not cost an import of torch: the command line's help shows them.
    if name in ("Dataset", "load_dataset"):
        from lstn_search.data import dataset

        return getattr(dataset, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
