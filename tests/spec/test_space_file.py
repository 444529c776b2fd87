"""Space files: every named one loads, and every mistake is one line with its place and its cure."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lstn_search.errors import ArchError, SpaceError
from lstn_search.spec import moves
from lstn_search.spec import space as space_module
from lstn_search.spec.cost import fits
from lstn_search.spec.ladder import DEFAULT_LADDER, Ladder
from lstn_search.spec.space import Space, load_space, resolve_arch, space_folder, space_names

LSTN = load_space("lstn")


@pytest.mark.parametrize("name", space_names())
def test_every_named_space_loads_and_can_be_built(name: str) -> None:
    space = load_space(name)
    assert space.name == name
    assert space.description
    assert load_space(space_folder() / f"{name}.toml") == space
    assert moves.cheapest(space, 224, 64)[0] > 0
    for seed in space.seeds.values():
        assert fits(seed, 224)
        assert fits(seed, 64)
    assert all(space.sources.values())


def test_the_mission_s_seed_points_are_there() -> None:
    assert list(LSTN.seeds) == ["stn", "vstn", "lstn", "light", "places"]


def edited(edit: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The tables of lstn.toml after an edit."""
    data = tomllib.loads((space_folder() / "lstn.toml").read_text())
    edit(data)
    return data


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """An edit: set one value, such as `unit.kernel`."""

    def edit(data: dict[str, Any]) -> None:
        *groups, key = path.split(".")
        for group in groups:
            data = data[group]
        data[key] = value

    return edit


def drop(path: str) -> Callable[[dict[str, Any]], None]:
    """An edit: remove one key."""

    def edit(data: dict[str, Any]) -> None:
        *groups, key = path.split(".")
        for group in groups:
            data = data[group]
        del data[key]

    return edit


MISTAKES = [
    (put("unit.kernal", [3]), "unknown key 'unit.kernal'; did you mean 'kernel'?"),
    (put("unti", {}), "unknown key 'unti'; did you mean 'unit' or 'units'?"),
    (drop("unit.kernel"), "unit.kernel is missing; add a list of its values"),
    (drop("stem"), "table [stem] is missing; add it with the lists kind, kernel, stride, width, padded, max_pool"),
    (put("stem", 3), "stem must be a table, got 3"),
    (put("unit.kernel", 3), "unit.kernel must be a list of values, got 3; write unit.kernel = [3]"),
    (put("unit.kernel", []), "unit.kernel is an empty list; give it at least one value"),
    (put("unit.kernel", [3, 5, 3]), "unit.kernel[2]: 3 stands in the list twice; remove one"),
    (put("unit.kernel", [3, 4]), "unit.kernel[1]: 4 is even; use an odd kernel"),
    (put("unit.kernel", [3, "5"]), "unit.kernel[1]: '5' is not a whole number"),
    (put("unit.kernel", [3, 5.0]), "unit.kernel[1]: 5.0 is not a whole number"),
    (put("unit.kernel", [3, True]), "unit.kernel[1]: true is not a whole number"),
    (put("unit.stride", [0]), "unit.stride[0]: 0 is out of range; use 1 to 4096"),
    (put("units", [0, 99]), "units[1]: 99 is out of range; use 0 to 32"),
    (put("unit.padded", [0, 1]), "unit.padded[0]: 0 is not true or false"),
    (put("unit.kind", ["plain", "bottelneck"]), "unit.kind[1]: 'bottelneck' is unknown; did you mean 'bottleneck'?"),
    (put("stem.kind", ["bottleneck"]), "stem.kind[0]: 'bottleneck' is unknown; known: plain, separable"),
    (put("norm", ["conv-bn-act", "batch"]), "norm[1]: 'batch' is unknown; known: conv-act-bn, conv-bn-act, none"),
    (put("head.pool_to", ["flaten", 1]), "head.pool_to[0]: 'flaten' is unknown; did you mean 'flatten'?"),
    (put("head.pool_to", [False]), "head.pool_to[0]: false is not 'flatten' or 'soft-argmax' or a whole number"),
    (put("head.pool_to", ["soft-argmx"]), "head.pool_to[0]: 'soft-argmx' is unknown; did you mean 'soft-argmax'?"),
    (put("look", ["imag", 64]), "look[0]: 'imag' is unknown; did you mean 'image'?"),
    (put("look", [0]), "look[0]: 0 is out of range; use 1 to 4096"),
    (put("look", 64), "look must be a list of values, got 64; write look = [64]"),
    (put("seeds.stn.look", "image"), "seeds.stn: look must be a whole number, got 'image'"),
    (put("head.warp", ["affin"]), "head.warp[0]: 'affin' is unknown; did you mean 'affine'?"),
    (put("head.warp", "affine"), "head.warp must be a list of values, got 'affine'; write head.warp = ['affine']"),
    (drop("head"), "table [head] is missing; add it with the lists pool_to, hidden"),
    (put("description", 3), "description must be text in quotes, got 3"),
    (put("seeds", [1]), "seeds must be a table, got [1]"),
    (put("seeds.stn.layer", []), "unknown key 'seeds.stn.layer'; did you mean 'layers'?"),
    (put("seeds.stn.source", 1), "seeds.stn.source must be text in quotes, got 1"),
    (put("seeds.lstn.norm", "bn"), "seeds.lstn.norm: 'bn' is unknown; known: conv-act-bn"),
    (drop("seeds.stn.layers"), "seeds.stn: field 'layers' is missing; add it"),
    (put("seeds.stn.layers", [{"kernel": 3}]), "seeds.stn: layers[0]: field 'out_channels' is missing; add it"),
    (put("seeds.stn.head", {"hiden": 3}), "seeds.stn: head: unknown field 'hiden'; did you mean 'hidden'?"),
]


@pytest.mark.parametrize(("edit", "message"), MISTAKES, ids=[message[:40] for _, message in MISTAKES])
def test_a_mistake_is_one_line_with_its_place_and_cure(edit: Callable[[dict[str, Any]], None], message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        Space.from_dict(edited(edit), name="mine", where="my.toml")
    assert str(caught.value).startswith(f"my.toml: {message}")
    assert "\n" not in str(caught.value)


def test_malformed_toml_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text('norm = ["none"]\nunits = [0, 1\n[stem]\n')
    with pytest.raises(SpaceError, match=r"broken\.toml: not valid TOML \(.*line 3"):
        load_space(path)


@pytest.mark.parametrize("name", ["missing.toml", "folder.toml", "binary.toml"])
def test_an_unreadable_file_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpaceError, match=f"{name}: cannot be read"):
        load_space(tmp_path / name)


def test_unknown_names_suggest() -> None:
    with pytest.raises(SpaceError, match="search space 'lsnt' is unknown; did you mean 'lstn'"):
        load_space("lsnt")
    with pytest.raises(ArchError, match="architecture 'vsnt' is unknown; did you mean 'vstn'"):
        resolve_arch("vsnt", LSTN)


def test_resolve_arch_takes_a_seed_or_a_file(tmp_path: Path) -> None:
    light = LSTN.seeds["light"]
    path = tmp_path / "net.json"
    path.write_text(light.to_json())
    assert resolve_arch("light", LSTN) == resolve_arch(str(path), LSTN) == light
    with pytest.raises(ArchError, match=r"other\.json: cannot be read"):
        resolve_arch(str(tmp_path / "other.json"), LSTN)


def test_an_installed_package_finds_its_own_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "site-packages" / "lstn_search"
    (installed / "search_spaces").mkdir(parents=True)
    (installed / "search_spaces" / "mine.toml").touch()
    monkeypatch.setattr(space_module, "__file__", str(installed / "spec" / "space.py"))
    assert space_names() == ["mine"]


def test_a_space_may_declare_its_ladder() -> None:
    tables = tomllib.loads((space_folder() / "lstn.toml").read_text(encoding="utf-8"))
    assert Space.from_dict(tables, name="plain").ladder == DEFAULT_LADDER
    own = Space.from_dict(tables | {"ladder": {"epochs": [1, 3], "eta": 4}}, name="own")
    assert own.ladder == Ladder(recover=(25,), epochs=(1, 3), eta=4)
    whole = Space.from_dict(tables | {"ladder": {"recover": []}}, name="whole")
    assert whole.ladder == Ladder(epochs=(1, 3, 9), eta=3)


@pytest.mark.parametrize(
    ("ladder", "part"),
    [
        ({"epoch": [2]}, "did you mean 'epochs'"),
        ({"epochs": []}, "ladder.epochs"),
        ({"epochs": [6, 2]}, "must rise"),
        ({"recover": 25}, "ladder.recover"),
        ({"recover": [40, 100]}, "below 100 %"),
    ],
)
def test_a_ladder_with_a_mistake_is_one_line(ladder: dict[str, object], part: str) -> None:
    tables = tomllib.loads((space_folder() / "lstn.toml").read_text(encoding="utf-8"))
    with pytest.raises(SpaceError, match=part):
        Space.from_dict(tables | {"ladder": ladder}, name="own")


# -- names, sizes and depth --------------------------------------------------------------------------------------------


def with_seeds(*names: str) -> dict[str, Any]:
    tables = tomllib.loads((space_folder() / "lstn.toml").read_text(encoding="utf-8"))
    return tables | {"seeds": dict.fromkeys(names, tables["seeds"]["light"])}


@pytest.mark.parametrize("name", ["t7", "7", "best", "control", "../../x", "=1+1", "\x1b[31m", "", "x" * 101])
def test_a_seed_point_that_is_called_what_it_may_not_be(name: str) -> None:
    with pytest.raises(SpaceError, match=r"^own: seed point ") as caught:
        Space.from_dict(with_seeds(name), name="own")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("names", [("net", "NET"), ("caf\u00e9", "cafe\u0301")])
def test_two_seed_points_whose_files_would_be_one(names: tuple[str, str]) -> None:
    with pytest.raises(SpaceError, match="have the same name; rename one"):
        Space.from_dict(with_seeds(*names), name="own")


def test_a_seed_point_is_found_by_its_name_in_either_form() -> None:
    space = Space.from_dict(with_seeds("cafe\u0301"), name="own")
    assert list(space.seeds) == list(space.sources) == ["caf\u00e9"]


def test_a_space_goes_by_a_name_that_can_be_shown() -> None:
    with pytest.raises(SpaceError, match="begins like a formula"):
        Space.from_dict(with_seeds(), name="=1")


def test_a_seed_point_takes_colour_images() -> None:
    tables = with_seeds("grey")
    tables["seeds"]["grey"] = {"in_channels": 1, "layers": [{"out_channels": 4, "kernel": 3}]}
    with pytest.raises(SpaceError, match=r"seeds\.grey\.in_channels is 1, but images have 3 channels; leave it out"):
        Space.from_dict(tables, name="own")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a = " + "[" * 3_000, "nested too deep"),
        ("a = [" + "\n[" * 100_000, "nested too deep"),
        ("[" + ".".join("a" * 1_000) + "]", "nested too deep"),
        (".".join("a" * 100_000) + " = 1", "a line of more than 4,000 characters"),
        ("a = " + "9" * 400, "a number of 400 digits"),
        ("a = nan", "nan is no number to count with"),
        ("# " + "\n# " * 400_000, "larger than 1,048,576 bytes"),
    ],
    ids=["lists", "lists on lines", "tables", "a key", "a number", "nan", "a file"],
)
def test_what_no_space_needs_is_refused_at_once(tmp_path: Path, text: str, part: str) -> None:
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(SpaceError, match=part):
        load_space(tmp_path / "own.toml")


def test_a_list_has_an_upper_limit() -> None:
    tables = tomllib.loads((space_folder() / "lstn.toml").read_text(encoding="utf-8"))
    tables["tail"]["width"] = list(range(257))
    with pytest.raises(SpaceError, match=r"tail.width lists 257 values; 256 are the most"):
        Space.from_dict(tables, name="own")
