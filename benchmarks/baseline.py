"""The search written by hand as one would today: Optuna NSGA-II, torchvision data, thop, PyTorch defaults.

    python benchmarks/baseline.py --data-dir DIR --backbone resnet18 --epochs 1 --archs archs.json

It knows nothing of lstn_search but the architectures, which it enqueues instead of drawing, so that both sides train
the same networks (benchmarks/throughput.py runs the two). It prints a JSON line a trial.
"""

import argparse
import itertools
import json
import os
import time
from pathlib import Path

import optuna
import thop
import timm
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, random_split
from torchvision import transforms

from lstn_search.nets.localizer import Localizer
from lstn_search.spec.arch import Arch

BATCH_SIZE = 64
SPLIT = (6277, 1200, 1200)
NUM_CLASSES = 101


class STN(nn.Module):
    """A classifier behind a spatial transformer."""

    def __init__(self, localizer: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.localizer = localizer
        self.classifier = classifier

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        theta = self.localizer(x)
        grid = F.affine_grid(theta, list(x.shape), align_corners=False)
        return self.classifier(F.grid_sample(x, grid, align_corners=False))


def load_data(data_dir: Path, size: int) -> tuple[Dataset, Dataset]:
    """Caltech-101 for training and validation, both under the affine view."""
    transform = transforms.Compose([
        transforms.Lambda(to_rgb),
        transforms.Resize((size, size)),
        transforms.RandomAffine(
            45, translate=(0.15, 0.15), scale=(1 / 1.6, 1 / 0.8), interpolation=transforms.InterpolationMode.BILINEAR
        ),
        transforms.ToTensor(),
        transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ])  # fmt: skip
    images = torchvision.datasets.Caltech101(data_dir, transform=transform)
    train, val, _ = random_split(images, SPLIT, generator=torch.Generator().manual_seed(0))
    return train, val


def to_rgb(image: Image.Image) -> Image.Image:
    """Some of Caltech's images are grey."""
    return image.convert("RGB")


def make_classifier(name: str) -> nn.Module:
    """torchvision's network of that name, else timm's."""
    if name in torchvision.models.list_models():
        return torchvision.models.get_model(name, num_classes=NUM_CLASSES)
    return timm.create_model(name, num_classes=NUM_CLASSES)


def train_epoch(model: nn.Module, loader: DataLoader, optimizer: torch.optim.Optimizer, steps: int | None) -> None:
    model.train()
    for images, labels in itertools.islice(loader, steps):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def accuracy(model: nn.Module, val: Dataset) -> float:
    """In percent; the warps are the same every time."""
    model.eval()
    loader = DataLoader(val, BATCH_SIZE, num_workers=2, generator=torch.Generator().manual_seed(0))
    hits = [model(images).argmax(dim=1) == labels for images, labels in loader]
    return 100 * torch.cat(hits).float().mean().item()


def main() -> None:
    """Train the architectures one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("LSTN_DATA_DIR"))
    parser.add_argument("--backbone", default="test_resnet")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--steps", type=int, help="end an epoch after so many")
    parser.add_argument("--archs", type=Path, required=True, help="a JSON file: name -> architecture")
    parser.add_argument("--size", type=int, default=64)
    options = parser.parse_args()
    archs = {name: Arch.from_json(json.dumps(arch)) for name, arch in json.loads(options.archs.read_text()).items()}
    train, val = load_data(options.data_dir, options.size)
    if options.steps:
        val = Subset(val, range(BATCH_SIZE))

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        start = time.perf_counter()
        name = trial.suggest_categorical("arch", list(archs))
        torch.manual_seed(0)
        macs, _ = thop.profile(Localizer(archs[name], 224), (torch.zeros(1, 3, 224, 224),), verbose=False)
        model = STN(Localizer(archs[name], options.size), make_classifier(options.backbone))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        loader = DataLoader(train, BATCH_SIZE, shuffle=True, drop_last=True, num_workers=2, persistent_workers=True)
        epoch_seconds = []
        for _ in range(options.epochs):
            epoch_start = time.perf_counter()
            train_epoch(model, loader, optimizer, options.steps)
            epoch_seconds.append(time.perf_counter() - epoch_start)
        top1 = accuracy(model, val)
        seconds = time.perf_counter() - start
        row = {"name": name, "seconds": seconds, "epoch_seconds": epoch_seconds, "val_top1": top1}
        print(json.dumps(row), flush=True)
        return top1, macs / 1e9

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=optuna.samplers.NSGAIISampler(seed=0))
    for name in archs:
        study.enqueue_trial({"arch": name})
    study.optimize(objective, n_trials=len(archs))


if __name__ == "__main__":
    main()
