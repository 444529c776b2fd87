"""From a search space to exported code, in Python.

    python examples/search_from_python.py

The images are drawn, so nothing is downloaded: glyphs anywhere on textured pictures, and where they are is known. The
schedule is far shorter than the default one, so that the script ends within about two minutes; what it finds shows how
the calls fit together. Look at how far the front lies above the control.
"""

import dataclasses
from pathlib import Path

from own_images import draw_folder

import lstn_search as ls

OUT = Path("runs/example")

# What may vary, and the networks to start from.
space = ls.load_space("lstn")  # or the path of a .toml of your own
print(f"{space.name}: {space.count():.1g} sets of choices; seed points {', '.join(space.seeds)}")

# Cost comes from the description alone: no torch, no building.
for name, arch in space.seeds.items():
    facts = ls.cost(arch, image_size=224)
    print(f"  {name:<6} {facts.params:>8,} parameters  {facts.macs:>11,} MACs  {facts.gflops:.4f} GFLOPs at 224 px")

# Seed points are trained first, to compare with. Two of them are enough here.
space = dataclasses.replace(space, seeds={name: space.seeds[name] for name in ("lstn", "places")})

# What every trial shares, and how far it climbs. Leave out the last four settings, and the ladder, for a real search.
images, boxes = draw_folder(Path("runs/example-images"))
task = ls.Task(dataset=f"folder:{images}", poses=str(boxes), view="none", image_size=64, trial_size=32,
               batch_size=32, recover_steps=600, warm_epochs=8)  # fmt: skip
ladder = ls.Ladder(epochs=(1, 3))

# The budget is at task.image_size. resume=True goes on with the folder when the script is run again.
run = ls.search(space, task, budget_gflops=0.002, trials=1, ladder=ladder, out=OUT, resume=True)

control, oracle = run.references.control[-1], run.references.oracle[-1]  # on the highest rung
print(f"control {control.val_top1:.1f} %, oracle {oracle.val_top1:.1f} %")
print("front, cheapest first:")
for entry in run.front:
    candidate, top1 = entry.candidate, entry.result.val_top1
    print(f"  {candidate.name:<6} {candidate.gflops:.5f} GFLOPs  {candidate.params:>6,} parameters  {top1:.1f} %")

best = run.pick("best")  # or "knee", or "max-gflops=0.001"
print(f"best: {best.candidate.name}, {len(best.candidate.arch.layers)} convolutions")
gain, closed = best.result.val_top1 - control.val_top1, run.gap_closed(best)
print(f"look at: {gain:+.1f} points against the control (guessing one of 8 classes: 12.5 %)"
      + ("" if closed is None else f", {closed:.0f} % of the way to the oracle"))  # fmt: skip
ls.export(run, "best", OUT / "export")
print(f"exported; try: python {OUT / 'export' / 'model.py'}")

# One page of everything. ls.verify(run) says what of it is luck; ls.fidelity(run), whether the cheap rungs rank.
print(f"to look at: {ls.report(run).file}")
