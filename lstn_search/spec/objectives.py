"""What a search trades off: accuracy, and what a network costs. The one table of it; no torch here.

A new cost is a row of `OBJECTIVES`, named like the field of `lstn_search.runs.entries.Candidate` that holds it.
"""

import dataclasses
from collections.abc import Sequence

from lstn_search.errors import SettingError, did_you_mean
from lstn_search.spec.reading import short

__all__ = ["DEFAULT_OBJECTIVES", "OBJECTIVES", "Objective", "check_objectives", "front_name"]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Objective:
    """One of them, and how it is written."""

    name: str
    """In settings and picks."""
    heading: str
    """In tables, on axes and in sentences: the unit of a cost."""
    format: str
    """Of its values in sentences, after the colon of an f-string."""
    is_cost: bool = True
    """Known before training and the lower the better; else measured by training and the higher the better."""

    def quote(self, value: float) -> str:
        """The value of a cost with its unit: `0.01 GFLOPs`."""
        return f"{value:{self.format}} {self.heading}"


OBJECTIVES = {
    row.name: row
    for row in (
        Objective(name="accuracy", heading="accuracy", format=".1f", is_cost=False),
        Objective(name="gflops", heading="GFLOPs", format="g"),
        Objective(name="params", heading="params", format=",.0f"),
    )
}
DEFAULT_OBJECTIVES = ("accuracy", "gflops")


def check_objectives(names: Sequence[str]) -> None:
    """Raise SettingError unless `names` are accuracy and then one or more costs, each once."""
    for name in names:
        if not isinstance(name, str) or name not in OBJECTIVES:
            raise SettingError(f"unknown objective {short(name)}; {did_you_mean(name, OBJECTIVES)}")
    costs = names[1:]
    if names[:1] != ("accuracy",) or not costs or "accuracy" in costs or len(set(costs)) < len(costs):
        raise SettingError(
            f"objectives {','.join(names)!r} are not accuracy and then one or more costs, each once; "
            f"write for example {','.join(DEFAULT_OBJECTIVES)}"
        )


def front_name(names: Sequence[str]) -> str:
    """`front`, or where the objectives are not the default `front of accuracy, GFLOPs and params`."""
    *others, last = (OBJECTIVES[name].heading for name in names)
    return "front" if tuple(names) == DEFAULT_OBJECTIVES else f"front of {', '.join(others)} and {last}"
