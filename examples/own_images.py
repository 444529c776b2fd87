"""A search on a folder of your own images.

    python examples/own_images.py             draws a small folder first, to have something to show
    python examples/own_images.py PATH        PATH holds one folder of images a class

The schedule is far shorter than the default one, so that the script ends within about two minutes.
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image

import lstn_search as ls
from lstn_search.data import load_dataset
from lstn_search.data.glyphs import draw


def draw_folder(root: Path) -> Path:
    """Write 8 classes of 100 PNG files: root/CLASS/NUMBER.png."""
    for character in "2457AKRY":
        (root / character).mkdir(parents=True, exist_ok=True)
        for number in range(100):
            Image.fromarray(draw(character, number=number, image_size=48)).save(root / character / f"{number:03d}.png")
    return root


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(sys.argv[1]) if len(sys.argv) > 1 else draw_folder(Path(temporary) / "images")
        name = f"folder:{root}"

        # Reading is part of the search; done by hand, it shows early what will be trained on.
        dataset = load_dataset(name, image_size=32)
        parts = "/".join(str(len(part)) for part in (dataset.train_I, dataset.val_I, dataset.test_I))
        print(f"{dataset.num_classes} classes, split {parts}, {dataset.num_skipped} damaged files left out")

        # A small training set wants small batches: an epoch has to hold at least one.
        task = ls.Task(dataset=name, image_size=96, trial_size=32, batch_size=16, recover_steps=800, warm_epochs=20)
        space = ls.load_space("lstn")
        run = ls.search(space, task, budget_gflops=0.005, trials=1, out=Path(temporary) / "run",
                        ladder=ls.Ladder(epochs=(1, 2)))  # fmt: skip
        for entry in run.front:
            closed = run.gap_closed(entry)
            share = "no gap to close" if closed is None else f"closes {closed:.0f} % of the gap"
            print(
                f"{entry.candidate.name:<6} {entry.candidate.gflops:.5f} GFLOPs  {entry.result.val_top1:.1f} %  {share}"
            )

        ls.export(run, "knee", "runs/own-images")
        print("exported to runs/own-images; try: python runs/own-images/model.py")


if __name__ == "__main__":
    main()
