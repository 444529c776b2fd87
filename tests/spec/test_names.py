"""Dataset names are known, and checked, without torch; names that files bring follow one rule."""

import subprocess
import sys

import pytest

from lstn_search.errors import DataError, SettingError
from lstn_search.spec.names import DATASET_NAMES, check_name, checked_label


def test_every_name_in_the_help_text_is_accepted() -> None:
    for name in DATASET_NAMES:
        check_name(name.replace("PATH", "somewhere"))


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(DataError, match=r"^unknown dataset 'caltec101'; did you mean 'caltech101'\?$"):
        check_name("caltec101")


@pytest.mark.parametrize("name", ["folder:", ""])
def test_a_name_without_its_path_is_refused(name: str) -> None:
    with pytest.raises(DataError):
        check_name(name)


def test_the_names_cost_no_import_of_torch() -> None:
    code = "import sys, lstn_search.data; lstn_search.data.DATASET_NAMES; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# -- names that files bring --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["lstn", "t7 deep", "T", "a-b_c.d", "places (2)", "3 units", "café", "网络", "x" * 100]
)
def test_a_name_is_kept_as_it_is(name: str) -> None:
    assert checked_label(name, "seed point", is_pick=True) == name


def test_two_forms_of_a_name_are_one() -> None:
    assert checked_label("cafe\u0301", "seed point") == checked_label("caf\u00e9", "seed point") == "caf\u00e9"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("", "x" * 101, "é" * 51, None, 7), "is no name; write 1 to 100 bytes"),
        (
            ("../../x", "/etc/x", "a\\b", "a:b", "a*b", "$x$", "\x1b[31m", "a\nb", "\u202ea", "\u200b", "\ud800"),
            "control",
        ),
        (
            ("=1+1", "+1", "-1", "@x", "\uff1d1", ".hidden", "~x", " x", "x ", "x."),
            "like a formula, an option or a hidden",
        ),
    ],
)
def test_a_name_that_could_do_harm_is_refused_in_one_line(names: tuple[object, ...], words: str) -> None:
    for name in names:
        with pytest.raises(SettingError, match=words) as caught:
            checked_label(name, "seed point")
        assert str(caught.value).startswith("seed point ") and str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["t7", "T07", "7", "best", "Knee", "none", "control", "oracle", "max-gflops=1"])
def test_a_word_that_picks_something_else_names_no_architecture(name: str) -> None:
    with pytest.raises(SettingError, match="means something else where an architecture is chosen"):
        checked_label(name, "seed point", is_pick=True)
    assert checked_label(name, "class") == name
