"""What a verification found, in words: a line each, with the numbers behind every verdict."""

import math
from collections.abc import Sequence

from lstn_search.verification.result import Difference, Finalist, Verification

__all__ = ["write_sentences"]


def write_sentences(verification: Verification) -> tuple[str, ...]:
    """The sentences, from everything else in it."""
    found = [_basis(verification)]
    left_out = [seed for seed in verification.wanted_seeds if seed not in verification.complete_seeds]
    if left_out:
        found.append(f"Left out, as not every finalist is done: {_list('seed', left_out)}; the same command goes on.")
    found += [_verdict(finalist) for finalist in verification.finalists if finalist.verdicts]
    if verification.complete_seeds:
        found += [_pick(verification), *_optimism(verification)]
    return tuple(found)


def _basis(verification: Verification) -> str:
    task, seeds = verification.task, verification.complete_seeds
    if not seeds:
        return f"No seed is complete yet: each takes {len(verification.rows)} trainings."
    view = "upright images" if task["view"] == "none" else f"the {task['view']} view"
    recover = "" if task["protocol"] == "paper" else f"{task['recover_steps']} recover steps and "
    least = "at least " if task["protocol"] == "paper" else ""
    schedule = f"{recover}{least}{task['epochs']} joint epochs"
    fair = "" if task["protocol"] == "paper" else "; the control trains on for as many steps where that is better"
    basis = f"{_list('seed', seeds).capitalize()}, with {schedule} each{fair}; top-1 under {view}"
    if len(seeds) == 1:
        return f"{basis}. One seed gives no interval, so there is no verdict."
    return f"{basis}. Verdicts: paired differences on test, 95 % Student t intervals over {len(seeds)} seeds."


def _verdict(finalist: Finalist) -> str:
    numbers = {"no STN": finalist.versus_control, "L-STN": finalist.versus_lstn}
    parts = []
    for verdict in finalist.verdicts:
        other = next((name for name in numbers if verdict.endswith(name)), None)
        difference = numbers[other] if other else None
        parts.append(verdict if difference is None else f"{verdict} ({_points(difference)})")
    reason = next((f" ({row.reason})" for row in finalist.seeds if row.counted and row.reason), "")
    return f"{finalist.name}: {'; '.join(parts)}{reason}."


def _points(difference: Difference) -> str:
    assert difference.low is not None and difference.high is not None
    return f"{difference.mean:+.1f} points, {difference.low:+.1f} to {difference.high:+.1f}"


def _pick(verification: Verification) -> str:
    if verification.pick is None:
        return "Nothing can be picked: that takes two complete seeds, and a net alive in all of them and within budget."
    rows = {finalist.name: finalist for finalist in verification.finalists}
    pick = rows[verification.pick]
    can = [row for row in rows.values() if row.behind_best is not None]
    best = max(can, key=lambda row: (row.mean_val or 0.0, -(row.gflops or 0.0)))
    quoted = f"{pick.name} ({pick.gflops:.5f} GFLOPs; test {pick.mean_test:.1f} %)"
    if pick is best:
        return f"Pick: {quoted}, best on validation; nothing cheaper is within one standard error of it."
    return (
        f"Pick: {quoted}, the cheapest within one standard error of the best on validation, {best.name} "
        f"({pick.behind_best:.2f} points behind, standard error {pick.behind_best_se:.2f})."
    )


def _optimism(verification: Verification) -> list[str]:
    """The winner's curse, of the architectures that were chosen beside those that were not."""
    groups = {
        ("architecture found", "architectures found"): [row for row in verification.finalists if not row.is_seed],
        ("seed point", "seed points"): [row for row in verification.finalists if row.is_seed],
    }
    parts = []
    for words, rows in groups.items():
        values = [row.optimism for row in rows if row.optimism is not None]
        if values:
            mean = math.fsum(values) / len(values)
            parts.append(f"{mean:+.1f} points for {len(values)} {words[len(values) > 1]}")
    return [f"Validation in the search minus its verified mean: {', '.join(parts)}."] if parts else []


def _list(noun: str, values: Sequence[int]) -> str:
    """`seed 1003`, `seeds 1000 to 1004`, or `seeds 1001, 1004`."""
    if len(values) == 1:
        return f"{noun} {values[0]}"
    if len(values) > 2 and list(values) == list(range(values[0], values[-1] + 1)):
        return f"{noun}s {values[0]} to {values[-1]}"
    return f"{noun}s {', '.join(map(str, values))}"
