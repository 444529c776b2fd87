"""The ladder: what is a valid one."""

import pytest

from lstn_search.errors import SettingError
from lstn_search.spec.ladder import Ladder


def test_a_ladder_is_read_from_text() -> None:
    assert Ladder.parse("2,6,18") == Ladder(epochs=(2, 6, 18))
    assert Ladder.parse("4").top == 1


@pytest.mark.parametrize("text", ["", "2,x", "6,2", "2,2", "0,1", "-1"])
def test_a_ladder_that_makes_no_sense_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(SettingError, match=r"try 2,6,18|for example 2,6,18"):
        Ladder.parse(text)


def test_eta_is_at_least_one() -> None:
    with pytest.raises(SettingError, match="eta"):
        Ladder(eta=0)
