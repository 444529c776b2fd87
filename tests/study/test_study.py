"""Proposals: what is trained, what is told to Optuna, and that a search can stop anywhere."""

import contextlib
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import optuna
import pytest
import sqlalchemy
from optuna.trial import FrozenTrial, TrialState
from small_search import BUDGET_GFLOPS, NUM_SEEDS, make_folder, make_settings, play, pretend, write_space

from lstn_search.errors import RunError, SettingError
from lstn_search.runs.entries import WORST_SCORE, Entry, read_entries
from lstn_search.runs.folder import RunFolder
from lstn_search.spec import moves
from lstn_search.spec.cost import cost
from lstn_search.spec.results import TrialResult
from lstn_search.spec.settings import SamplerName, SearchSettings
from lstn_search.spec.space import Space, load_space
from lstn_search.study.study import CONSTRAINT, Study

SAMPLERS = get_args(SamplerName)


@pytest.fixture(autouse=True, scope="module")
def unsafe_but_fast() -> Iterator[None]:
    """These tests do not switch the power off, so SQLite need not wait for the disk."""

    def relax(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", relax)
    yield
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", relax)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Space:
    return load_space(write_space(tmp_path_factory.mktemp("space")))


def smaller(space: Space, **values: Any) -> Space:
    """The space without seed points and with other values under some names."""
    return Space(name="smaller", values={**space.values, **values})


def new_study(path: Path, space: Space, **changes: Any) -> Study:
    return Study(make_folder(path, make_settings(space, **changes)), space)


def reopen(study: Study) -> Study:
    """The study as the next process finds it."""
    return Study(make_folder(study.folder.path, study.settings, resume=True), study.space)


def stored(study: Study) -> list[FrozenTrial]:
    """Optuna's own reading of the study."""
    loaded = optuna.load_study(study_name="lstn-search", storage=study.folder.storage.open())
    return loaded.get_trials(deepcopy=False)


def finished(study: Study) -> list[Entry]:
    return [entry for entry in study.entries if entry.results]


def proposals(entries: list[Entry]) -> list[tuple[str, str]]:
    return [(entry.candidate.name, entry.candidate.arch.digest) for entry in entries]


# -- the contract of every sampler -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS, scope="class")
class TestEverySampler:
    TRIALS = 14

    @pytest.fixture(scope="class")
    @staticmethod
    def study(sampler: str, space: Space, tmp_path_factory: pytest.TempPathFactory) -> Study:
        study = new_study(tmp_path_factory.mktemp(sampler) / "run", space, sampler=sampler)
        play(study, TestEverySampler.TRIALS)
        return study

    def test_seed_points_come_first_and_do_not_count(self, study: Study, space: Space) -> None:
        names = [entry.candidate.name for entry in study.entries]
        assert names[:NUM_SEEDS] == list(space.seeds)
        assert len(names) == NUM_SEEDS + self.TRIALS
        assert study.num_trials == self.TRIALS

    def test_nothing_over_budget_is_trained_but_marked_seed_points(self, study: Study) -> None:
        for entry in study.entries:
            is_over = cost(entry.candidate.arch, 48).gflops > BUDGET_GFLOPS
            assert entry.candidate.over_budget == is_over
            assert entry.candidate.is_seed or not is_over
        assert [entry.candidate.name for entry in study.entries if entry.candidate.over_budget] == ["costly"]

    def test_no_network_is_trained_twice(self, study: Study) -> None:
        digests = [entry.candidate.arch.digest for entry in study.entries]
        assert len(set(digests)) == len(digests)

    def test_rejections_use_no_trial_and_are_told_as_infeasible(self, study: Study, space: Space, sampler: str) -> None:
        rejected = [trial for trial in stored(study) if trial.user_attrs["kind"] == "rejected"]
        assert len(rejected) == study.num_rejected
        assert (study.num_rejected > 0) == (sampler != "evolution")  # which repairs what it proposes
        for trial in rejected:
            violation = trial.constraints[CONSTRAINT]
            assert trial.state == TrialState.COMPLETE
            assert violation == pytest.approx(cost(space.expand(trial.params), 48).gflops - BUDGET_GFLOPS)
            assert violation > 0

    def test_what_was_trained_is_told_with_its_result(self, study: Study) -> None:
        told = {trial.number: trial for trial in stored(study)}
        for entry in study.entries:
            trial = told[entry.candidate.number]
            assert trial.values == [-entry.results[0].corner_error_px, entry.candidate.gflops]
            assert (trial.constraints[CONSTRAINT] > 0) == entry.candidate.over_budget

    def test_duplicates_are_told_their_twin_s_values(self, study: Study, space: Space) -> None:
        told = {trial.number: trial for trial in stored(study)}
        duplicates = [trial for trial in told.values() if trial.user_attrs["kind"] == "duplicate"]
        assert len(duplicates) == study.num_duplicates
        for trial in duplicates:
            twin = told[trial.user_attrs["of"]]
            assert trial.values == twin.values
            assert space.expand(trial.params).to_json() == twin.user_attrs["arch"]

    def test_nothing_else_is_in_the_study(self, study: Study) -> None:
        kinds = Counter(trial.user_attrs["kind"] for trial in stored(study))
        assert kinds == Counter(
            {"seed": NUM_SEEDS, "trial": self.TRIALS, "rejected": study.num_rejected, "duplicate": study.num_duplicates}
        )

    def test_what_is_read_back_is_what_was_told(self, study: Study) -> None:
        assert read_entries(study.folder) == study.entries

    def test_a_search_that_was_killed_in_training_proposes_the_same(
        self, study: Study, sampler: str, space: Space, tmp_path: Path
    ) -> None:
        other = new_study(tmp_path / "run", space, sampler=sampler)
        for stop in (2, 4, 13, 13, 16):  # twice in the same trial
            play(other, self.TRIALS, until=lambda _, stop=stop, other=other: len(finished(other)) == stop)
            assert len(finished(other)) == stop
            other = reopen(other)
        assert proposals(play(other, self.TRIALS)) == proposals(study.entries)
        assert (other.num_rejected, other.num_duplicates) == (study.num_rejected, study.num_duplicates)

    def test_a_search_that_was_killed_while_asking_proposes_the_same(
        self, study: Study, sampler: str, space: Space, tmp_path: Path
    ) -> None:
        other = new_study(tmp_path / "run", space, sampler=sampler)
        for trials in (3, 12):
            play(other, trials)
            with warnings.catch_warnings(action="ignore"):
                trial = other._begin()  # what `ask` does first
                if trials > 3:
                    other.space.suggest(trial)
            other = reopen(other)
        digests = [digest for _, digest in proposals(play(other, self.TRIALS))]
        assert digests == [digest for _, digest in proposals(study.entries)]

    def test_another_seed_proposes_something_else(
        self, study: Study, sampler: str, space: Space, tmp_path: Path
    ) -> None:
        other = new_study(tmp_path / "run", space, sampler=sampler, seed=1)
        assert proposals(play(other, 3))[NUM_SEEDS:] != proposals(study.entries)[NUM_SEEDS : NUM_SEEDS + 3]


def test_nsga2_breeds_networks_of_every_depth(space: Space, tmp_path: Path) -> None:
    """Optuna's own would inherit only what all trials have in common: nothing, after a seed point outside the space."""
    study = new_study(tmp_path / "run", space, sampler="nsga2")
    play(study, 24)
    trials = stored(study)
    bred = [trial for trial in trials if trial.system_attrs.get("_NSGA2:generation", 0) > 0 and trial.params]
    assert len(bred) > 10
    relatives = 0
    for child in bred:
        parents = [trial.params for trial in trials if trial.number < child.number]
        blocks = {name.partition(".")[0] for name in child.params}
        inherited = sum(
            any(
                all(parent.get(name) == value for name, value in child.params.items() if name.startswith(block))
                for parent in parents
            )
            for block in blocks
        )
        relatives += inherited >= len(blocks) - 2
    assert relatives > 0.8 * len(bred)
    deep = [trial for trial in bred if trial.params["units"] == 1]
    assert {name for trial in deep for name in trial.params} > {"unit1.kind", "unit1.encoder"}


# -- the rest ----------------------------------------------------------------------------------------------------------


def test_a_small_space_is_searched_to_its_end(space: Space, tmp_path: Path) -> None:
    few = smaller(
        space,
        **{
            "units": (0,), "norm": ("none",), "stem.kernel": (3,), "stem.stride": (2, 3), "stem.width": (4, 6),
            "head.hidden": (0, 16), "head.pool_to": (2,),
        },
    )  # fmt: skip
    assert few.count() == 8
    study = new_study(tmp_path / "run", few, budget_gflops=1.0)
    play(study, 100)
    assert study.num_trials == 8
    assert study.ask() is None


def test_a_space_of_one_network_is_searched_to_its_end(space: Space, tmp_path: Path) -> None:
    one = smaller(space, **{name: values[:1] for name, values in space.values.items()})
    assert one.count() == 1
    study = new_study(tmp_path / "run", one)
    play(study, 100)
    assert study.num_trials == 1


def test_a_budget_that_hardly_anything_meets_is_filled(tmp_path: Path) -> None:
    """In the large space a random network meets this budget once in thousands of draws."""
    large = Space(name="large", values=load_space("lstn").values)
    least, _ = moves.cheapest(large, 48, 24)
    study = new_study(tmp_path / "run", large, budget_gflops=1.2 * least, sampler="random")
    play(study, 2)
    assert study.num_trials == 2
    assert all(cost(entry.candidate.arch, 48).gflops <= 1.2 * least for entry in study.entries)


def test_a_failed_trial_is_told_as_the_worst_and_never_offered(space: Space, tmp_path: Path) -> None:
    study = new_study(tmp_path / "run", space)
    candidate = study.ask_seed()
    assert candidate is not None
    entry = study.record(candidate, 0, TrialResult(status="failed", reason="the loss is nan"))
    assert stored(study)[candidate.number].values == [WORST_SCORE, candidate.gflops]
    assert not entry.on_offer
    assert reopen(study).entries == [entry]


@pytest.mark.parametrize("status", ["inert", "collapsed", "failed"])
def test_the_dead_are_not_on_offer(space: Space, tmp_path: Path, status: Any) -> None:
    study = new_study(tmp_path / "run", space)
    candidate = study.ask_seed()
    assert candidate is not None
    alive = TrialResult(status="ok", corner_error_px=3.0, frozen_top1=50.0)
    assert not study.record(candidate, 0, alive).on_offer  # before joint training nobody is
    assert study.record(candidate, 1, TrialResult(status="ok", val_top1=60.0)).on_offer
    dead = study.record(candidate, 2, TrialResult(status=status, val_top1=None if status == "failed" else 70.0))
    assert dead.on_offer == (status == "failed")  # what was measured before a failure stands
    assert read_entries(study.folder) == [dead]


@pytest.mark.parametrize("when", ["rung 0 is known to the sampler", "rung 0 is not known to the sampler"])
def test_a_result_counts_once_however_far_its_two_records_got(
    space: Space, tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = new_study(tmp_path / "run", space)
    candidate = study.ask_seed()
    assert candidate is not None
    if "not" in when:  # killed between the two
        monkeypatch.setattr(study, "_tell_sampler", lambda entry: None)
    entry = study.record(candidate, 0, pretend(candidate.arch))
    again = reopen(study)
    assert again.entries == [entry]
    assert stored(again)[candidate.number].values == [-entry.results[0].corner_error_px, candidate.gflops]
    following = again.ask_seed()
    assert following is not None and following.name == "costly"


def test_a_proposal_that_was_lost_while_it_was_told_is_made_again(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill between the marks of a rejection or a duplicate and its end: it counts for nothing, for ever."""
    whole = new_study(tmp_path / "whole", space, sampler="random")
    play(whole, 8)
    study = new_study(tmp_path / "run", space, sampler="random")

    def killed(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    play(study, 1)
    for _ in range(3):
        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr(study, "_close", lambda trial, kind, *rest: (trial.set_user_attr("kind", kind), killed()))
            play(study, 8)
        study = reopen(study)
    digests = [digest for _, digest in proposals(play(reopen(study), 8))]
    assert digests == [digest for _, digest in proposals(finished(whole))]


def test_a_seed_point_that_the_image_size_cannot_build_is_left_out(space: Space, tmp_path: Path) -> None:
    task = make_settings(space).task
    tiny_images = type(task)(dataset="glyphs", image_size=48, trial_size=8)
    study = new_study(tmp_path / "run", space, task=tiny_images)
    assert "good" not in [entry.candidate.name for entry in play(study, 2)]  # pools 2 x 2 to 3 x 3
    assert study.num_trials == 2


def test_the_grid_generator_and_sampler_count_when_they_are_asked_to(space: Space, tmp_path: Path) -> None:
    study = new_study(tmp_path / "run", space, budget_scope="stn", sampler="random")
    overhead = 48 * 48 * (6 + 2 + 4 + 4 + 3 * 4) / 1e9
    assert study.settings.overhead_gflops == pytest.approx(overhead)
    play(study, 6)
    assert all(e.candidate.gflops + overhead <= BUDGET_GFLOPS for e in study.entries if not e.candidate.over_budget)


def test_resuming_with_fewer_trials_than_are_done_asks_for_none(space: Space, tmp_path: Path) -> None:
    study = new_study(tmp_path / "run", space)
    play(study, 3)
    assert len(play(reopen(study), 2)) == NUM_SEEDS + 3


def test_a_study_file_that_is_none_is_one_line(space: Space, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "run", make_settings(space))
    (folder.path / "study.db").write_bytes(b"no database " * 1000)
    with pytest.raises(RunError, match=r"study\.db cannot be used \(file is not a database\)"):
        read_entries(folder)
    with pytest.raises(RunError, match=r"study\.db cannot be used"):
        Study(folder, space)


def test_optuna_says_nothing(space: Space, tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: Any) -> None:
    for sampler in SAMPLERS:
        play(new_study(tmp_path / sampler, space, sampler=sampler), 2)
    assert capfd.readouterr() == ("", "")
    assert [str(warning.message) for warning in recwarn] == []


def test_settings_hold_the_task(space: Space) -> None:
    settings: SearchSettings = make_settings(space)
    assert pretend(space.seeds["good"]) == pretend(space.seeds["good"])
    assert SearchSettings.from_dict(settings.to_dict()) == settings


def test_a_database_whose_driver_is_not_installed_is_one_line(space: Space, tmp_path: Path) -> None:
    url = "oracle+cx_oracle://lstn:secret@nowhere.invalid/lstn"
    folder = RunFolder.create(tmp_path / "run", make_settings(space), resume=False, storage=url)
    with pytest.raises(
        SettingError, match=r"lstn@nowhere\.invalid/lstn needs a driver .* pip install psycopg2-binary$"
    ):
        Study(folder, space)
    folder.release()


def test_when_the_sampler_keeps_asking_for_what_is_trained_a_neighbour_is(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = new_study(tmp_path / "run", space, sampler="random")
    twin = play(study, 3)[-1]

    def propose(self: Study) -> None:
        self._last_twin = twin.candidate.number

    monkeypatch.setattr(Study, "_propose", propose)
    monkeypatch.setattr(Study, "_draw", lambda self: pytest.fail("drawn at random"))
    known = {entry.candidate.arch.digest for entry in study.entries}
    candidate = study.ask()
    assert candidate is not None and not candidate.over_budget
    assert candidate.arch.digest not in known
    ours, theirs = space.encode(candidate.arch), space.encode(twin.candidate.arch)
    assert ours is not None and theirs is not None
    differing = sum(ours.get(name) != theirs.get(name) for name in {*ours, *theirs})
    assert 1 <= differing <= 6, "a few moves away"
    assert study._last_twin is None
