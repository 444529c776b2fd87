"""Splits: exact, disjoint, stratified, the same everywhere."""

import hashlib
import random
from collections import Counter

from lstn_search.data.splits import Split, cut, scale_sizes, split_by_share, split_by_size

COUNTS = {0: 435, 1: 31, 2: 90, 3: 57}
LABELS = [label for label, count in COUNTS.items() for _ in range(count)]
KEYS = [f"class{label}/{number:04d}.jpg" for number, label in enumerate(LABELS)]


def _parts(split: Split) -> list[tuple[int, ...]]:
    return [split.train, split.val, split.test]


def _covers(split: Split) -> bool:
    return sorted(sum(_parts(split), ())) == list(range(len(KEYS)))


def test_sizes_are_exact_and_the_parts_disjoint_and_complete() -> None:
    split = split_by_size(KEYS, LABELS, sizes=(443, 85, 85), seed=0)
    assert [len(part) for part in _parts(split)] == [443, 85, 85]
    assert _covers(split)


def test_classes_keep_their_proportions() -> None:
    split = split_by_size(KEYS, LABELS, sizes=(443, 85, 85), seed=0)
    for part in _parts(split):
        counts = Counter(LABELS[i] for i in part)
        for label, count in COUNTS.items():
            assert abs(counts[label] - count * len(part) / len(KEYS)) <= 1


def test_within_a_class_the_order_is_that_of_sha256() -> None:
    keys, labels = KEYS[:20], [0] * 20
    split = split_by_size(keys, labels, sizes=(12, 3, 5), seed=7)
    by_hash = sorted(range(20), key=lambda i: hashlib.sha256(f"7:{keys[i]}".encode()).hexdigest())
    assert split.test == tuple(sorted(by_hash[:5]))
    assert split.val == tuple(sorted(by_hash[5:8]))
    assert split.train == tuple(sorted(by_hash[8:]))


def test_the_split_does_not_depend_on_the_order_of_the_files() -> None:
    order = list(range(len(KEYS)))
    random.Random(1).shuffle(order)
    plain = split_by_size(KEYS, LABELS, sizes=(443, 85, 85), seed=0)
    mixed = split_by_size([KEYS[i] for i in order], [LABELS[i] for i in order], sizes=(443, 85, 85), seed=0)
    assert {KEYS[i] for i in plain.test} == {KEYS[order[i]] for i in mixed.test}
    assert {KEYS[i] for i in plain.val} == {KEYS[order[i]] for i in mixed.val}


def test_another_seed_is_another_split() -> None:
    assert split_by_size(KEYS, LABELS, sizes=(443, 85, 85), seed=0) != split_by_size(
        KEYS, LABELS, sizes=(443, 85, 85), seed=1
    )


def test_shares_leave_every_class_an_image_in_every_part() -> None:
    keys, labels = [f"{label}/{i}" for label in range(5) for i in range(3)], [i // 3 for i in range(15)]
    split = split_by_share(keys, labels, val=0.15, test=0.15, seed=0)
    for part in _parts(split):
        assert sorted(labels[i] for i in part) == [0, 1, 2, 3, 4]


def test_shares_are_70_15_15_in_a_large_class() -> None:
    split = split_by_share(KEYS, LABELS, val=0.15, test=0.15, seed=0)
    assert _covers(split)
    assert [sum(LABELS[i] == 0 for i in part) for part in _parts(split)] == [305, 65, 65]


def test_cut_takes_exactly_what_was_asked() -> None:
    stays, taken = cut(range(100, 200), KEYS, LABELS, num=17, seed=0)
    assert len(taken) == 17 and sorted(stays + taken) == list(range(100, 200))


def test_sizes_are_kept_when_they_fit_and_scaled_when_they_do_not() -> None:
    assert scale_sizes((6277, 1200, 1200), 8677) == (6277, 1200, 1200)
    assert scale_sizes((4000, 998, 1000), 600) == (400, 100, 100)
    assert sum(scale_sizes((4000, 998, 1000), 7)) == 7
