"""Seeded splits that are the same on every machine and with every version of every library.

No random generator is involved: images are put in the order of SHA-256("seed:key"), where the key is the image's POSIX
path below the dataset's root. Every split is stratified: within a class, ranks in that order decide.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from fractions import Fraction

__all__ = ["Split", "cut", "scale_sizes", "split_by_share", "split_by_size"]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Split:
    """Positions of the images of each part, ascending; disjoint."""

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]


def split_by_size(keys: Sequence[str], labels: Sequence[int], *, sizes: tuple[int, int, int], seed: int) -> Split:
    """Exactly `sizes` = (train, val, test) images, which add up to all of them; classes in proportion within ±1."""
    assert sum(sizes) == len(keys) == len(labels)
    _, num_val, num_test = sizes
    rest, test = cut(range(len(keys)), keys, labels, num=num_test, seed=seed)
    # One order serves both cuts: test takes the first ranks of every class, val the next ones.
    train, val = cut(rest, keys, labels, num=num_val, seed=seed)
    return Split(train=train, val=val, test=test)


def split_by_share(keys: Sequence[str], labels: Sequence[int], *, val: float, test: float, seed: int) -> Split:
    """In every class, shares `val` and `test`, each rounded but at least one image; the rest is for training.

    Every class needs three images or more.
    """
    parts: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for members in _by_class(range(len(keys)), keys, labels, seed):
        assert len(members) >= 3
        num_val, num_test = max(1, round(val * len(members))), max(1, round(test * len(members)))
        parts["test"] += members[:num_test]
        parts["val"] += members[num_test : num_test + num_val]
        parts["train"] += members[num_test + num_val :]
    return Split(**{part: tuple(sorted(positions)) for part, positions in parts.items()})


def cut(
    positions: Sequence[int], keys: Sequence[str], labels: Sequence[int], *, num: int, seed: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Take exactly `num` of `positions` away, classes in proportion; returns (what stays, what was taken)."""
    ranked: list[tuple[Fraction, bytes, int]] = []
    for members in _by_class(positions, keys, labels, seed):
        ranked += [
            (Fraction(2 * rank + 1, 2 * len(members)), _hash(keys[position], seed), position)
            for rank, position in enumerate(members)
        ]
    ranked.sort()
    taken = sorted(position for _, _, position in ranked[:num])
    stays = sorted(position for _, _, position in ranked[num:])
    return tuple(stays), tuple(taken)


def scale_sizes(sizes: tuple[int, int, int], total: int) -> tuple[int, int, int]:
    """`sizes` themselves when they add up to `total`, else their proportions of `total` (training takes the rest)."""
    num_val, num_test = (round(size * total / sum(sizes)) for size in sizes[1:])
    return total - num_val - num_test, num_val, num_test


def _by_class(positions: Sequence[int], keys: Sequence[str], labels: Sequence[int], seed: int) -> list[list[int]]:
    classes: dict[int, list[int]] = {}
    for position in positions:
        classes.setdefault(labels[position], []).append(position)
    return [sorted(members, key=lambda i: _hash(keys[i], seed)) for _, members in sorted(classes.items())]


def _hash(key: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{key}".encode("utf-8", "surrogateescape")).digest()
