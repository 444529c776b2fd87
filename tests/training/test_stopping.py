"""The paper's early stopping, by hand."""

import pytest

from lstn_search.training.stopping import EarlyStopping

LEVEL = [70.0, 70.2, 69.9, 70.1, 70.0, 70.2, 69.8, 70.0, 70.1, 70.0]
"""Mean 70.03; every one within 0.25 of it; the last one fell."""


@pytest.mark.parametrize(
    ("accuracies", "stops", "why"),
    [
        ([], False, "nothing has been trained"),
        (LEVEL, False, "10 of 12 epochs: below the floor"),
        ([20.0, *LEVEL], False, "11 of 12"),
        ([20.0, 50.0, *LEVEL], True, "12 epochs, level: what came before the last ten does not count"),
        ([20.0, 50.0, *LEVEL[:-1], 70.1], True, "the last one did not rise: it is the same as the one before"),
        ([20.0, 50.0, *LEVEL[:-1], 70.15], False, "still rising"),
        ([20.0, 50.0, 69.7, *LEVEL[1:]], False, "the first of the ten lies 0.3 below their mean of 70.0"),
        ([20.0, 50.0, *LEVEL[:-1], 69.7], False, "the last of the ten lies 0.3 below their mean of 70.0"),
        ([20.0, 50.0, 60.0, *LEVEL], True, "later than the floor is as good"),
    ],
)
def test_it_stops_past_the_floor_when_the_last_ten_are_level_and_the_last_did_not_rise(
    accuracies: list[float], stops: bool, why: str
) -> None:
    assert EarlyStopping(floor_epochs=12).should_stop(accuracies) is stops, why


def test_the_band_reaches_to_its_edge() -> None:
    edges = [50.25, 49.75] * 5  # mean 50
    assert EarlyStopping(floor_epochs=1).should_stop(edges)
    assert not EarlyStopping(floor_epochs=1, tolerance_points=0.2499).should_stop(edges)


def test_no_floor_is_below_the_window() -> None:
    stopping = EarlyStopping(floor_epochs=1)
    assert [n for n in range(12) if stopping.should_stop([5.0] * n)] == [10, 11]


def test_by_default_it_is_the_papers() -> None:
    stopping = EarlyStopping()
    assert (stopping.floor_epochs, stopping.window_epochs, stopping.tolerance_points) == (280, 10, 0.25)
