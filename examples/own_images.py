"""A search on a folder of your own images.

    python examples/own_images.py             draws a small folder first, to have something to show
    python examples/own_images.py PATH        PATH holds one folder of images a class

The schedule is far shorter than the default one, so that the script ends within a minute.
"""

import math
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import lstn_search as ls
from lstn_search.data import load_dataset


def draw_folder(root: Path) -> Path:
    """Write 6 classes of 80 PNG files, root/CLASS/NUMBER.png: the class is the place of a dot on a ramp of colours."""
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.linspace(-1, 1, 48), np.linspace(-1, 1, 48))
    for degrees in range(0, 360, 60):
        folder = root / f"dot at {degrees} degrees"
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(80):
            angle = math.radians(degrees) + rng.uniform(-0.2, 0.2)
            dot = np.hypot(x - 0.4 * math.cos(angle), y - 0.4 * math.sin(angle)) < 0.3
            pixels = np.stack([128 + 100 * x, 128 + 100 * y, np.where(dot, 240, 20)], axis=2)
            noisy = np.clip(pixels + rng.normal(0, 8, pixels.shape), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(folder / f"{number:03d}.png")
    return root


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(sys.argv[1]) if len(sys.argv) > 1 else draw_folder(Path(temporary) / "images")
        name = f"folder:{root}"

        # Reading is part of the search; done by hand, it shows early what will be trained on.
        dataset = load_dataset(name, image_size=24)
        parts = "/".join(str(len(part)) for part in (dataset.train_I, dataset.val_I, dataset.test_I))
        print(f"{dataset.num_classes} classes, split {parts}, {dataset.num_skipped} damaged files left out")

        # A small training set wants small batches: an epoch has to hold at least one.
        task = ls.Task(dataset=name, image_size=48, trial_size=24, batch_size=32, recover_steps=100, warm_epochs=15)
        space = ls.load_space("lstn")
        run = ls.search(space, task, budget_gflops=0.003, trials=1, out=Path(temporary) / "run",
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
