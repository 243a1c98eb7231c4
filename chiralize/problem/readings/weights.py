"""What the weights of a network say of its inputs: widths that layers read, sizes of states, lengths of tables.

Nothing is run. What is read here is a list of candidates for sizes; whether the network takes them, trials tell.
Classes are known by their names as well as by their attributes, since TorchScript keeps `original_name` alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

LONGEST = 1024
"""Frames that a table may hold; longer axes are widths."""
_OF_VECTORS = ("Linear", "LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell")
_FEWEST = 4
"""Shorter axes are kernels, coordinates and the like."""
_OF_LAYERS = ("weight", "bias", "in_proj", "gamma", "beta", "scale")


def _width(part: nn.Module) -> int | None:
    """How many numbers a layer reads at once; None for a layer that does not say."""
    for name in ("in_features", "input_size", "in_channels"):
        value = getattr(part, name, None)
        if isinstance(value, int):
            return value
    return None


def widths_read(module: nn.Module) -> list[int]:
    """The widths that layers read, in the order of the network."""
    widths = [width for width in map(_width, module.modules()) if width is not None]
    if not widths:  # TorchScript keeps the weights, and not always the numbers
        widths = [weight.shape[1] for weight in module.parameters() if weight.ndim > 1]
    return list(dict.fromkeys(widths))


def widths_of_vectors(module: nn.Module) -> set[int]:
    """The widths of vectors that linear and recurrent layers read: what lies along that axis are features."""
    widths: set[int] = set()
    for part in module.modules():
        if getattr(part, "original_name", type(part).__name__) in _OF_VECTORS:
            width = _width(part)
            # Where a script keeps no number, second sizes of its matrices are taken, "out in".
            weights = [weight.shape[1] for weight in part.parameters(recurse=False) if weight.ndim == 2]
            widths.update([width] if width is not None else weights)
    return widths


def has_table_of(module: nn.Module, joints: int) -> bool:
    """Whether a weight that is of no layer, or a constant, has an axis of the joints: an embedding, an adjacency."""
    constants = [buffer for buffer in module.buffers() if buffer.ndim > 1]
    return any(joints in tensor.shape for tensor in [*tables(module), *constants] if tensor.ndim > 1)


def first_width(module: nn.Module) -> int | None:
    """The width that the first layer reads; None for a network without layers."""
    return next(iter(widths_read(module)), None)


def first_layer(module: nn.Module) -> str:
    """The first layer that says how much it reads, in words: `Linear 'first' reads 45 numbers`; empty without one."""
    for name, part in module.named_modules():
        width = _width(part)
        if width is not None:
            kind = getattr(part, "original_name", type(part).__name__)
            return f"{kind} {name!r} reads {width} numbers"
    for name, weight in module.named_parameters():
        if weight.ndim > 1:
            return f"{name!r} reads {weight.shape[1]} numbers"
    return ""


def hidden_sizes(module: nn.Module) -> list[int]:
    """Sizes that a state may have: all lengths of axes of weights, the commonest first."""
    counts: dict[int, int] = {}
    for weight in module.parameters():
        for size in weight.shape:
            counts[size] = counts.get(size, 0) + 1
    return sorted((size for size in counts if size > 1), key=lambda size: (-counts[size], size))  # ties: the smaller


def tables(module: nn.Module) -> list[Tensor]:
    """Parameters that are tables: of an embedding, or weights that belong to no layer, such as learned positions."""
    stored: list[Tensor] = []
    for part in module.modules():
        is_embedding = "Embedding" in getattr(part, "original_name", type(part).__name__)
        for name, parameter in part.named_parameters(recurse=False):
            if is_embedding or not name.startswith(_OF_LAYERS):
                stored.append(parameter)
    return stored


def lengths(tensors: Iterable[Tensor]) -> list[int]:
    """Lengths of axes that could count frames, ascending."""
    sizes: set[int] = set()
    for tensor in tensors:
        sizes.update(size for size in tensor.shape if _FEWEST <= size <= LONGEST)
    return sorted(sizes)
