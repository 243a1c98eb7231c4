"""Files that torch wrote and that hold no table of weights: what they hold instead, and what to give.

`choosing` asks where `tables.tables_in` finds nothing: an optimizer's state, tensors without names, quantized layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from chiralize.errors import ModelFileError
from chiralize.storage.tables import contents, is_of_optimizer, is_tensor

_ADAPTER = re.compile(r"\blora_(A|B|embedding_[AB]|magnitude_vector)\b")
_SAVE = "torch.save(model.state_dict(), 'weights.pt')"


def no_weights(tree: Any, where: str) -> ModelFileError:
    """The error for a file without a table of weights.  tree: what it holds."""
    if is_of_optimizer(tree):
        facts = "is the state of an optimizer, which has no weights"
        return ModelFileError(where, facts, f"give the file of the network's weights: {_SAVE}.")
    if is_tensor(tree) or _is_list_of_tensors(tree):
        held = "one tensor" if is_tensor(tree) or len(tree) == 1 else f"{len(tree)} tensors"
        facts = f"holds {held} without names, so that nothing says which weights of a network they are"
        return ModelFileError(where, facts, f"save the weights by name: {_SAVE}.")
    # Layers of torch's quantization keep weight and bias in one packed object, which is no tensor.
    if isinstance(tree, Mapping) and any(str(name).endswith("_packed_params") for name in tree):
        facts = f"holds quantized layers, whose weights are packed for one kind of processor; {contents(tree)}"
        return ModelFileError(where, facts, "give the weights from before quantization, convert, and quantize again.")
    return ModelFileError(where, f"holds no table of weights; {contents(tree)}", f"save the weights: {_SAVE}.")


def only_adapters(names: Iterable[str], where: str) -> ModelFileError | None:
    """The error for weights that are added to those of a network (LoRA), None for others."""
    listed = list(names)
    if not listed or not all(_ADAPTER.search(name) for name in listed):
        return None
    facts = f"holds {len(listed)} weights of an adapter (LoRA), which are added to those of a network"
    remedy = "merge both and save the result: model.merge_and_unload().save_pretrained('merged')."
    return ModelFileError(where, facts, remedy)


def _is_list_of_tensors(tree: Any) -> bool:
    """Whether it is a list of at least one tensor, and of nothing else."""
    return isinstance(tree, (list, tuple)) and bool(tree) and all(map(is_tensor, tree))
