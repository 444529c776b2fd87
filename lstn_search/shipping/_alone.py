"""Run an exported model.py where nothing but torch and the standard library can be imported: see proof.py.

A script, started as `python -I _alone.py REQUEST`; it imports nothing of lstn_search itself. Its standard input is its
lifeline: the process that started it holds the other end and never writes.
"""

import importlib.util
import json
import os
import sys
import threading
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class OnlyTorch:
    """An import hook that refuses all but the standard library and what `import torch` has brought along."""

    def __init__(self) -> None:
        loaded = {name.partition(".")[0] for name in sys.modules}
        assert "torch" in loaded
        assert "lstn_search" not in loaded
        self.allowed = loaded | sys.stdlib_module_names

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        """None, which leaves the search to the next hook, or ImportError."""
        if name.partition(".")[0] not in self.allowed:
            raise ImportError(f"{name} may not be imported here: an exported model needs torch alone")


def load_module(path: str) -> ModuleType:
    """The module in the file at `path`."""
    spec = importlib.util.spec_from_file_location("model", path)
    assert isinstance(spec, ModuleSpec)
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(request: dict[str, Any]) -> None:
    """Send the saved images through the model; save what comes out and the weights it has."""
    sys.path[:] = request["sys_path"]
    import torch

    sys.meta_path.insert(0, OnlyTorch())
    torch.set_num_threads(request["num_threads"])
    torch.set_float32_matmul_precision(request["matmul_precision"])
    transformer = load_module(request["model"]).load()
    batches = torch.load(request["images"], weights_only=True)
    with torch.no_grad():
        outputs = {
            "theta": [transformer.theta(images) for images in batches],
            "warped": list(map(transformer, batches)),
        }
    torch.save({**outputs, "weights": dict(transformer.localizer.state_dict())}, request["outputs"])


def end_with_parent() -> None:
    """Wait until the process that started this one is gone, and end."""
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    main(json.loads(sys.argv[1]))
