"""The study: proposes architectures within the budget, remembers what became of them.

Optuna draws; this module decides what is worth training. A proposal over the budget, or one that cannot be built, is
told to Optuna as infeasible (its samplers learn from the violation) and costs no trial. A proposal that expands to a
network already trained is told that network's result. Both stay in the study, marked by their `kind`.
"""

import dataclasses
import json
import random
import warnings
from collections import Counter

import optuna
from optuna.trial import TrialState

from lstn_search.arch import Arch
from lstn_search.cost import cost, fits
from lstn_search.results import TrialResult
from lstn_search.search.folder import STUDY_FILE, RunFolder
from lstn_search.search.settings import SamplerName, SearchSettings
from lstn_search.space import Choices, Space, Value
from lstn_search.train.workbench import seed_of

__all__ = ["Candidate", "Entry", "Study", "read_entries"]

STUDY_NAME = "lstn-search"
MAX_REJECTIONS = 20
"""Proposals in a row that the sampler may waste before a random network within the budget takes its turn."""
MAX_DRAWS = 5_000
"""Random draws without a new network within the budget after which the space counts as exhausted."""
UNBUILDABLE_GFLOPS = 1.0
"""The violation told for a network that cannot be built at both image sizes."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Candidate:
    """An architecture to train."""

    number: int
    """Of the Optuna trial."""
    name: str
    """The seed point's name, or `t` and the number."""
    arch: Arch
    is_seed: bool
    params: int
    """At the deployment size, like the two below."""
    macs: int
    gflops: float
    over_budget: bool
    """True only for seed points: they are trained as references whatever they cost."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Entry:
    """A candidate and what became of it."""

    candidate: Candidate
    result: TrialResult

    @property
    def accuracy(self) -> float:
        """Validation accuracy under the view, in percent; 0 when the trial failed."""
        return self.result.val_top1 or 0.0

    @property
    def on_offer(self) -> bool:
        """Whether it may stand on the front: within the budget, trained, and alive."""
        return self.result.status == "ok" and not self.candidate.over_budget


class Study:
    """One search's proposals and results, in the run folder's SQLite file."""

    def __init__(self, folder: RunFolder, space: Space) -> None:
        self.settings: SearchSettings = folder.settings
        self.space = space
        self._study = optuna.create_study(
            storage=optuna.storages.RDBStorage(folder.storage_url),
            study_name=STUDY_NAME,
            directions=["maximize", "minimize"],
            load_if_exists=True,
        )
        self._study.set_metric_names(["accuracy under the view", "GFLOPs"])
        self.entries, kinds = read_entries(folder)
        self._by_digest = {entry.candidate.arch.digest: entry for entry in self.entries}
        self.num_rejected, self.num_duplicates = kinds["rejected"], kinds["duplicate"]
        for trial in self._study.get_trials(deepcopy=False):
            if not trial.state.is_finished():  # in flight when the process died: proposed again
                self._study.tell(trial.number, state=TrialState.FAIL)

    # -- ask -----------------------------------------------------------------------------------------------------

    @property
    def num_trials(self) -> int:
        """Architectures trained, seed points not counted."""
        return sum(not entry.candidate.is_seed for entry in self.entries)

    def ask_seed(self) -> Candidate | None:
        """The next seed point not trained yet, or None; those the image size cannot build are left out."""
        for name, arch in self.space.seeds.items():
            if arch.digest not in self._by_digest and self._buildable(arch):
                return self._ask_for(self.space.encode(arch) or {}, arch, name)
        return None

    def ask(self) -> Candidate | None:
        """The next architecture to train, new and within the budget; None when the space is exhausted."""
        for _ in range(MAX_REJECTIONS):
            candidate = self._propose()
            if candidate is not None:
                return candidate
        choices = self._draw()
        return None if choices is None else self._ask_for(choices, self.space.expand(choices), None)

    def _propose(self) -> Candidate | None:
        """One proposal of the sampler, or None when it was rejected or a duplicate."""
        num_asked = len(self.entries) + self.num_rejected + self.num_duplicates
        self._study.sampler = _sampler(self.settings.sampler, seed_of(self.settings.seed, "sampler", num_asked))
        trial = self._study.ask()
        choices = self._walk(trial)
        arch = self.space.expand(choices)
        violation = self._violation(arch)
        if violation > 0:
            self.num_rejected += 1
            trial.set_user_attr("kind", "rejected")
            trial.set_constraint("gflops over budget", violation)
            self._study.tell(trial, [0.0, self.settings.budget_gflops + violation])
            return None
        twin = self._by_digest.get(arch.digest)
        if twin is not None:
            self.num_duplicates += 1
            trial.set_user_attr("kind", "duplicate")
            trial.set_user_attr("of", twin.candidate.number)
            trial.set_constraint("gflops over budget", violation)
            self._study.tell(trial, [twin.accuracy, twin.candidate.gflops])
            return None
        return self._candidate(trial, arch, None)

    def _walk(self, trial: optuna.Trial) -> Choices:
        def suggest(name: str, values: tuple[Value, ...]) -> Value:
            value = trial.suggest_categorical(name, values)
            assert value is not None and not isinstance(value, float)
            return value

        return self.space.walk(suggest)

    def _draw(self) -> Choices | None:
        """Random choices of a new network within the budget, or None when none turns up."""
        rng = random.Random(seed_of(self.settings.seed, "draw", len(self.entries)))
        for _ in range(MAX_DRAWS):
            choices = self.space.sample(rng)
            arch = self.space.expand(choices)
            if arch.digest not in self._by_digest and self._violation(arch) <= 0:
                return choices
        return None

    def _ask_for(self, choices: Choices, arch: Arch, name: str | None) -> Candidate:
        """A trial with these choices; none (`{}`) for a seed point outside the space."""
        self._study.enqueue_trial(dict(choices))
        trial = self._study.ask()
        if choices:
            self._walk(trial)
        return self._candidate(trial, arch, name)

    def _candidate(self, trial: optuna.Trial, arch: Arch, seed_name: str | None) -> Candidate:
        name = seed_name or f"t{trial.number}"
        candidate = _make_candidate(self.settings, trial.number, name, arch, is_seed=seed_name is not None)
        trial.set_constraint("gflops over budget", self.settings.violation(arch))
        for key, value in (("kind", "seed" if candidate.is_seed else "trial"), ("name", candidate.name)):
            trial.set_user_attr(key, value)
        trial.set_user_attr("arch", arch.to_json())
        return candidate

    def _buildable(self, arch: Arch) -> bool:
        return fits(arch, self.settings.task.image_size) and fits(arch, self.settings.task.trial_size)

    def _violation(self, arch: Arch) -> float:
        return self.settings.violation(arch) if self._buildable(arch) else UNBUILDABLE_GFLOPS

    # -- tell ----------------------------------------------------------------------------------------------------

    def tell(self, candidate: Candidate, result: TrialResult) -> Entry:
        """Record a result. A failed trial is told to the sampler as an accuracy of 0, not as missing."""
        entry = Entry(candidate=candidate, result=result)
        storage, trial_id = self._study._storage, self._study._storage.get_trial_id_from_study_id_trial_number(
            self._study._study_id, candidate.number
        )  # fmt: skip
        storage.set_trial_user_attr(trial_id, "result", json.dumps(result.to_dict()))
        self._study.tell(candidate.number, [entry.accuracy, candidate.gflops])
        self.entries.append(entry)
        self._by_digest[candidate.arch.digest] = entry
        return entry

    def give_up(self, candidate: Candidate) -> None:
        """Record that a trial was interrupted; it is proposed again when the search is resumed."""
        self._study.tell(candidate.number, state=TrialState.FAIL)


def read_entries(folder: RunFolder) -> tuple[list[Entry], Counter[str]]:
    """The trained architectures of a run, in the order of proposal, and the number of proposals of each kind."""
    settings = folder.settings
    entries: list[Entry] = []
    kinds: Counter[str] = Counter()
    if not (folder.path / STUDY_FILE).exists():
        return entries, kinds
    study = optuna.load_study(study_name=STUDY_NAME, storage=optuna.storages.RDBStorage(folder.storage_url))
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        attrs = trial.user_attrs
        kinds[attrs["kind"]] += 1
        if "result" in attrs:
            arch = Arch.from_json(attrs["arch"], where=f"trial {trial.number}")
            is_seed = attrs["kind"] == "seed"
            candidate = _make_candidate(settings, trial.number, attrs["name"], arch, is_seed=is_seed)
            entries.append(Entry(candidate=candidate, result=TrialResult.from_dict(json.loads(attrs["result"]))))
    return entries, kinds


def _make_candidate(settings: SearchSettings, number: int, name: str, arch: Arch, *, is_seed: bool) -> Candidate:
    facts = cost(arch, settings.task.image_size)
    return Candidate(
        number=number,
        name=name,
        arch=arch,
        is_seed=is_seed,
        params=facts.params,
        macs=facts.macs,
        gflops=facts.gflops,
        over_budget=settings.violation(arch) > 0,
    )


def _sampler(name: SamplerName, seed: int) -> optuna.samplers.BaseSampler:
    """A fresh sampler for one proposal: what it draws depends on the seed and the study's history, nothing else."""
    seed %= 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "tpe":
            return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)
        if name == "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=16)
        return optuna.samplers.RandomSampler(seed=seed)
