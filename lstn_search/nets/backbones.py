"""One door to classifiers: torchvision's, timm's, the paper's own EfficientNets and users' own, by name.

How a name is resolved:

    torchvision:NAME, timm:NAME   that library and no other
    paper_efficientnet_b0 .. b5   the paper's variant (`lstn_search.nets.paper_efficientnet`)
    module:function               a user's own (`lstn_search.nets.brought`)
    saved:DIGEST                  a module that a user gave from Python, likewise
    NAME                          torchvision if it knows the name, else timm

Torchvision comes first because the paper's ResNets, DenseNets and AlexNet are torchvision's: `resnet18` here is the
`resnet18` of its tables. 35 names are known to both; write `timm:resnet18` for the other one.

timm and torchvision take seconds to import, so they are imported by the functions that need them.
"""

import inspect
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lstn_search.errors import BackboneError, SettingError, did_you_mean
from lstn_search.nets.brought import Offered, load_saved, make_own, offered_weights
from lstn_search.nets.weights import fit
from lstn_search.spec.choices import IMAGE_CHANNELS
from lstn_search.spec.names import LIBRARIES, SAVED_PREFIX
from lstn_search.spec.task import DEFAULT_BACKBONE, is_own

__all__ = ["backbone_names", "build_backbone", "build_pretrained", "offered_for"]

PAPER_EFFICIENTNETS = tuple(f"paper_efficientnet_b{phi}" for phi in range(6))
CURE_SIZES_PX = (32, 64, 75, 96, 112, 128, 160, 192, 224, 256, 299, 384, 448, 512)
"""The sizes tried, in this order, to tell a user which one would have worked."""

_fitting: set[tuple[str, int, int]] = set()
"""Names, numbers of classes and image sizes whose shapes went through in this process: a search builds one of them for
every trial."""


def build_backbone(name: str, *, num_classes: int, image_size: int, cache_dir: Path | None = None) -> nn.Module:
    """Build the classifier `name` with fresh weights from the global generator: (B, 3, S, S) -> (B, num_classes).

    `image_size` is S in pixels; a model whose weights depend on it (a ViT) is built for that size. One sample's shapes
    are sent through before the model is handed out, so a size it cannot take is refused here and not in mid-training.
    What a user saved is in `cache_dir`.

    Raises BackboneError on an unknown name, on a size the model cannot take and on counts that make no sense.
    """
    for what, value in (("num_classes", num_classes), ("image_size", image_size)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise BackboneError(f"{what} of backbone {name!r} must be a whole number of at least 1, got {value!r}")
    library, plain_name = _resolve(name)
    try:
        if library == "saved":
            assert cache_dir is not None
            model = load_saved(name, cache_dir)
        else:
            model = _construct(library, plain_name, num_classes, image_size)
    except (BackboneError, SettingError):  # of users' own
        raise
    except Exception as error:  # a library's own check: an image size its patches or windows do not divide, a bad tag
        raise BackboneError(f"backbone {name!r} cannot be built at {image_size} px ({_reason(error)}); "
                            f"{_cure(library, plain_name, num_classes, image_size)}") from error  # fmt: skip
    failure = None if (name, num_classes, image_size) in _fitting else _dry_forward(model, num_classes, image_size)
    if failure is not None and is_own(name):
        raise BackboneError(
            f"backbone {name!r} cannot take B x 3 x {image_size} x {image_size} images to rows of {num_classes} "
            f"({failure}); correct it, or choose another --trial-size"
        )
    if failure is not None:
        raise BackboneError(f"backbone {name!r} cannot take {image_size} px images ({failure}); "
                            f"{_cure(library, plain_name, num_classes, image_size, model)}")  # fmt: skip
    _fitting.add((name, num_classes, image_size))
    return model


def offered_for(name: str) -> Offered | None:
    """The pre-trained weights of a library's classifier; None: there are none. Raises BackboneError on no such name."""
    library, plain_name = _resolve(name)
    try:
        return offered_weights(library, plain_name)
    except Exception as error:  # a tag that timm does not know
        raise BackboneError(f"backbone {name!r} has no such weights ({_reason(error)}); leave its tag out") from None


def build_pretrained(name: str, *, num_classes: int, image_size: int) -> nn.Module:
    """The classifier `name` with the weights that its library offers, and a head that is drawn anew.

    They are downloaded where they are not yet on this machine. Raises BackboneError when there are none, or they cannot
    be had.
    """
    if offered_for(name) is None:
        raise BackboneError(f"there are no pre-trained weights of backbone {name!r}; leave --pretrained out")
    model = build_backbone(name, num_classes=num_classes, image_size=image_size)
    library, plain_name = _resolve(name)
    try:
        if library == "timm":
            return _construct_timm(plain_name, num_classes, image_size, pretrained=True)
        from torchvision import models

        state = models.get_model_weights(plain_name).DEFAULT.get_state_dict(progress=False, check_hash=True)  # type: ignore[attr-defined]
        fit(model, state, what=f"the pre-trained weights of {name!r}", cure="choose another --backbone")
        return model
    except BackboneError:
        raise
    except Exception as error:
        raise BackboneError(
            f"the pre-trained weights of backbone {name!r} cannot be had ({_reason(error)}); run it once with a "
            "network (HF_HOME and TORCH_HOME say where they are kept), or give a file to --backbone-weights"
        ) from None


def backbone_names() -> tuple[str, ...]:
    """Every plain name `build_backbone` knows, sorted: torchvision's and timm's classifiers and the paper's."""
    return tuple(sorted({*_torchvision_names(), *_timm_names(), *PAPER_EFFICIENTNETS}))


# -- names -------------------------------------------------------------------------------------------------------------


def _resolve(name: str) -> tuple[str, str]:
    """The library ("paper", "torchvision" or "timm") and the name within it."""
    if not isinstance(name, str) or not name:
        raise BackboneError(f"a backbone is a name such as {DEFAULT_BACKBONE!r} or 'resnet18', got {name!r}")
    prefix, colon, plain_name = name.partition(":")
    if is_own(name):
        return "saved" if name.startswith(SAVED_PREFIX) else "own", name
    if colon and prefix not in LIBRARIES:
        raise BackboneError(
            f"backbone {name!r}: prefix {prefix!r} is unknown; write timm:NAME or torchvision:NAME, or module:function "
            "for one of your own"
        )
    if not colon:
        plain_name = name
        if name in PAPER_EFFICIENTNETS:
            return "paper", name
    if prefix != "timm" and plain_name in _torchvision_names():
        return "torchvision", plain_name
    if prefix != "torchvision" and _is_timm(plain_name):
        return "timm", plain_name
    if not colon:
        raise BackboneError(f"backbone {name!r} is unknown; {did_you_mean(name, backbone_names())}")
    known, others = _torchvision_names(), _timm_names()
    if prefix == "timm":
        known, others = others, known
    cure = f"write {plain_name!r}, without prefix" if plain_name in others else did_you_mean(plain_name, known)
    raise BackboneError(f"backbone {plain_name!r} is not one of {prefix}'s; {cure}")


def _torchvision_names() -> list[str]:
    from torchvision import models

    names: list[str] = models.list_models(module=models)
    return names


def _timm_names() -> list[str]:
    import timm

    names: list[str] = timm.list_models()
    return names


def _is_timm(name: str) -> bool:
    import timm

    return "/" not in name and bool(timm.is_model(name))  # a name may carry a tag: resnet50.a1_in1k


# -- building ----------------------------------------------------------------------------------------------------------


def _construct(library: str, name: str, num_classes: int, image_size: int) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries' remarks on names and initialisation are not the user's concern
        if library == "own":
            return make_own(name, num_classes, image_size)
        if library == "paper":
            from lstn_search.nets.paper_efficientnet import PaperEfficientNet

            return PaperEfficientNet(int(name[-1]), num_classes=num_classes)
        if library == "torchvision":
            return _construct_torchvision(name, num_classes, image_size)
        return _construct_timm(name, num_classes, image_size)


def _construct_torchvision(name: str, num_classes: int, image_size: int) -> nn.Module:
    from torchvision import models

    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        options = {"aux_logits": False, "init_weights": True}  # one output in training as in evaluation
    elif name.startswith("vit_"):
        options = {"image_size": image_size}
    elif name.startswith("maxvit_"):
        options = {"input_size": (image_size, image_size)}
    model: nn.Module = models.get_model(name, weights=None, num_classes=num_classes, **options)
    return model


def _construct_timm(name: str, num_classes: int, image_size: int, *, pretrained: bool = False) -> nn.Module:
    import timm

    config = timm.get_pretrained_cfg(name)
    options: dict[str, Any] = {}
    if config is not None and config.fixed_input_size:
        options["img_size"] = image_size
    model: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=num_classes, **options)
    return model


# -- checking ----------------------------------------------------------------------------------------------------------


def _dry_forward(model: nn.Module, num_classes: int, image_size: int) -> str | None:
    """Why `model` cannot take one image of `image_size` pixels, or None when it can; the model is left as it was."""
    was_training = model.training
    model.eval()
    try:
        logits = _forward_shapes(model, image_size)
    except Exception as error:
        first = next((one for one in model.modules() if isinstance(one, nn.Conv2d)), None)
        if first is not None and first.in_channels != IMAGE_CHANNELS:
            return (
                f"its first layer takes {first.in_channels} channel{'s' * (first.in_channels > 1)}, and all images "
                "here have three, grey ones three equal ones"
            )
        return _reason(error)
    finally:
        model.train(was_training)
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != (1, num_classes):
        return f"it gives {getattr(logits, 'shape', type(logits).__name__)} where one row of {num_classes} is expected"
    return None


@torch.no_grad()
def _forward_shapes(model: nn.Module, image_size: int) -> Any:
    """One sample through `model` on the meta device, where only shapes are computed; for real where that fails."""
    state = {key: tensor.to("meta") for key, tensor in (*model.named_parameters(), *model.named_buffers())}
    try:
        image = torch.empty(1, 3, image_size, image_size, device="meta")
        return torch.func.functional_call(model, state, (image,))
    except Exception:  # too small, or an operation the meta device does not have: only a real forward tells which
        return model(torch.zeros(1, 3, image_size, image_size))


def _cure(library: str, name: str, num_classes: int, image_size: int, model: nn.Module | None = None) -> str:
    """What to do instead: the next size that works, if one does, else another backbone."""
    for size in (size for size in CURE_SIZES_PX if size > image_size):
        try:
            candidate = model
            if candidate is None or _depends_on_size(library, name):
                candidate = _construct(library, name, num_classes, size)
        except Exception:
            continue
        if _dry_forward(candidate, num_classes, size) is None:
            return f"it works at {size} px: choose that image size, or a smaller backbone such as {DEFAULT_BACKBONE!r}"
    return f"choose another backbone, such as {DEFAULT_BACKBONE!r}"


def _depends_on_size(library: str, name: str) -> bool:
    if library == "timm":
        import timm

        config = timm.get_pretrained_cfg(name)
        return bool(config is not None and config.fixed_input_size)
    return library == "torchvision" and name.startswith(("vit_", "maxvit_"))


def _reason(error: Exception) -> str:
    lines = inspect.cleandoc(str(error)).splitlines()
    return lines[0][:160].rstrip(". ") if lines else type(error).__name__
