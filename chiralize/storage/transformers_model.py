"""Networks that a `config.json` of Hugging Face describes, built by the `transformers` that is installed.

Nothing of the folder is run, whatever its config says: the class is looked up among those of the package, and what
would fetch code, kernels or weights from elsewhere is taken out of the config before it is used.

`formats/huggingface.py` asks for a builder, which runs by consent (`--model auto`). Of {"architectures":
["BertModel"], "model_type": "bert", "hidden_size": 128, ...} comes transformers.BertModel with these sizes, untrained.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

import torch

from chiralize.errors import FactoryError, MissingPackageError, UsageError
from chiralize.errors.words import first_line

# Keys that name code or weights elsewhere, or how layers are implemented, which may be a kernel to be downloaded.
_FETCHING = re.compile(r"auto_map|custom_pipelines|.*implementation.*|.*kernel_?s?|use_pretrained_backbone|trust_.*")
_NAME = re.compile(r"[A-Za-z]\w*")
_KERNEL_SIZES = re.compile(r".*(conv|patch|pool).*kernel.*")


def model_builder(config: dict[str, Any], where: str) -> tuple[str, Callable[[], torch.nn.Module] | None]:
    """The class that a config names, and what builds a network of it; "" and None where it names none of the package's.

    The builder raises MissingPackageError, UsageError, FactoryError.
    """
    names, kind = config.get("architectures"), config.get("model_type")
    if not isinstance(names, list) or not names or not isinstance(names[0], str) or not isinstance(kind, str):
        return "", None
    name = names[0]
    # With `auto_map` the class is one of the folder's own code.
    if not _NAME.fullmatch(name) or "auto_map" in config:
        return "", None
    return f"transformers.{name}", lambda: _built(name, kind, config, where)


def _built(name: str, kind: str, config: dict[str, Any], where: str) -> torch.nn.Module:
    """The network with untrained weights.  Raises MissingPackageError, UsageError, FactoryError."""
    try:
        transformers: Any = importlib.import_module("transformers")
        configs: Any = importlib.import_module("transformers.models.auto.configuration_auto").CONFIG_MAPPING
    except ImportError as error:
        facts = f"its class {name} is one of transformers, which is not installed ({first_line(error)})"
        raise MissingPackageError(
            where, facts, "pip install transformers, or name your own class by --model"
        ) from error
    model_class = getattr(transformers, name, None)
    is_model = isinstance(model_class, type) and issubclass(model_class, transformers.PreTrainedModel)
    if model_class is None or not is_model or kind not in configs:
        facts = f"its class {name} ({kind}) is not one of the transformers that is installed"
        raise UsageError(where, facts, "name it: --model your_package.your_module:YourNet")
    if "quantization_config" in config:
        raise UsageError(where, "its weights are quantized", "take the folder of the network before that")
    try:
        settings = configs[kind].from_dict(without_fetching(config))
        module = model_class(settings)
    except Exception as error:  # the package's own code, given whatever the config says
        facts = f"transformers cannot build {name} from config.json ({type(error).__name__}: {first_line(error)})"
        raise FactoryError(
            where, facts, "name a function that builds it: --model your_package.your_module:build"
        ) from error
    module.config.use_cache = False
    module.eval()
    return module


def without_fetching(value: Any) -> Any:
    """A config without what would fetch code or weights, at any depth."""
    if isinstance(value, dict):
        return {key: without_fetching(entry) for key, entry in value.items() if not _fetches(str(key))}
    if isinstance(value, list):
        return [without_fetching(entry) for entry in value]
    return value


def _fetches(key: str) -> bool:
    """Whether a key may fetch something; `conv_kernel_size` and the like are sizes of layers."""
    return bool(_FETCHING.fullmatch(key)) and not _KERNEL_SIZES.fullmatch(key)
