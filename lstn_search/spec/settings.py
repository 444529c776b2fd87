"""What a search was asked to do: the part of the manifest that a resumed run must agree with. No torch here."""

import dataclasses
import math
from typing import Any, Literal, get_args

from lstn_search.errors import BudgetError, SettingError
from lstn_search.spec import moves
from lstn_search.spec.arch import Arch
from lstn_search.spec.cost import cost, transformer_cost
from lstn_search.spec.fields import DATA, SEARCH, check, setting
from lstn_search.spec.ladder import DEFAULT_LADDER, Ladder
from lstn_search.spec.names import checked_label
from lstn_search.spec.objectives import DEFAULT_OBJECTIVES, OBJECTIVES, Objective, check_objectives
from lstn_search.spec.reading import MAX_NUMBER, check_table, short
from lstn_search.spec.space import Space
from lstn_search.spec.task import Task

__all__ = ["BudgetScope", "SamplerName", "SearchSettings", "check_budget"]

SamplerName = Literal["tpe", "nsga2", "random", "evolution"]
BudgetScope = Literal["localizer", "stn"]

MAX_GFLOPS = 1_000_000


def _check_gflops(budget: Any) -> None:
    if isinstance(budget, bool) or not (isinstance(budget, int | float) and 0 < budget <= MAX_GFLOPS):
        bound = f" up to {MAX_GFLOPS:,}" * (isinstance(budget, int | float) and MAX_GFLOPS < budget < math.inf)
        raise BudgetError(f"the budget must be a positive number of GFLOPs{bound}, got {short(budget)}; try 0.03")


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class SearchSettings:
    """The task, the budget and the sampler. How long to search (trials, minutes) is not part of it: a resumed run may
    go on for longer."""

    task: Task
    budget_gflops: float = setting(
        help="At --image-size, in the paper's convention.", panel=SEARCH, checked_by=_check_gflops
    )
    space_name: str
    space_digest: str
    sampler: SamplerName = setting(
        "tpe", help="tpe, nsga2, evolution or random.", panel=SEARCH, choices=get_args(SamplerName)
    )
    budget_scope: BudgetScope = setting(
        "localizer",
        help="What the budget limits: the localizer, or stn: with grid generator and sampler.",
        panel=SEARCH,
        choices=get_args(BudgetScope),
    )
    ladder: Ladder = DEFAULT_LADDER
    """How far architectures climb. The paper's protocol has a single rung, the whole training."""
    objectives: tuple[str, ...] = setting(
        DEFAULT_OBJECTIVES,
        help="What the front is of: accuracy, then one or more costs (gflops, params), with commas.",
        panel=SEARCH,
        checked_by=check_objectives,
    )
    """The budget is of GFLOPs in any case."""
    start_from: str | None = setting(
        None,
        help="An earlier run: what stands on its front and fits the budget is trained first.",
        panel=SEARCH,
        is_path=True,
        unset="the seed points alone",
    )
    seed: int = setting(
        0,
        help="Of the sampler; the task has its own.",
        panel=DATA,
        is_option=False,
        limit=MAX_NUMBER,
    )

    def __post_init__(self) -> None:
        if self.task.protocol == "paper":
            object.__setattr__(self, "ladder", Ladder(epochs=()))
        if isinstance(self.objectives, str):  # as on the command line
            object.__setattr__(self, "objectives", tuple(name.strip() for name in self.objectives.split(",")))
        checked_label(self.space_name, "space")
        if not isinstance(self.space_digest, str):
            raise SettingError(f"space digest must be text, got {short(self.space_digest)}")
        check(self)

    @property
    def costs(self) -> tuple[Objective, ...]:
        """The objectives besides accuracy."""
        return tuple(OBJECTIVES[name] for name in self.objectives[1:])

    @property
    def overhead_gflops(self) -> float:
        """What the budget's scope adds to every localizer."""
        return transformer_cost(self.task.image_size).gflops if self.budget_scope == "stn" else 0.0

    def violation(self, arch: Arch) -> float:
        """By how many GFLOPs `arch` exceeds the budget; 0 or less: within it. ArchError when it cannot be built."""
        return cost(arch, self.task.image_size).gflops + self.overhead_gflops - self.budget_gflops

    def to_dict(self) -> dict[str, Any]:
        """Every setting, as JSON types."""
        return {**dataclasses.asdict(self), "ladder": self.ladder.to_dict(), "objectives": list(self.objectives)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "SearchSettings":
        """Read what `to_dict` wrote, also before it wrote objectives."""
        known = {field.name: field.default is dataclasses.MISSING for field in dataclasses.fields(cls)}
        needed = [name for name, is_needed in known.items() if is_needed]
        table = check_table(data, "settings", known=known, needed=[*needed, "ladder"], error=SettingError)
        objectives = table.get("objectives", DEFAULT_OBJECTIVES)
        if not isinstance(objectives, list | tuple):
            raise SettingError(f"objectives must be a list, got {short(objectives)}")
        parts = {"task": Task.from_dict(table["task"]), "ladder": Ladder.from_dict(table["ladder"])}
        return cls(**{**table, **parts, "objectives": tuple(objectives)})


def check_budget(settings: SearchSettings, space: Space) -> None:
    """Raise BudgetError, naming the least any network of the space costs, when none fits the budget."""
    task = settings.task
    least, _ = moves.cheapest(space, task.image_size, task.trial_size)
    least += settings.overhead_gflops
    if least > settings.budget_gflops:
        raise BudgetError(
            f"no network of space {space.name!r} fits a budget of {settings.budget_gflops:g} GFLOPs at "
            f"{task.image_size} px; the cheapest needs {_round_up(least)}: raise --budget-gflops"
        )


def _round_up(gflops: float) -> str:
    """Six digits after the point, upwards, so that the number named is one that works."""
    millionths = math.ceil(gflops * 1e6)
    if millionths / 1e6 < gflops:
        millionths += 1
    return f"{millionths / 1e6:.6f}"
