"""What every trial of a search shares: the data, the view, the classifier and the schedule. No torch here."""

import dataclasses
import hashlib
import json
import math
from typing import Any, Literal, get_args

from lstn_search.errors import SettingError, did_you_mean
from lstn_search.spec.fields import DATA, TRAINING, WHERE, check, defaults, described, ignored_by, setting
from lstn_search.spec.ladder import MAX_EPOCHS
from lstn_search.spec.names import DATASET_NAMES, FILL_NAMES, LIBRARIES, SAVED_PREFIX, VIEW_NAMES, check_name
from lstn_search.spec.own_code import check_code, code_name, is_code
from lstn_search.spec.reading import MAX_NUMBER, check_table, short

__all__ = [
    "DEFAULT_BACKBONE",
    "DEFAULT_DATASET",
    "DEFAULT_TRIAL_SIZE",
    "FULL_SCHEDULE",
    "Kind",
    "Protocol",
    "Task",
    "is_own",
]

Protocol = Literal["recover", "paper"]

Kind = Literal["warm", "reference", "precision", "verification", "deployment", "run"]
"""What is kept and found again by its task: a warm classifier, control or oracle, the faster precision, a training of
`verify`, one of `fidelity --deployment`, a run to go on with."""

DEFAULT_DATASET = "caltech101"
"""What `eval` trains on when nothing else is asked for."""

DEFAULT_BACKBONE = "test_resnet"
"""timm's smallest ResNet (0.4 M parameters): what the tool trains when nothing else is asked for."""

DEFAULT_TRIAL_SIZE = 64

RECIPE_VERSION = 3
"""Of how trials are trained: what another recipe made is not found again, and not gone on with."""

# Why a kind does not depend on a setting.
TIMED = {"precision": "a few steps of the classifier alone are timed, on any images"}
ALONE = TIMED | {"warm": "the classifier is trained alone, on upright images, at a rate of its own"}
NO_LOCALIZER = ALONE | {"reference": "control and oracle have no localizer"}
FINGERPRINT = TIMED | dict.fromkeys(("warm", "reference"), "the fingerprint of images and split is part of the key")
SETTLED = dict.fromkeys(("warm", "reference", "precision"), "what it comes to on this machine is part of the key")


MOVED_WEIGHTS = TIMED | dict.fromkeys(
    ("warm", "reference", "verification", "deployment", "run"),
    "the file may move; the digest of its content is part of the key, or compared",
)

DEVICES = ("auto", "cpu", "cuda", "mps")


def _check_device(name: Any) -> None:
    kind, colon, number = name.partition(":") if isinstance(name, str) else (name, "", "")
    if kind not in DEVICES:
        raise SettingError(f"unknown device {short(name)}; {did_you_mean(str(name), DEVICES)}")
    if colon and number != "0" and not (kind == "cuda" and number.isascii() and number.isdecimal() and len(number) < 4):
        raise SettingError(f"there is no device {short(name)}; only GPUs have numbers, as in cuda:1")


def is_own(backbone: str) -> bool:
    """Whether a classifier's name is of a user's code or of a module that was saved, not of a library's."""
    return backbone.startswith(SAVED_PREFIX) or (is_code(backbone) and backbone.partition(":")[0] not in LIBRARIES)


def _check_channels(text: Any) -> None:
    if text is not None:
        _channels(text)


def _channels(text: Any) -> tuple[float, float, float]:
    try:
        first, second, third = (float(number) for number in text.split(","))
    except (AttributeError, ValueError):
        first = second = third = math.nan
    if not all(map(math.isfinite, (first, second, third))):
        raise SettingError(f"{short(text)} is no mean or deviation of pixels; write one number a channel: 0.5,0.5,0.5")
    return first, second, third


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class Task:
    """Settings of the trials; equal tasks with equal architectures give equal results.

    Raises SettingError (DataError for the name of the dataset) on a value that makes no sense.
    """

    dataset: str = setting(
        help=f"One of: {', '.join(DATASET_NAMES)}.",
        panel=DATA,
        checked_by=check_name,
        unset=DEFAULT_DATASET,
        ignored_by=FINGERPRINT,
    )
    data_dir: str | None = setting(
        None,
        help="The folder that holds the dataset; of folder:PATH where it is now.",
        panel=DATA,
        is_path=True,
        unset="$LSTN_DATA_DIR, ./data or the user's",
        ignored_by=FINGERPRINT
        | dict.fromkeys(("verification", "deployment", "run"), "images may move; their fingerprint is compared"),
    )
    backbone: str = setting(
        DEFAULT_BACKBONE,
        help="The classifier: any name of timm or torchvision, or module:function, which makes yours.",
        panel=DATA,
    )
    """From Python also the function itself. A trained module: see `lstn_search.backbone`."""
    pretrained: bool = setting(
        False,
        help="Start the classifier from the weights that timm or torchvision offer; they are downloaded once.",
        panel=DATA,
        ignored_by=TIMED,
        before=False,
    )
    backbone_weights: str | None = setting(
        None,
        help="Weights of the classifier (safetensors, or a state dict). Those of all layers are the warm classifier; "
        "where another head is needed, it is trained from them.",
        panel=DATA,
        is_path=True,
        unset="none",
        ignored_by=MOVED_WEIGHTS,
        before=None,
    )
    mean: str | None = setting(
        None,
        help="Mean of pixels in [0, 1] that the classifier wants, a number a channel.",
        panel=DATA,
        checked_by=_check_channels,
        unset="as the weights want it, else 0.5,0.5,0.5",
        ignored_by=TIMED,
        before=None,
    )
    std: str | None = setting(
        None,
        help="Their deviation, likewise.",
        panel=DATA,
        checked_by=_check_channels,
        unset="as the weights want it, else 0.5,0.5,0.5",
        ignored_by=TIMED,
        before=None,
    )
    image_size: int = setting(
        224,
        help="Side in px at deployment: what GFLOPs, budget and corner errors mean.",
        panel=DATA,
        minimum=1,
        limit=16_384,
        ignored_by=NO_LOCALIZER,
    )
    trial_size: int = setting(
        DEFAULT_TRIAL_SIZE,
        help="Side in px of the images that trials are trained on.",
        panel=DATA,
        minimum=1,
        limit=4_096,
    )
    view: str = setting(
        "affine",
        help="affine (rotated, shifted, scaled) or none. On upright images every localizer ties.",
        panel=TRAINING,
        choices=VIEW_NAMES,
        elsewhere={"paper": "none"},
        ignored_by=ALONE,
    )
    view_strength: float = setting(
        1.0,
        help="Scales the view's ranges: 0.5 is gentler, 1.5 harder.",
        panel=TRAINING,
        above=0,
        maximum=2,
        ignored_by=ALONE,
    )
    fill: str = setting(
        "random",
        help="What training shows outside a warped image: random (one of the next four for each), reflection, border, "
        "picture, colour; zeros repeats old runs. Scores are taken under reflection.",
        panel=TRAINING,
        choices=FILL_NAMES,
        ignored_by=ALONE,
        before="zeros",
    )
    poses: str | None = setting(
        None,
        help="Where the objects are: a file or folder of boxes (CSV, GTSRB, COCO JSON, Pascal VOC), or known: those "
        "that the dataset brings (clutter, gtsrb, tsrd). Without it each object fills its image upright.",
        panel=DATA,
        is_path=True,
        unset="upright",
        ignored_by=TIMED
        | dict.fromkeys(("warm", "reference"), "the fingerprint of all poses is part of the key")
        | {"run": "the fingerprint of all poses is compared"},
        before=None,
    )
    pose_share: float = setting(
        1.0,
        help="Use the poses of that share of the training images: to see how many boxes are worth drawing.",
        panel=DATA,
        above=0,
        maximum=1,
        ignored_by=TIMED | dict.fromkeys(("warm", "reference"), "the fingerprint of all poses is part of the key"),
        before=1.0,
    )
    augment: str | None = setting(
        None,
        help="Your own augmentation of training images, module:function: B x 3 x H x W to the same, uint8.",
        panel=TRAINING,
        checked_by=check_code,
        unset="none",
        ignored_by=TIMED,
        before=None,
    )
    """From Python also the function itself."""
    protocol: Protocol = setting(
        "recover",
        help="recover (regress known warps first, then train jointly) or paper (jointly from scratch, as published).",
        panel=TRAINING,
        choices=get_args(Protocol),
        ignored_by=ALONE,
    )
    recover_steps: int = setting(
        2000,
        help="Steps of the recover stage.",
        panel=TRAINING,
        minimum=1,
        limit=10_000_000,
        elsewhere={"full": 4000},
        ignored_by=ALONE,
    )
    recover_lr: float = setting(
        4e-3,
        help="Of the recover stage: constant, after a short warm-up.",
        panel=TRAINING,
        is_option=False,
        above=0,
        limit=1e38,
        ignored_by=NO_LOCALIZER,
    )
    recover_loss: Literal["mse", "corner"] = setting(
        "corner",
        help="What the recover stage minimises: the mse of theta, or the mean distance of a frame corner.",
        panel=TRAINING,
        choices=("mse", "corner"),
        ignored_by=NO_LOCALIZER,
        before="mse",
    )
    epochs: int = setting(
        4,
        help="Joint epochs of a trial; for the paper's protocol the floor of its early stopping.",
        panel=TRAINING,
        minimum=1,
        limit=MAX_EPOCHS,
        elsewhere={"full": 12, "paper": 280},
        ignored_by=ALONE,
    )
    max_epochs: int = setting(
        500,
        help="Paper's protocol: where training ends if early stopping does not end it.",
        panel=TRAINING,
        minimum=1,
        limit=MAX_EPOCHS,
        ignored_by=ALONE,
    )
    warm_epochs: int = setting(
        12,
        help="Epochs of the classifier alone, on upright images, once a task.",
        panel=TRAINING,
        minimum=1,
        limit=MAX_EPOCHS,
        ignored_by=TIMED | {"reference": "the key of the warm classifier is part of the key"},
    )
    batch_size: int = setting(
        64,
        help="Images a step; at least 2, for batch norm tells them apart.",
        panel=TRAINING,
        minimum=2,
        limit=65_536,
        elsewhere={"paper": 20},
    )
    lr: float = setting(
        4e-3,
        help="Of the joint stage: constant, after a short warm-up in the recover protocol.",
        panel=TRAINING,
        is_option=False,
        above=0,
        limit=1e38,
        elsewhere={"paper": 1e-3},
        ignored_by=ALONE,
    )
    localizer_lr_scale: float = setting(
        0.1,
        help="The localizer's rate as a multiple of the classifier's; at 1 it forgets where to look (docs/trial.md).",
        panel=TRAINING,
        is_option=False,
        above=0,
        limit=1e38,
        elsewhere={"paper": 1.0},
        ignored_by=NO_LOCALIZER,
    )
    seed: int = setting(
        0,
        help="Of batches, views and weights; in a search also of the sampler.",
        panel=DATA,
        limit=MAX_NUMBER,
        ignored_by=TIMED | {"verification": "the name of a record says it"},
    )
    split_seed: int = setting(
        0,
        help="Of the split into training, validation and test images, and of the fixed view of the latter two.",
        panel=DATA,
        limit=MAX_NUMBER,
        is_option=False,
        ignored_by=TIMED | {"warm": FINGERPRINT["warm"]},
    )
    precision: str = setting(
        "auto",
        help="fp32, bf16 (autocast), or auto: the faster of the two for this classifier here (paper's protocol: fp32).",
        panel=TRAINING,
        choices=("auto", "fp32", "bf16"),
        ignored_by=SETTLED,
    )
    device: str = setting(
        "auto",
        help="auto, cpu, cuda, cuda:N or mps.",
        panel=WHERE,
        checked_by=_check_device,
        ignored_by=SETTLED
        | {"verification": "records say theirs", "deployment": "where it was trained is not what was trained"},
    )

    def __post_init__(self) -> None:
        for name in ("backbone", "augment"):
            object.__setattr__(self, name, code_name(getattr(self, name)))
        for name in ("mean", "std"):
            if isinstance(numbers := getattr(self, name), list | tuple):
                object.__setattr__(self, name, ",".join(map(str, numbers)))
        check(self)
        self._check_weights()
        if self.protocol == "paper" and self.max_epochs < self.epochs:
            raise SettingError(
                f"max epochs {self.max_epochs} is below the floor of {self.epochs} epochs before which the paper's "
                "early stopping never stops; raise --max-epochs or lower --epochs"
            )

    def _check_weights(self) -> None:
        given = [words for words, holds in (
            ("--pretrained", self.pretrained),
            ("--backbone-weights", self.backbone_weights is not None),
        ) if holds]  # fmt: skip
        if len(given) > 1:
            raise SettingError("--pretrained and --backbone-weights both say where to start from; leave one out")
        if given and self.protocol == "paper":
            raise SettingError(f"the paper's protocol trains from scratch; leave {given[0]} out")
        if self.pretrained and is_own(self.backbone):
            raise SettingError(
                f"--pretrained is for names of timm and torchvision; {self.backbone} brings the weights that it has"
            )
        if self.std is not None and min(_channels(self.std)) <= 0:
            raise SettingError(f"the deviation of pixels must be above 0, got {self.std}")

    @classmethod
    def of(cls, **settings: Any) -> "Task":
        """A task at the defaults of its protocol, but for what is given."""
        return cls(**defaults(cls, settings.get("protocol", "")) | settings)

    @classmethod
    def paper(cls, **settings: Any) -> "Task":
        """The paper's (section 4.2): upright images, joint from scratch, Adam 1e-3, batch 20, early stopping."""
        return cls.of(**settings | {"protocol": "paper"})

    def to_dict(self) -> dict[str, Any]:
        """Every setting, as JSON types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Task":
        """Read what `to_dict` wrote, perhaps before there were all of today's settings."""
        names = {field.name: known.before for field, known in described(cls)}
        table = check_table(data, "task", known=names, needed=("dataset",), error=SettingError)
        return cls(**{name: value for name, value in names.items() if value is not ...} | dict(table))

    @property
    def names_weights(self) -> bool:
        """Whether the classifier's name has one of timm's tags, as in resnet18.a1_in1k: those are of weights."""
        return "." in self.backbone and not is_own(self.backbone)

    def check_tag(self) -> None:
        """Raise SettingError where a name says which weights to start from, and nothing says to start from weights."""
        if self.names_weights and not self.pretrained and self.backbone_weights is None:
            plain, _, tag = self.backbone.partition(".")
            raise SettingError(
                f"{self.backbone!r} names the pre-trained weights {tag!r}; add --pretrained to start from them, or "
                f"write {plain!r} to start from none"
            )

    @property
    def channels(self) -> tuple[tuple[float, float, float] | None, tuple[float, float, float] | None]:
        """Mean and deviation as they were given."""
        return tuple(None if text is None else _channels(text) for text in (self.mean, self.std))  # type: ignore[return-value]

    @property
    def has_oracle(self) -> bool:
        """Whether there is anything to undo: a drawn warp, or a pose."""
        return self.view != "none" or self.poses is not None

    def compared(self, kind: Kind) -> dict[str, Any]:
        """The settings that a kind of thing depends on: all, but for those that say why they do not matter to it."""
        ignored = ignored_by(self, kind)
        values = {field.name: (getattr(self, field.name), known.before) for field, known in described(self)}
        return {name: value for name, (value, before) in values.items() if name not in ignored and value != before}

    def key(self, kind: Kind, **extra: Any) -> str:
        """SHA-256 over these settings and `extra`: the name of one thing of its kind."""
        return hashlib.sha256(json.dumps(self.compared(kind) | extra, sort_keys=True).encode()).hexdigest()


FULL_SCHEDULE = defaults(Task, "full")
"""What `eval` trains where `search` trains 2,000 steps and 4 epochs (recover protocol)."""
