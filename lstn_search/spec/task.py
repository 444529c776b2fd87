"""What every trial of a search shares: the data, the view, the classifier and the schedule. No torch here."""

import dataclasses
import hashlib
import json
import math
from typing import Any, Literal, get_args

from lstn_search.errors import SettingError, did_you_mean
from lstn_search.spec.names import check_name, check_view

__all__ = ["DEFAULT_BACKBONE", "FULL_SCHEDULE", "Protocol", "Task"]

Protocol = Literal["recover", "paper"]

PRECISIONS = ("auto", "fp32", "bf16")

DEFAULT_BACKBONE = "test_resnet"
"""timm's smallest ResNet (0.4 M parameters): what the tool trains when nothing else is asked for."""

FULL_SCHEDULE = {"recover_steps": 2000, "epochs": 12}
"""What `eval` trains where `search` trains 500 steps and 4 epochs (recover protocol)."""


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Task:
    """Settings of the trials; equal tasks with equal architectures give equal results.

    Raises SettingError (DataError for the name of the dataset) on a value that makes no sense.
    """

    dataset: str
    """A name of `lstn_search.data.DATASET_NAMES`, or folder:PATH."""
    data_dir: str | None = None
    backbone: str = DEFAULT_BACKBONE
    """Any classifier of timm or torchvision; the default is timm's smallest ResNet."""
    image_size: int = 224
    """Side in pixels at deployment: what cost, budget and corner error mean."""
    trial_size: int = 64
    """Side in pixels of the images that trials are trained on."""
    view: str = "affine"
    """affine or none, see `lstn_search.data.views`."""
    view_strength: float = 1.0
    protocol: Protocol = "recover"
    """recover: regress known warps first, then train jointly. paper: jointly from scratch, as the paper does."""
    recover_steps: int = 500
    recover_lr: float = 2e-3
    """Peak of the one-cycle schedule of the recover stage."""
    epochs: int = 4
    """Joint epochs of a trial (paper: the epoch floor of its early stopping)."""
    max_epochs: int = 500
    """paper only: where training ends if early stopping does not end it; not below `epochs`."""
    warm_epochs: int = 12
    """Epochs the backbone is trained alone on upright images, once per task."""
    batch_size: int = 64
    """At least 2: batch norm needs two values to tell them apart."""
    lr: float = 1e-3
    """Of the joint stage: constant, after a short warm-up in the recover protocol."""
    localizer_lr_scale: float = 0.3
    """The localizer's learning rate as a multiple of the classifier's; at 1 or more localizers die (docs/trial.md)."""
    seed: int = 0
    split_seed: int = 0
    precision: str = "auto"
    """fp32, bf16 (autocast) or auto: the faster of the two for this backbone here (paper's protocol: fp32)."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""

    def __post_init__(self) -> None:
        check_name(self.dataset)
        for name in ("image_size", "trial_size", "recover_steps", "epochs", "max_epochs", "warm_epochs", "batch_size"):
            value = getattr(self, name)
            minimum = 2 if name == "batch_size" else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
                words = f"{name.replace('_', ' ')} must be a whole number of at least {minimum}"
                raise SettingError(f"{words}, got {value!r}")
        for name in ("view_strength", "recover_lr", "lr", "localizer_lr_scale"):
            value = getattr(self, name)
            if isinstance(value, bool) or not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
                raise SettingError(f"{name.replace('_', ' ')} must be a number above 0, got {value!r}")
        if self.protocol not in get_args(Protocol):
            raise SettingError(f"unknown protocol {self.protocol!r}; {did_you_mean(self.protocol, get_args(Protocol))}")
        if self.precision not in PRECISIONS:
            raise SettingError(f"unknown precision {self.precision!r}; {did_you_mean(self.precision, PRECISIONS)}")
        check_view(self.view, self.view_strength)
        if self.protocol == "paper" and self.max_epochs < self.epochs:
            raise SettingError(
                f"max epochs {self.max_epochs} is below the floor of {self.epochs} epochs before which the paper's "
                "early stopping never stops; raise --max-epochs or lower --epochs"
            )

    @classmethod
    def paper(cls, **settings: Any) -> "Task":
        """The paper's (section 4.2): upright images, joint from scratch, Adam 1e-3, batch 20, early stopping."""
        defaults = {"view": "none", "batch_size": 20, "localizer_lr_scale": 1.0, "epochs": 280}
        return cls(**{**defaults, **settings, "protocol": "paper"})

    def to_dict(self) -> dict[str, Any]:
        """Every setting, as JSON types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Task":
        """Read what `to_dict` wrote."""
        known = [field.name for field in dataclasses.fields(cls)]
        for key in data:
            if key not in known:
                raise SettingError(f"unknown task setting {key!r}; {did_you_mean(key, known)}")
        return cls(**data)

    def key(self, *names: str, **extra: Any) -> str:
        """SHA-256 over the named settings and `extra`: the name of something that depends on nothing else."""
        content = {name: getattr(self, name) for name in names} | extra
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
