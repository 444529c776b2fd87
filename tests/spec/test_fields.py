"""Settings said once: what follows from a field, for made-up fields and for the real ones."""

import dataclasses
import re
import subprocess
import sys
from typing import Any, Literal, get_args

import pytest

from lstn_search.errors import SettingError
from lstn_search.jobs.launch import EngineName, EngineOptions
from lstn_search.spec.fields import (
    PANELS,
    changed,
    check,
    check_value,
    defaults,
    described,
    ignored_by,
    option_name,
    plain_type,
    setting,
)
from lstn_search.spec.settings import BudgetScope, SamplerName, SearchSettings
from lstn_search.spec.task import Kind, Protocol, Task


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Oven:
    """A dataclass with settings of every type, and one field that is none."""

    bread: str = setting(help="What to bake.", panel="Training")
    degrees: float = setting(220.0, help="How hot.", panel="Training", above=0, maximum=300)
    loaves: int = setting(1, help="How many.", panel="How long", minimum=1, elsewhere={"party": 9})
    sheet: int | None = setting(None, help="Which.", panel="How long", minimum=0, unset="the middle one")
    fan: Literal["on", "off"] = setting("on", help="on or off", panel="Training", choices=("on", "off"))
    colour: str = setting("red", help="No matter.", panel="Output", ignored_by={"taste": "one eats the bread"})
    oven: str = ""

    def __post_init__(self) -> None:
        check(self)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("degrees", 0, "degrees must be a number above 0 and up to 300, got 0"),
        ("degrees", float("nan"), "degrees must be a number above 0 and up to 300, got nan"),
        ("degrees", "hot", "degrees must be a number above 0 and up to 300, got 'hot'"),
        ("degrees", 300.1, "degrees must be a number above 0 and up to 300, got 300.1"),
        ("loaves", 0, "loaves must be a whole number of at least 1, got 0"),
        ("loaves", 1.0, "loaves must be a whole number of at least 1, got 1.0"),
        ("loaves", True, "loaves must be a whole number of at least 1, got True"),
        ("loaves", None, "loaves must be a whole number of at least 1, got None"),
        ("sheet", -1, "sheet must be a whole number of at least 0, got -1"),
        ("fan", "of", "unknown fan 'of'; did you mean 'off'?"),
    ],
)
def test_a_value_out_of_bounds_is_one_line(name: str, value: Any, words: str) -> None:
    for refuse in (lambda: Oven(**{"bread": "rye", name: value}), lambda: check_value(Oven, name, value)):
        with pytest.raises(SettingError) as caught:
            refuse()
        assert str(caught.value) == words


def test_what_is_within_bounds_passes() -> None:
    for values in ({"degrees": 300}, {"degrees": 0.1}, {"sheet": 0}, {"sheet": None}, {"loaves": 10**400}):
        Oven(bread="rye", **values)  # type: ignore[arg-type]


def test_what_follows_from_a_field() -> None:
    assert [field.name for field, _ in described(Oven)] == ["bread", "degrees", "loaves", "sheet", "fan", "colour"]
    assert [plain_type(field) for field, _ in described(Oven)] == [str, float, int, int, str, str]
    assert (defaults(Oven, "party"), defaults(Oven, "elsewhere")) == ({"loaves": 9}, {})
    assert (ignored_by(Oven, "taste"), ignored_by(Oven, "looks")) == ({"colour"}, set())
    oven = Oven(bread="rye", loaves=9, colour="blue", oven="another")
    assert changed(oven, {}) == {"bread": "rye", "loaves": 9, "colour": "blue"}
    assert changed(oven, {"loaves": 9, "fan": "off"}) == {"bread": "rye", "fan": "on", "colour": "blue"}


ALL = [(cls, *pair) for cls in (Task, SearchSettings, EngineOptions) for pair in described(cls)]


def test_every_setting_of_a_search_is_described() -> None:
    names = {cls: {field.name for field in dataclasses.fields(cls)} for cls in (Task, SearchSettings, EngineOptions)}
    composed = {"task", "space_name", "space_digest", "ladder"}  # of parts with options of their own
    for cls, described_names in names.items():
        assert described_names - {field.name for field, _ in described(cls)} <= composed


@pytest.mark.parametrize(("cls", "field", "known"), ALL, ids=[f"{cls.__name__}.{f.name}" for cls, f, _ in ALL])
def test_a_real_setting_says_what_it_is(cls: type, field: "dataclasses.Field[Any]", known: Any) -> None:
    assert known.panel in PANELS
    assert known.help.endswith(".")
    assert set(known.choices) <= set(re.findall(r"\w+", known.help))
    assert set(known.ignored_by) <= set(get_args(Kind))
    assert all(len(reason.split()) > 2 for reason in known.ignored_by.values())
    for value in (field.default, *known.elsewhere.values()):
        if value is not dataclasses.MISSING:
            check_value(cls, field.name, value)


def test_words_that_a_type_allows_are_those_that_are_checked() -> None:
    kinds: tuple[tuple[type, str, Any], ...] = (
        (Task, "protocol", Protocol),
        (SearchSettings, "sampler", SamplerName),
        (SearchSettings, "budget_scope", BudgetScope),
        (EngineOptions, "engine", EngineName),
    )
    for cls, name, kind in kinds:
        (known,) = (known for field, known in described(cls) if field.name == name)
        assert known.choices == get_args(kind)


def test_an_option_has_one_meaning() -> None:
    names = [option_name(field.name) for _, field, known in ALL if known.is_option]
    assert len(set(names)) == len(names)


def test_it_needs_no_torch() -> None:
    code = "import sys; from lstn_search.spec import fields; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
