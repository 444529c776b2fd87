"""The proof that an exported folder stands alone: it gives the model's outputs where only torch can be imported."""

import copy
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from lstn_search.errors import RunError
from lstn_search.jobs.machine import python_path
from lstn_search.jobs.worker import cause_of_death
from lstn_search.nets.localizer import Localizer
from lstn_search.nets.transformer import SpatialTransformer

__all__ = ["Proof", "prove"]

TOLERANCE = 1e-6
NUM_IMAGES = 8
TIMEOUT_SECONDS = 300.0
ALONE = Path(__file__).with_name("_alone.py")


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Proof:
    """How far the exported file's outputs were from the model's, over fixed batches of noise."""

    max_theta_difference: float
    max_image_difference: float
    num_images: int
    """Of each size."""
    image_size: int


def prove(folder: Path, localizer: Localizer) -> Proof:
    """Run model.py in `folder` in a process of its own, without lstn_search, and compare it with `localizer`.

    Both see the same seeded images on the CPU, in eval mode and with as many threads: of the size that the net is built
    for, and of a larger one where it has a look. `localizer` is left as it is.
    Raises RunError when that process hangs or is killed; RuntimeError when the file does not run there, when one of its
    weights is not the same to the last bit, or when theta or the warped images differ by more than 1e-6.
    """
    sizes = [localizer.image_size] + [localizer.image_size * 3 // 2 + 1] * (localizer.arch.look is not None)
    noise = torch.Generator().manual_seed(0)
    batches = [torch.randn(NUM_IMAGES, localizer.arch.in_channels, size, size, generator=noise) for size in sizes]
    alone = _run_alone(folder, batches)
    model = copy.deepcopy(localizer).to("cpu", torch.float32).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    wrong = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, alone["weights"][name])]
    if wrong:  # a dead path would hide it from the outputs
        raise RuntimeError(f"{folder / 'weights.pt'} holds other weights than the model's: {', '.join(wrong)}")
    with torch.no_grad():
        outputs = [SpatialTransformer(model).eval()(x_BCHW) for x_BCHW in batches]
    proof = Proof(
        max_theta_difference=_max_difference(alone["theta"], [theta_B23 for _, theta_B23 in outputs]),
        max_image_difference=_max_difference(alone["warped"], [warped_BCHW for warped_BCHW, _ in outputs]),
        num_images=NUM_IMAGES,
        image_size=localizer.image_size,
    )
    if not (proof.max_theta_difference <= TOLERANCE and proof.max_image_difference <= TOLERANCE):  # NaN fails too
        raise RuntimeError(f"{folder / 'model.py'} is not the model it was exported from: {proof}")
    return proof


def _run_alone(folder: Path, batches: list[torch.Tensor]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="lstn-proof-") as scratch:
        images, outputs = Path(scratch, "images.pt"), Path(scratch, "outputs.pt")
        torch.save(batches, images)
        request = {
            "model": str(folder.resolve() / "model.py"),
            "images": str(images),
            "outputs": str(outputs),
            "sys_path": python_path(),  # -I drops PYTHONPATH and the user's site, where torch may be
            "num_threads": torch.get_num_threads(),
            "matmul_precision": torch.get_float32_matmul_precision(),
        }
        command = [sys.executable, "-I", str(ALONE), json.dumps(request)]
        read_end, write_end = os.pipe()  # the lifeline
        try:
            run = subprocess.run(
                command, cwd=scratch, stdin=read_end, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise RunError(
                f"the exported model could not be proved within {TIMEOUT_SECONDS:.0f} s; export again when the machine "
                "has less to do"
            ) from None
        finally:
            os.close(read_end)
            os.close(write_end)
        if run.returncode < 0:
            raise RunError(f"the exported model could not be proved: {cause_of_death(run.returncode)}; export again")
        if run.returncode:
            raise RuntimeError(f"{folder / 'model.py'} does not run on its own:\n{run.stderr.strip()}")
        found: dict[str, Any] = torch.load(outputs, weights_only=True)
    return found


def _max_difference(alone: list[torch.Tensor], ours: list[torch.Tensor]) -> float:
    for a, b in zip(alone, ours, strict=True):
        if a.shape != b.shape:
            raise RuntimeError(f"the exported model gives {tuple(a.shape)} where the model gives {tuple(b.shape)}")
    return torch.stack([(a - b).abs().max() for a, b in zip(alone, ours, strict=True)]).max().item()
