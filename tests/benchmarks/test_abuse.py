"""A hundred of the bad inputs of `make abuse`: one line each, and nothing touched."""

import random
from pathlib import Path

import abuse
import pytest


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[abuse.Case]:
    return abuse.all_cases(abuse.make_run(tmp_path_factory.mktemp("made-up") / "run"))


def test_there_are_more_than_a_thousand_of_all_kinds(cases: list[abuse.Case]) -> None:
    assert len(cases) > 1_000
    kinds = {case.kind for case in cases}
    assert kinds == {
        "options",
        "spaces",
        "names",
        "archs",
        "manifests",
        "studies",
        "contents",
        "checkpoints",
        "entries",
    }


def test_a_hundred_of_them_are_refused_in_one_line_and_touch_nothing(
    cases: list[abuse.Case], tmp_path: Path, cache_dir: Path
) -> None:
    kinds, wrong = abuse.run_cases(random.Random(1).sample(cases, 100), tmp_path)
    assert sum(kinds.values()) == 100
    assert wrong == []
    assert list(cache_dir.iterdir()) == []


def test_a_fault_is_found(tmp_path: Path) -> None:
    def broken(folder: Path) -> None:
        raise KeyError("task")

    (tmp_path / "a").mkdir()
    faults = {
        "traceback: KeyError": abuse.Case(kind="x", what="x", call=broken),
        "traceback: exit code 0": abuse.Case(kind="x", what="x", args=("space", "list")),
    }
    for words, case in faults.items():
        assert [line[: len(words)] for line in abuse.attempt(case, tmp_path / "a")] == [words]
