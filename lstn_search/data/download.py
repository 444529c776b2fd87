"""Fetching a dataset through torchvision, when it is asked for: nothing is ever downloaded on the side."""

from pathlib import Path

from lstn_search.errors import DataError, SettingError
from lstn_search.spec.names import check_name

__all__ = ["download"]


def download(name: str, data_dir: Path) -> None:
    """Download and unpack `caltech101` or `cifar10` into `data_dir`; what is there already stays.

    Raises DataError, with the steps to do it by hand, when the network or the source does not allow it, and
    SettingError for a dataset that torchvision does not offer.
    """
    from torchvision import datasets

    from lstn_search.data import caltech101, cifar10, gtsrb, tsrd

    check_name(name)
    offered = {"caltech101": datasets.Caltech101, "cifar10": datasets.CIFAR10}
    if name not in offered:
        by_hand = {"gtsrb": gtsrb.HOW_TO_GET, "tsrd": tsrd.HOW_TO_GET}.get(name, "it needs no download")
        raise SettingError(f"{name!r} cannot be downloaded; {by_hand}")
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        offered[name](str(data_dir), download=True)
    except (OSError, RuntimeError, ImportError) as error:  # no network, a bad archive, a missing helper of torchvision
        steps = {"caltech101": caltech101.HOW_TO_GET, "cifar10": cifar10.HOW_TO_GET}[name]
        reason = " ".join(str(getattr(error, "reason", None) or error).split())
        raise DataError(f"{name} cannot be downloaded into {data_dir} ({reason}); {steps}") from None
