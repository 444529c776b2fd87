"""The ladder: what is a valid one, and what its rungs are."""

import pytest

from lstn_search.errors import SettingError
from lstn_search.spec.ladder import DEFAULT_LADDER, Ladder

LADDERS = (Ladder(epochs=(2, 6, 18)), Ladder(epochs=(4,)), Ladder(epochs=(1, 2), recover=(10, 25)), DEFAULT_LADDER)


def test_a_ladder_is_read_from_text() -> None:
    assert Ladder.parse("2,6,18") == Ladder(epochs=(2, 6, 18))
    assert Ladder.parse("10%, 25%, 4", eta=2) == Ladder(epochs=(4,), recover=(10, 25), eta=2)
    assert Ladder.parse("4").top == 1
    for ladder in LADDERS:
        assert Ladder.parse(ladder.text) == ladder
        assert Ladder.from_dict(ladder.to_dict()) == ladder


def test_a_ladder_from_before_recover_had_rungs_is_read() -> None:
    assert Ladder.from_dict({"epochs": [2, 6], "eta": 4}) == Ladder(epochs=(2, 6), eta=4)


def test_recover_comes_first_and_then_the_epochs() -> None:
    ladder = Ladder(recover=(10, 25), epochs=(2, 6))
    rungs = range(ladder.top + 1)
    assert [ladder.recover_steps(rung, 1000) for rung in rungs] == [100, 250, 1000, 1000, 1000]
    assert [ladder.joint_epochs(rung) for rung in rungs] == [0, 0, 0, 2, 6]
    assert ladder.recovered == 2
    assert ladder.recover_steps(0, 3) == 1  # a rung trains


@pytest.mark.parametrize("text", ["", "2,x", "6,2", "2,2", "0,1", "-1", "x%,2", "2,25%", "25%,10%,2", "100%,2", "0%,2"])
def test_a_ladder_that_makes_no_sense_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(SettingError, match=r"(try|for example) 25%,1,3"):
        Ladder.parse(text)


def test_eta_is_at_least_one() -> None:
    with pytest.raises(SettingError, match="eta"):
        Ladder(eta=0)
