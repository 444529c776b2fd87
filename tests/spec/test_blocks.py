"""The kinds of block, each against its layers written by hand."""

from typing import Any

import pytest

from lstn_search.spec.arch import Layer
from lstn_search.spec.blocks import KINDS, Choices, block_keys, block_layers, kinds_in, read_block

WINDOW: Choices = {"kernel": 5, "stride": 2, "padded": True, "max_pool": 3}
BY_HAND: dict[str, tuple[Choices, list[dict[str, Any]]]] = {  # on 7 channels
    "plain": (
        {"encoder": 9, **WINDOW},
        [{"out_channels": 9, "kernel": 5, "stride": 2, "padding": 2, "max_pool": 3}],
    ),
    "separable": (
        {"encoder": 9, **WINDOW},
        [
            {"out_channels": 7, "kernel": 5, "stride": 2, "padding": 2, "groups": 7},
            {"out_channels": 9, "kernel": 1, "max_pool": 3},
        ],
    ),
    "bottleneck": (
        {"decoder": 4, "encoder": 9, **WINDOW},
        [
            {"out_channels": 4, "kernel": 1},
            {"out_channels": 4, "kernel": 5, "stride": 2, "padding": 2},
            {"out_channels": 9, "kernel": 1, "max_pool": 3},
        ],
    ),
    "residual": ({"kernel": 5}, [{"out_channels": 7, "kernel": 5, "padding": 2, "skip": 1}]),
}


def test_every_kind_is_written_by_hand() -> None:
    assert set(BY_HAND) == set(KINDS) == set(kinds_in("unit"))
    assert set(kinds_in("stem")) == {"plain", "separable"}


@pytest.mark.parametrize("kind", BY_HAND)
def test_a_block_is_the_layers_written_by_hand_and_is_read_back(kind: str) -> None:
    choices, layers = BY_HAND[kind]
    expected = [Layer(**layer, norm="conv-act-bn") for layer in layers]
    assert block_keys(kind, "unit") == tuple(choices)
    assert block_layers({"kind": kind, **choices}, 7, "conv-act-bn") == expected
    assert read_block(kind, "unit", expected) == {"kind": kind, **choices}


def test_the_width_of_a_stem_has_another_name() -> None:
    read = read_block("plain", "stem", [Layer(out_channels=9, kernel=1)])
    assert read == {"kind": "plain", "width": 9, "kernel": 1, "stride": 1, "max_pool": 1}
    assert block_layers(read, 3, "none") == [Layer(out_channels=9, kernel=1)]
