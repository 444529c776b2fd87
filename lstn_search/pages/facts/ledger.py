"""Where the compute went: seconds of training by stage, failures, and what cost nothing."""

import dataclasses
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from lstn_search.pages.facts.history import History

if TYPE_CHECKING:
    from lstn_search.runs.run import Run

__all__ = ["LedgerInfo", "Stage", "ledger_info"]


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Stage:
    """One line of the ledger."""

    name: str
    seconds: float
    """Of the worker that did it; two workers spend two seconds a second."""
    num: int | None
    """Rungs, references or proposals; None: nothing to count."""
    note: str = ""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class LedgerInfo:
    """The lines of the ledger and its sums."""

    stages: tuple[Stage, ...]
    seconds: float
    """Of all stages."""
    front_seconds: float
    """Of these, on all rungs of the architectures that stand on the final front."""
    wall_seconds: float | None
    """Of the search, or of its parts when it was resumed; None: it was killed before it could write that down."""

    @property
    def front_share(self) -> float:
        """Percent of all seconds that went into the final front."""
        return 100 * self.front_seconds / self.seconds if self.seconds else 0.0


def ledger_info(run: "Run", history: History) -> LedgerInfo:
    """The ledger of a run."""
    task, ladder = run.task, run.folder.settings.ladder
    seconds: dict[int, float] = defaultdict(float)
    nums: Counter[int] = Counter()
    failed = [0.0, 0]
    for entry in run.entries:
        for rung, result in enumerate(entry.results):
            if result.status == "failed":
                failed = [failed[0] + result.seconds, failed[1] + 1]
            else:
                seconds[rung] += result.seconds
                nums[rung] += 1
    kinds = Counter(proposal.kind for proposal in history.proposals)
    cached = "if it was in the cache, an earlier search spent these seconds"
    stages = []
    if "backbone" in run.folder.manifest:
        spent = run.folder.manifest["backbone"]["seconds"]
        stages.append(Stage(name="warm backbone", seconds=spent, num=1, note=cached))
    references = [result for rows in (run.references.control, run.references.oracle) for result in rows]
    if references:
        spent = sum(result.seconds for result in references)
        stages.append(Stage(name="control and oracle", seconds=spent, num=2, note=cached))
    before = 0
    for rung in range(ladder.top + 1):
        if rung <= ladder.recovered:
            steps = ladder.recover_steps(rung, task.recover_steps)
            name = "training (paper's protocol)" if task.protocol == "paper" else f"recover, {steps:,} steps in all"
        else:
            epochs = ladder.joint_epochs(rung)
            name = f"joint epochs {before + 1} to {epochs}" if epochs > before + 1 else f"joint epoch {epochs}"
            before = epochs
        stages.append(Stage(name=name, seconds=seconds[rung], num=nums[rung], note=f"rung {rung}"))
    stages += [
        Stage(name="failed rungs", seconds=failed[0], num=int(failed[1])),
        Stage(name="duplicates", seconds=0.0, num=kinds["duplicate"], note="answered from memory"),
        Stage(name="rejected proposals", seconds=0.0, num=kinds["rejected"], note="over budget or cannot be built"),
    ]
    return LedgerInfo(
        stages=tuple(stages),
        seconds=sum(stage.seconds for stage in stages),
        front_seconds=sum(entry.seconds for entry in run.front),
        wall_seconds=run.folder.manifest.get("seconds"),
    )
