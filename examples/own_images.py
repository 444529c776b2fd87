"""A search on a folder of your own images, in which the objects lie anywhere and somebody drew boxes around them.

    python examples/own_images.py                    draws a small folder first, to have something to show
    python examples/own_images.py PATH [BOXES]       PATH holds one folder of images a class, BOXES says where the
                                                     objects are (docs/data.md); without it they are taken to be upright
                                                     and to fill their images, and random warps are drawn

The schedule is far shorter than the default one, so that the script ends within about two minutes. Look at how much of
the gap between control (no transformer) and oracle (the box itself) each net closes.
"""

import dataclasses
import sys
import tempfile
from pathlib import Path

from PIL import Image

import lstn_search as ls
from lstn_search.data import load_dataset
from lstn_search.data.clutter import draw, place_of

SIDE = 48


def draw_folder(root: Path) -> tuple[Path, Path]:
    """Write 8 classes of 150 PNG files, root/images/CLASS/NUMBER.png, and their boxes, root/boxes.csv."""
    lines = ["file,x1,y1,x2,y2,degrees"]
    for number in range(8 * 150):
        character = "2457AKRY"[number % 8]
        file = root / "images" / character / f"{number:04d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(character, number=number, image_size=SIDE)).save(file)
        pose = place_of(number).pose  # in shares of the side
        corners = (SIDE * value for value in (pose.x1, pose.y1, pose.x2, pose.y2))
        lines.append(
            ",".join([f"{character}/{file.name}", *(f"{value:.2f}" for value in corners), f"{pose.degrees:.1f}"])
        )
    (root / "boxes.csv").write_text("\n".join(lines) + "\n")
    return root / "images", root / "boxes.csv"


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        images, boxes = map(Path, sys.argv[1:3]) if len(sys.argv) > 2 else (Path(*sys.argv[1:2]), None)
        if len(sys.argv) == 1:
            images, boxes = draw_folder(Path(temporary))
        name = f"folder:{images}"

        # Reading is part of the search; done by hand, it shows early what will be trained on.
        dataset = load_dataset(name, image_size=32, poses=boxes and str(boxes))
        parts = "/".join(str(len(part)) for part in (dataset.train_I, dataset.val_I, dataset.test_I))
        print(f"{dataset.num_classes} classes, split {parts}, {dataset.num_skipped} damaged files left out")

        # A small training set wants small batches: an epoch has to hold at least one.
        task = ls.Task(dataset=name, image_size=96, trial_size=32, batch_size=32, recover_steps=600, warm_epochs=8,
                       poses=boxes and str(boxes), view="none" if boxes else "affine")  # fmt: skip
        space = ls.load_space("lstn")
        space = dataclasses.replace(space, seeds={name: space.seeds[name] for name in ("lstn", "places")})
        run = ls.search(space, task, budget_gflops=0.005, trials=1, out=Path(temporary) / "run",
                        ladder=ls.Ladder(epochs=(1, 3)))  # fmt: skip
        control, oracle = run.references.control[-1], run.references.oracle[-1]
        print(f"control {control.val_top1:.1f} %, oracle {oracle.val_top1:.1f} %; the front, cheapest first:")
        for entry in run.front:
            closed = run.gap_closed(entry)
            share = "no gap to close" if closed is None else f"closes {closed:.0f} % of the gap"
            print(
                f"{entry.candidate.name:<6} {entry.candidate.gflops:.5f} GFLOPs  {entry.result.val_top1:.1f} %  {share}"
            )

        print(f"look at: the share of the gap; guessing among {dataset.num_classes} classes is right in "
              f"{100 / dataset.num_classes:.1f} %")  # fmt: skip

        ls.export(run, "knee", "runs/own-images")
        print("exported to runs/own-images; try: python runs/own-images/model.py")


if __name__ == "__main__":
    main()
