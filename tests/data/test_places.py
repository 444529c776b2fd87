"""Images are looked for where people keep them, in an order that is said; and what is missing is said at once."""

from pathlib import Path

import pytest

from lstn_search.data.places import download_dir, find_data_dir, located
from lstn_search.errors import DataError
from lstn_search.spec.task import Task

MARK = "caltech101/101_ObjectCategories"


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The three places, of which none holds anything; the variable is not set."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("LSTN_DATA_DIR", raising=False)
    monkeypatch.setattr("platformdirs.user_data_dir", lambda name: str(tmp_path / "user" / name))
    return {
        "variable": tmp_path / "variable",
        "working folder": tmp_path / "here" / "data",
        "user": tmp_path / "user" / "lstn-search",
    }


def test_the_variable_comes_first_then_the_working_folder_then_the_user_s(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert download_dir() == places["user"]
    for name in ("user", "working folder"):
        (places[name] / MARK).mkdir(parents=True)
        assert find_data_dir("caltech101") == places[name]
        assert located(Task(dataset="caltech101")).data_dir == str(places[name])
    monkeypatch.setenv("LSTN_DATA_DIR", str(places["variable"]))
    with pytest.raises(DataError, match=r"not in \$LSTN_DATA_DIR"):  # whoever says where does not mean elsewhere
        find_data_dir("caltech101")
    assert download_dir() == places["variable"]
    (places["variable"] / MARK).mkdir(parents=True)
    assert find_data_dir("caltech101") == places["variable"]


@pytest.mark.usefixtures("places")
@pytest.mark.parametrize("name", ["caltech101", "cifar10", "gtsrb", "tsrd"])
def test_what_is_nowhere_is_one_line_with_the_way_to_get_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        located(Task(dataset=name))
    assert str(error.value).startswith(
        f"dataset {name!r} is not in {tmp_path / 'here' / 'data'} or {tmp_path / 'user'}"
    )
    assert ("get it with `" in str(error.value)) is (name in ("caltech101", "cifar10"))
    for given in (tmp_path / "nowhere", tmp_path / "here"):
        if given.exists() and name in ("gtsrb", "tsrd"):
            continue  # folders of any name may be theirs: reading tells
        with pytest.raises(DataError, match=given.name):
            located(Task(dataset=name, data_dir=str(given)))


@pytest.mark.usefixtures("places")
def test_a_folder_is_where_it_is_or_where_it_is_said_to_be_now(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for task in (
        Task(dataset=f"folder:{tmp_path / 'images'}"),
        Task(dataset="folder:elsewhere", data_dir=str(tmp_path / "images")),
        Task(dataset="glyphs"),
        Task(dataset="caltech101", data_dir=str(tmp_path / "101_ObjectCategories")),
    ):
        (tmp_path / "101_ObjectCategories").mkdir(exist_ok=True)
        assert located(task) == task
    with pytest.raises(DataError, match="no folder elsewhere; give the path of a folder"):
        located(Task(dataset="folder:elsewhere"))
