"""A study of your own: Optuna asks and prunes as you like, and each architecture is trained up to a rung at a time.

    python examples/own_study.py           some minutes on two cores
    optuna.load_study(...)                 it is a study like any other, in runs/own-study/study.db

What ours does beyond that (references, a front, evolution by the space's moves, workers, going on after a crash) is in
examples/search_from_python.py. Look at how many of the trials were pruned after the first, cheap rung.
"""

from pathlib import Path

import optuna

import lstn_search as ls

OUT = Path("runs/own-study")
BUDGET_GFLOPS = 0.002
SPACE, LADDER = ls.load_space("lstn"), ls.Ladder(epochs=(1, 2))
TASK = ls.Task(dataset="clutter", poses="known", view="none", image_size=64, trial_size=32, recover_steps=400,
               warm_epochs=4)  # fmt: skip


def objective(trial: optuna.Trial) -> float:
    """Accuracy on the highest rung; what is too dear, too deep for the image or dead is pruned."""
    arch = SPACE.suggest(trial)
    try:
        gflops = ls.cost(arch, image_size=TASK.image_size).gflops
        ls.cost(arch, image_size=TASK.trial_size)
    except ls.LstnError:  # its maps would shrink to nothing
        raise optuna.TrialPruned from None
    if gflops > BUDGET_GFLOPS:
        raise optuna.TrialPruned
    trial.set_user_attr("gflops", gflops)
    trial.set_user_attr("arch", arch.to_json())
    for rung in range(LADDER.top + 1):
        result = ls.train(arch, TASK, rung=rung, ladder=LADDER, checkpoints=OUT / "checkpoints")
        trial.report(result.accuracy or 0.0, rung)
        if result.status != "ok" or trial.should_prune():
            raise optuna.TrialPruned
    return result.accuracy or 0.0


def main(num_trials: int = 100) -> optuna.Study:
    """Most trials cost nothing: they are over the budget."""
    OUT.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        direction="maximize",
        storage=f"sqlite:///{OUT}/study.db",
        study_name="own",
        load_if_exists=True,
        pruner=optuna.pruners.SuccessiveHalvingPruner(),
    )
    study.optimize(objective, n_trials=num_trials)
    return study


if __name__ == "__main__":
    done = [trial for trial in main().trials if trial.value is not None]
    for trial in sorted(done, key=lambda trial: trial.value or 0.0, reverse=True):
        print(f"trial {trial.number}: {trial.value:.1f} %, {trial.user_attrs['gflops']:.5f} GFLOPs")
    print(f"{len(done)} trials climbed to the top; the architectures are in {OUT}/study.db")
