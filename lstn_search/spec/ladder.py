"""The ladder: how far an architecture is trained, and who climbs to the next rung.

    the first rungs    recover: after `recover[0]`, `recover[1]`, ... percent of its steps, then all of it
    the others         joint training up to `epochs[0]`, `epochs[1]`, ... epochs in all

Promotion is asynchronous, as in ASHA (Li et al. 2020): whenever a worker is free, the best not yet promoted
architecture among the top 1/eta of a rung climbs; if there is none, a new architecture starts. "Best" is by constrained
non-dominated rank of (score, costs), and within a rank by what an architecture adds to the hypervolume, so what climbs
is the front and not one corner of it. Dead, failed and over-budget architectures do not climb. Seed points always do.
"""

import dataclasses
import itertools
from typing import Any

from lstn_search.errors import SettingError
from lstn_search.spec.reading import check_table, short

__all__ = ["DEFAULT_LADDER", "MAX_EPOCHS", "Ladder"]


MAX_EPOCHS = 100_000
"""Of any training; and a rung is not of more architectures."""
MAX_RUNGS = 100


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Ladder:
    """The declared rungs."""

    epochs: tuple[int, ...] = (1, 3, 9)
    """Joint epochs in all at the end of the rungs that follow recover: strictly rising."""
    eta: int = 3
    """One in eta of a rung's architectures climbs; 1: all that are alive and within the budget."""
    recover: tuple[int, ...] = ()
    """Percent of the task's recover steps at the end of the rungs that do not complete it: strictly rising."""

    def __post_init__(self) -> None:
        _check_rising("epochs", self.epochs, self)
        _check_rising("percent of recover", self.recover, self)
        if self.recover and self.recover[-1] >= 100:
            raise SettingError(
                f"the ladder recovers to below 100 % and then to all of it, got {self.text}; try 25%,1,3"
            )
        if isinstance(self.eta, bool) or not isinstance(self.eta, int) or not 1 <= self.eta <= MAX_EPOCHS:
            bound = f" and up to {MAX_EPOCHS}" * (isinstance(self.eta, int) and self.eta > 1)
            raise SettingError(f"eta must be a whole number of at least 1{bound}, got {short(self.eta)}")

    @property
    def recovered(self) -> int:
        """The number of the rung that completes recover."""
        return len(self.recover)

    @property
    def top(self) -> int:
        """The number of the highest rung; the first one is rung 0."""
        return self.recovered + len(self.epochs)

    def recover_steps(self, rung: int, steps: int) -> int:
        """How many of the task's recover `steps` are done at the end of a rung."""
        return max(1, steps * self.recover[rung] // 100) if rung < self.recovered else steps

    def joint_epochs(self, rung: int) -> int:
        """How many joint epochs are done at the end of a rung; 0 while it recovers."""
        return self.epochs[rung - self.recovered - 1] if rung > self.recovered else 0

    def check_rung(self, rung: int) -> None:
        """Raise SettingError unless the ladder has this rung."""
        if isinstance(rung, bool) or not isinstance(rung, int) or not 0 <= rung <= self.top:
            raise SettingError(f"the rungs are 0 (recover) to {self.top}, got {rung!r}")

    @property
    def text(self) -> str:
        """As `parse` reads it."""
        return ",".join([*(f"{percent}%" for percent in self.recover), *map(str, self.epochs)])

    @classmethod
    def parse(cls, text: str, eta: int = 3) -> "Ladder":
        """A ladder from `25%,1,3,9`: percent of recover first, where it is not one rung, then epochs."""
        parts = [part.strip() for part in text.split(",")]
        try:
            recover = tuple(int(part.removesuffix("%")) for part in parts if part.endswith("%"))
            epochs = tuple(int(part) for part in parts[len(recover) :])
        except ValueError:
            raise SettingError(
                f"the ladder {short(text)} is not a list of epochs, perhaps after percents of recover; "
                "write for example 25%,1,3,9"
            ) from None
        return cls(epochs=epochs, eta=eta, recover=recover)

    def to_dict(self) -> dict[str, Any]:
        """Every field, as JSON types."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Ladder":
        """Read what `to_dict` wrote, also before recover had rungs."""
        table = check_table(data, "ladder", known=("epochs", "eta", "recover"), error=SettingError)
        lists = {name: table.get(name, []) for name in ("epochs", "recover")}
        for name, numbers in lists.items():
            if not isinstance(numbers, list | tuple):
                raise SettingError(
                    f"the ladder's {name} must be a list of numbers, got {short(numbers)}; try [1, 3, 9]"
                )
        return cls(**{**table, **{name: tuple(numbers) for name, numbers in lists.items()}})


def _check_rising(what: str, numbers: tuple[int, ...], ladder: Ladder) -> None:
    if any(isinstance(e, bool) or not isinstance(e, int) or not 1 <= e <= MAX_EPOCHS for e in numbers):
        bound = f" (up to {MAX_EPOCHS})" * any(isinstance(e, int) and e > MAX_EPOCHS for e in numbers)
        raise SettingError(f"the ladder must be whole numbers of {what}{bound}, got {short(numbers)}; try 25%,1,3,9")
    if len(numbers) > MAX_RUNGS:
        raise SettingError(f"the ladder must have at most {MAX_RUNGS} rungs of {what}, got {len(numbers)}")
    if any(later <= earlier for earlier, later in itertools.pairwise(numbers)):
        raise SettingError(f"the ladder's {what} must rise, got {ladder.text}; try 25%,1,3,9")


DEFAULT_LADDER = Ladder(recover=(25,), epochs=(1, 3, 9))
"""Of a search, unless its space or its user says otherwise; docs/trial.md says why."""
