"""The architecture description: what it accepts, what it makes equal, and its JSON."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from tiny_spaces import with_head, with_warp

from lstn_search.errors import ArchError
from lstn_search.spec.arch import Arch, Head, Layer
from lstn_search.spec.space import load_space
from lstn_search.spec.warp_families import DEFAULT_WARP, WARP_FAMILIES

SMALL = Arch(layers=(Layer(out_channels=8, kernel=7, max_pool=2), Layer(out_channels=10, kernel=5, max_pool=2)))


def test_json_round_trip_gives_the_same_architecture_and_digest() -> None:
    arch = Arch(
        layers=(
            Layer(out_channels=3, kernel=3, padding=1, groups=3, norm="conv-act-bn"),
            Layer(out_channels=16, kernel=1, stride=2, act="none", max_pool=2),
        ),
        head=Head(hidden=0, pool_to=4),
    )
    again = Arch.from_json(arch.to_json())
    assert again == arch
    assert again.digest == arch.digest
    assert hash(again) == hash(arch)


def test_digest_is_the_same_in_another_process() -> None:
    code = "import sys; from lstn_search.spec.arch import Arch; print(Arch.from_json(sys.argv[1]).digest)"
    command = [sys.executable, "-c", code, SMALL.to_json()]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == SMALL.digest


def test_digest_is_pinned() -> None:
    """Run folders and caches are keyed by digests: a change of format must be a decision (FORMAT_VERSION)."""
    assert SMALL.digest == "ab2d1dff200c9a025d92931f91162a60b5d999e58802622f0331af0888047f79"


def test_digests_of_the_seed_points_are_pinned() -> None:
    assert {name: arch.digest[:16] for name, arch in load_space("lstn").seeds.items()} == {
        "stn": "ab2d1dff200c9a02",
        "vstn": "822f2ecb1ef28bf9",
        "lstn": "eda7325fec123b04",
        "light": "7efcc32fed1f94df",
        "places": "8c4ed3adffddbd73",
    }


def test_fields_with_a_default_may_be_left_out() -> None:
    first, second = ({"out_channels": 8, "kernel": 7, "max_pool": 2}, {"out_channels": 10, "kernel": 5, "max_pool": 2})
    assert Arch.from_json(json.dumps({"layers": [first, second]})) == SMALL


def test_batch_norm_before_and_after_no_activation_is_one_network() -> None:
    before, after = (Layer(out_channels=4, kernel=3, act="none", norm=norm) for norm in ("conv-bn-act", "conv-act-bn"))
    assert before == after
    pooled = [Layer(out_channels=4, kernel=3, act="none", norm=n, max_pool=2) for n in ("conv-bn-act", "conv-act-bn")]
    assert pooled[0] != pooled[1], "with a pooling between them they differ: batch norm may flip signs"


def test_a_skip_is_written_only_where_there_is_one() -> None:
    unit = Layer(out_channels=8, kernel=3, padding=1, skip=1)
    arch = Arch(layers=(*SMALL.layers[:1], unit), head=SMALL.head)
    assert ["skip" in layer for layer in arch.to_dict()["layers"]] == [False, True]
    assert Arch.from_json(arch.to_json()) == arch
    assert arch.digest != Arch(layers=(*SMALL.layers[:1], dataclasses.replace(unit, skip=0)), head=SMALL.head).digest


def test_a_look_is_written_only_where_there_is_one() -> None:
    arch = dataclasses.replace(SMALL, look=64)
    assert Arch.from_json(arch.to_json()) == arch != SMALL
    assert "look" not in SMALL.to_dict() and arch.to_dict()["look"] == 64
    assert Arch.from_dict({**SMALL.to_dict(), "look": None}).digest == SMALL.digest != arch.digest


def test_a_look_is_one_network_for_every_image_as_large() -> None:
    arch = dataclasses.replace(SMALL, look=64)
    assert [arch.side(size) for size in (48, 64, 65, 500)] == [48, 64, 64, 64]
    assert arch.is_same_at(64, 224, 500) and not arch.is_same_at(48, 64)
    assert SMALL.side(224) == 224 and SMALL.is_same_at(64, 64) and not SMALL.is_same_at(64, 224)


@pytest.mark.parametrize("look", [0, 64.0, "image", True])
def test_a_look_is_a_number_of_pixels(look: object) -> None:
    with pytest.raises(ArchError, match="look must be"):
        dataclasses.replace(SMALL, look=look)  # type: ignore[arg-type]


def test_a_head_may_read_by_soft_argmax() -> None:
    arch = with_head(SMALL, pool_to="soft-argmax")
    assert arch.to_dict()["head"]["pool_to"] == "soft-argmax"
    assert Arch.from_json(arch.to_json()) == arch != SMALL
    with pytest.raises(ArchError, match="head pool_to 'softargmax' is unknown; did you mean 'soft-argmax'"):
        Head(pool_to="softargmax")  # type: ignore[arg-type]
    for pool_to in (0, 2.0, True):
        with pytest.raises(ArchError, match="head pool_to must be"):
            Head(pool_to=pool_to)  # type: ignore[arg-type]


KEEPS = Layer(out_channels=3, kernel=3, padding=1)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([{"skip": 2}], "layer 1: skip 2 reaches further back than the first layer; use 1 or less"),
        ([{}, {"out_channels": 4, "skip": 2}], "layer 2: skip 2 adds 3 channels to 4"),
        ([{"stride": 2}, {"skip": 2}], "layer 2: skip 2 needs layers that keep the map's size"),
        ([{"padding": 0}, {"skip": 2}], "needs layers that keep the map's size"),
        ([{"max_pool": 2}, {"skip": 2}], "needs layers that keep the map's size"),
        ([{}, {"skip": 2}, {"skip": 2}], "layer 3: skip 2 begins within another skip"),
    ],
)
def test_what_a_skip_adds_has_the_shape_of_its_output(layers: list[dict[str, int]], message: str) -> None:
    with pytest.raises(ArchError, match=message):
        Arch(layers=tuple(dataclasses.replace(KEEPS, **layer) for layer in layers))  # type: ignore[arg-type]


def test_a_skip_may_hold_others() -> None:
    assert Arch(layers=tuple(dataclasses.replace(KEEPS, skip=skip) for skip in (1, 2, 1, 4)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel": 0}, "kernel must be at least 1, got 0"),
        ({"kernel": 3.0}, "kernel must be a whole number, got 3.0"),
        ({"stride": True}, "stride must be a whole number, got True"),
        ({"padding": -1}, "padding must be at least 0"),
        ({"skip": -1}, "skip must be at least 0"),
        ({"padding": 3}, "padding 3 must be smaller than its kernel 3"),
        ({"groups": 3}, "groups 3 must divide out_channels 8"),
        ({"norm": "conv-bn-akt"}, "did you mean 'conv-bn-act'"),
        ({"act": "rely"}, "did you mean 'relu'"),
    ],
)
def test_layer_refuses(change: dict[str, object], message: str) -> None:
    with pytest.raises(ArchError, match=message):
        dataclasses.replace(Layer(out_channels=8, kernel=3), **change)  # type: ignore[arg-type]


def test_groups_must_divide_the_input_channels() -> None:
    with pytest.raises(ArchError, match="layer 2: groups 4 must divide its 6 input channels"):
        Arch(layers=(Layer(out_channels=6, kernel=1), Layer(out_channels=8, kernel=3, groups=4)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "net.json: not JSON"),
        ("[]", "net.json: must be a table"),
        ('{"layers": [], "hed": {}}', "unknown field 'hed'; did you mean 'head'"),
        ('{"head": {}}', "field 'layers' is missing"),
        ('{"layers": []}', "at least one layer, got none"),
        ('{"layers": 3}', "layers must be a list"),
        ('{"layers": [{"kernel": 3}]}', r"layers\[0\]: field 'out_channels' is missing"),
        ('{"layers": [{"out_channels": 8, "kernel": 3, "strid": 2}]}', r"layers\[0\].*did you mean 'stride'"),
        (
            '{"layers": [{"out_channels": 8, "kernel": 3}], "head": {"hidden": -1}}',
            "head: head hidden must be at least 0",
        ),
        (
            '{"layers": [{"out_channels": 8, "kernel": 3}], "head": {"warp": "afine"}}',
            "head warp 'afine' is unknown; did",
        ),
        ('{"layers": [{"out_channels": 8, "kernel": 3}], "head": {"warp": []}}', r"head warp \[\] is unknown; known: "),
        ('{"layers": [{"out_channels": 8, "kernel": 3}], "version": 9}', "version 9 is not 1"),
    ],
)
def test_json_with_a_mistake_names_its_place(text: str, message: str) -> None:
    with pytest.raises(ArchError, match=message) as caught:
        Arch.from_json(text, where="net.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("warp", WARP_FAMILIES)
def test_the_default_warp_is_left_out_so_that_digests_stay(warp: str) -> None:
    arch = with_warp(SMALL, warp)
    assert Arch.from_json(arch.to_json()) == arch
    assert (arch.digest == SMALL.digest) == (warp == DEFAULT_WARP)
    assert arch.to_dict()["head"].get("warp", DEFAULT_WARP) == warp
    spelled_out = SMALL.to_dict()
    spelled_out["head"]["warp"] = warp
    assert Arch.from_dict(spelled_out) == arch


def test_canonical_json_spells_every_other_field_out() -> None:
    data = json.loads(SMALL.to_json())
    assert set(data["layers"][0]) == {field.name for field in dataclasses.fields(Layer)} - {"skip"}
    assert set(data["head"]) == {field.name for field in dataclasses.fields(Head)} - {"warp"}


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda arch: arch["layers"][0].update(out_channels=65_537), "layer out_channels must be at most 65536"),
        (lambda arch: arch["head"].update(hidden=10**400), "head hidden must be at most 65536, got 1000"),
        (lambda arch: arch["layers"].extend([{"out_channels": 1, "kernel": 1}] * 1_000), "has at most 1,000 layers"),
        (lambda arch: arch.update(version=2), "version 2 is not 1: made by a newer release; update"),
    ],
    ids=["channels", "hidden", "layers", "version"],
)
def test_upper_limits_are_one_line(change: Callable[[dict[str, Any]], None], part: str) -> None:
    data = Arch(layers=(Layer(out_channels=8, kernel=3),)).to_dict()
    change(data)
    with pytest.raises(ArchError, match=part):
        Arch.from_dict(data)
