"""The study: proposes architectures within the budget, remembers what became of them.

Optuna draws; this module decides what is worth training. A proposal over the budget, or one that cannot be built, is
told to Optuna as infeasible (its samplers learn from the violation) and costs no trial. A proposal that expands to a
network already trained is told that network's result. Both stay in the study, marked by their `kind`.

The sampler is told how an architecture did on rung 0, the only rung they all share; who climbs further is the
ladder's business. Every finished rung is a row of a second Optuna study in the same storage, written in one
transaction, before anything else happens to it.

Proposals are drawn in a copy of the study in memory and written to the storage when they are decided, in one
transaction too, so a proposal that a crash interrupts leaves no trace and is made again. What was being trained when a
search ended stays in the study as running and is handed out first when it goes on. So an interrupted search proposes
what an uninterrupted one would have proposed, under the same names.
"""

import contextlib
import json
import random
from collections import Counter

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from lstn_search.errors import SpaceError
from lstn_search.runs.entries import (
    WORST_SCORE,
    Candidate,
    Entry,
    make_candidate,
    read_rungs,
    read_trials,
    score,
    score_name,
)
from lstn_search.runs.folder import RunFolder
from lstn_search.spec import moves, pareto
from lstn_search.spec.arch import Arch
from lstn_search.spec.cost import fits
from lstn_search.spec.results import TrialResult
from lstn_search.spec.seeding import seed_of
from lstn_search.spec.settings import SearchSettings
from lstn_search.spec.space import Choices, Space
from lstn_search.study.samplers import evolve, make_sampler
from lstn_search.study.start import given_archs

__all__ = ["Study"]

CONSTRAINT = "gflops over budget"
MAX_REJECTIONS = 5
"""Proposals in a row that the sampler may waste before a neighbour of its last duplicate, or a random network, takes
their turn. In a study of thousands TPE asks nine times of ten for what is trained already, and takes seconds to ask."""
NEIGHBOUR_STEPS = 50
"""How far to walk from a duplicate for a new network within the budget."""
MAX_DRAWS = 1_000
"""Random draws, each followed by a step to a neighbour, without a new network within the budget after which the space
counts as exhausted."""
UNBUILDABLE_GFLOPS = 1.0
"""The violation told for a network that cannot be built at both image sizes."""

optuna.logging.set_verbosity(optuna.logging.ERROR)


class Study:
    """One search's proposals and results, in the run's storage.

    Raises RunError when that cannot be read or written; so do `ask_seed`, `ask` and `record`.
    """

    def __init__(self, folder: RunFolder, space: Space) -> None:
        self.folder = folder
        self.settings: SearchSettings = folder.settings
        self.space = space
        directions = [StudyDirection.MAXIMIZE, *(StudyDirection.MINIMIZE for _ in self.settings.costs)]
        headings = [cost.heading for cost in self.settings.costs]
        with folder.storage.guarded():
            storage = folder.storage.open()
            self._study, self._rungs = (
                optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)
                for name in (folder.study_name, folder.rungs_name)
            )
            self._study.set_user_attr("run", folder.manifest["id"])
            self._study.set_metric_names([score_name(self.settings), *headings])
            self._rungs.set_metric_names(["accuracy under the view", *headings])
            trials = self._study.get_trials(deepcopy=False)
            self._in_memory = optuna.create_study(directions=directions)  # what the samplers see
            self._in_memory.add_trials(trials)
            self.history = read_rungs(self._rungs.get_trials(deepcopy=False))
            self.entries = read_trials(self.settings, trials, self.history)
            self._by_digest = {entry.candidate.arch.digest: entry for entry in self.entries}
            self._by_number = {entry.candidate.number: entry for entry in self.entries}
            kinds = Counter(trial.user_attrs.get("kind") for trial in trials if trial.state.is_finished())
            self.num_rejected, self.num_duplicates = kinds["rejected"], kinds["duplicate"]
            self._num_wasted, self._last_twin = _wasted(trials)
            self._pending: list[Candidate] = []
            self._given = given_archs(folder)
            for trial in trials:
                if trial.state == TrialState.RUNNING and self._by_number[trial.number].results:
                    self._tell_sampler(self._by_number[trial.number])  # killed between the two records of a result
                elif trial.state == TrialState.RUNNING:
                    self._pending.append(self._by_number[trial.number].candidate)
        if not folder.manifest.get("study_begun"):
            folder.write_manifest(study_begun=True)

    # -- ask -----------------------------------------------------------------------------------------------------

    @property
    def num_trials(self) -> int:
        """Architectures that are or will be trained, seed points and those waiting in `ask` not counted."""
        return sum(not entry.candidate.is_seed for entry in self.entries) - sum(
            not candidate.is_seed for candidate in self._pending
        )

    def ask_seed(self) -> Candidate | None:
        """The next seed point not trained yet, or None; those the image size cannot build are left out."""
        for candidate in self._pending:
            if candidate.is_seed:
                self._pending.remove(candidate)
                return candidate
        for name, arch in self.space.seeds.items():
            if arch.digest not in self._by_digest and self._buildable(arch):
                with self.folder.storage.guarded():
                    return self._ask_for(self.space.encode(arch), arch, name)
        return None

    def ask(self) -> Candidate | None:
        """The next architecture to train, new and within the budget; None when no more can be found."""
        if self._pending:
            return self._pending.pop(0)
        while self._given:
            name, arch = self._given.pop(0)
            if arch.digest not in self._by_digest:
                with self.folder.storage.guarded():
                    return self._ask_for(self.space.encode(arch), arch, None, given_as=name)
        with self.folder.storage.guarded():
            while self._num_wasted < MAX_REJECTIONS:
                candidate = self._propose()
                if candidate is not None:
                    return candidate
                self._num_wasted += 1
            choices = self._neighbour() or self._draw()
            return None if choices is None else self._ask_for(choices, self.space.expand(choices), None)

    def _propose(self) -> Candidate | None:
        """One proposal of the sampler, or None when it was rejected or a duplicate."""
        trial = self._begin(self._evolve() if self.settings.sampler == "evolution" else None)
        arch = self.space.suggest(trial)
        violation = self._violation(arch)
        if violation > 0:
            self.num_rejected += 1
            over = self.settings.budget_gflops + violation  # for any cost: samplers go by the violation
            self._close(trial, "rejected", violation, [WORST_SCORE, *(over for _ in self.settings.costs)])
            return None
        twin = self._by_digest.get(arch.digest)
        if twin is not None:
            self.num_duplicates += 1
            trial.set_user_attr("of", twin.candidate.number)
            self._last_twin = twin.candidate.number
            values = [score(self.settings, twin.results[0]), *twin.candidate.costs] if twin.results else None
            self._close(trial, "duplicate", violation, values)
            return None
        return self._candidate(trial, arch, None)

    def _begin(self, fixed: Choices | None = None) -> optuna.Trial:
        """A new Optuna trial. Its sampler's seed counts the proposals so far, so a lost one is drawn again."""
        seed = seed_of(self.settings.seed, "sampler", self._num_asked)
        self._in_memory.sampler = make_sampler(self.settings.sampler, seed, fixed)
        return self._in_memory.ask()

    def _evolve(self) -> Choices | None:
        """A child of the rung 0 front: of architectures within the budget, alive or still waiting for their verdict."""
        measured = [
            entry
            for entry in self.entries
            if entry.results and entry.results[0].status == "ok" and not entry.candidate.over_budget
        ]
        points = [(score(self.settings, entry.results[0]), *entry.candidate.costs) for entry in measured]
        parents = [self.space.relative(measured[i].candidate.arch) for i in pareto.front(points)]
        rng = random.Random(seed_of(self.settings.seed, "evolution", self._num_asked))
        return evolve(self.space, [choices for choices in parents if choices is not None], self._affordable, rng)

    @property
    def _num_asked(self) -> int:
        return len(self.entries) + self.num_rejected + self.num_duplicates

    def _close(self, trial: optuna.Trial, kind: str, violation: float, values: list[float] | None) -> None:
        """End a proposal that is not trained; without values (its twin has none yet) it is told as failed."""
        trial.set_user_attr("kind", kind)
        trial.set_constraint(CONSTRAINT, violation)
        self._in_memory.tell(trial, values, state=None if values else TrialState.FAIL)
        self._store(trial)

    def _store(self, trial: optuna.Trial) -> None:
        """Write a proposal to the storage, in one transaction."""
        self._study.add_trial(self._in_memory.get_trials(deepcopy=False)[trial.number])

    def _neighbour(self) -> Choices | None:
        """A new network within the budget near the one the sampler asked for last although it was trained, if any."""
        choices = (
            None if self._last_twin is None else self.space.encode(self._by_number[self._last_twin].candidate.arch)
        )
        rng = random.Random(seed_of(self.settings.seed, "neighbour", self._num_asked))
        with contextlib.suppress(SpaceError):  # a space of one network has no neighbours
            for _ in range(NEIGHBOUR_STEPS if choices is not None else 0):
                choices = moves.mutate(self.space, choices, rng)  # type: ignore[arg-type]
                if self._is_new(choices) and self._affordable(self.space.expand(choices)):
                    return choices
        return None

    def _draw(self) -> Choices | None:
        """Random choices of a new network within the budget, or None when none turns up."""
        rng = random.Random(seed_of(self.settings.seed, "draw", len(self.entries)))
        for _ in range(MAX_DRAWS):
            choices = moves.repair(self.space, self.space.sample(rng), self._affordable, rng)
            if choices is not None and self._is_new(choices):
                return choices
            with contextlib.suppress(SpaceError):  # a space of one network has no neighbours
                choices = None if choices is None else moves.mutate(self.space, choices, rng)
                if choices is not None and self._is_new(choices) and self._affordable(self.space.expand(choices)):
                    return choices
        return None

    def _ask_for(
        self, choices: Choices | None, arch: Arch, name: str | None, *, given_as: str | None = None
    ) -> Candidate:
        """A trial with these choices; with none for an architecture outside the space. `given_as` is its name in the
        run that this one started from."""
        trial = self._begin(choices)
        if choices:
            self.space.suggest(trial)
        if given_as is not None:
            trial.set_user_attr("given as", given_as)
        return self._candidate(trial, arch, name)

    def _candidate(self, trial: optuna.Trial, arch: Arch, seed_name: str | None) -> Candidate:
        self._num_wasted, self._last_twin = 0, None
        trial.set_constraint(CONSTRAINT, self.settings.violation(arch))
        trial.set_user_attr("kind", "trial" if seed_name is None else "seed")
        trial.set_user_attr("name", seed_name or f"t{trial.number}")
        trial.set_user_attr("arch", arch.to_json())
        self._store(trial)
        name, is_seed = seed_name or f"t{trial.number}", seed_name is not None
        candidate = make_candidate(self.settings, trial.number, name, arch, is_seed=is_seed)
        entry = Entry(candidate=candidate)
        self.entries.append(entry)
        self._by_digest[arch.digest] = self._by_number[candidate.number] = entry
        return candidate

    def _buildable(self, arch: Arch) -> bool:
        return fits(arch, self.settings.task.image_size) and fits(arch, self.settings.task.trial_size)

    def _violation(self, arch: Arch) -> float:
        return self.settings.violation(arch) if self._buildable(arch) else UNBUILDABLE_GFLOPS

    def _affordable(self, arch: Arch) -> bool:
        return self._violation(arch) <= 0

    def _is_new(self, choices: Choices) -> bool:
        return self.space.expand(choices).digest not in self._by_digest

    # -- record --------------------------------------------------------------------------------------------------

    def entry(self, number: int) -> Entry:
        """The architecture of an Optuna trial."""
        return self._by_number[number]

    def record(self, candidate: Candidate, rung: int, result: TrialResult) -> Entry:
        """Keep a finished rung, in one transaction; on rung 0 the sampler is told, of a failure too."""
        entry = self._by_number[candidate.number]
        assert rung == len(entry.results), (rung, len(entry.results))
        attrs = {
            "trial": candidate.number,
            "name": candidate.name,
            "rung": rung,
            "result": json.dumps(result.to_dict()),
        }
        values = [result.accuracy or 0.0, *candidate.costs]
        with self.folder.storage.guarded():
            self._rungs.add_trial(optuna.trial.create_trial(values=values, user_attrs=attrs))
            entry.results.append(result)
            if rung == 0:
                self._tell_sampler(entry)
        return entry

    def _tell_sampler(self, entry: Entry) -> None:
        values = [score(self.settings, entry.results[0]), *entry.candidate.costs]
        self._study.tell(entry.candidate.number, values)
        self._in_memory.tell(entry.candidate.number, values)


def _wasted(trials: list[FrozenTrial]) -> tuple[int, int | None]:
    """How many rejected or duplicate proposals have come since the last architecture that was worth training, and whose
    duplicate the last of them was."""
    num, twin = 0, None
    for trial in trials:
        kind = trial.user_attrs.get("kind")
        if kind in ("rejected", "duplicate") and trial.state.is_finished():
            num, twin = num + 1, trial.user_attrs.get("of", twin)
        elif "arch" in trial.user_attrs:
            num, twin = 0, None
    return num, twin
