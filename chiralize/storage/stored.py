"""What a format hands on with the weights of a file: the input of `weights.load_weights`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True)
class Stored:
    """What a format knows of the weights in a file.

    tree: what the file holds.  tensor: what makes a torch.Tensor of an entry of a table.  preferred: keys of tables to
    try before the others.  idle: see `fits`.  arguments: of the factory, where the user gives none.  named: the class
    that the file says, "" where it says none.  build: the network of that class, by consent.  extra: texts in the file.
    restored: what the file's own code made, where it ran.  foreign: classes of objects in the file that only running
    its code could restore, which was not done.
    """

    tree: Any
    tensor: Callable[[Any, str], torch.Tensor] = lambda value, name: value
    preferred: Sequence[str] = ()
    idle: Sequence[str] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    named: str = ""
    build: Callable[[], torch.nn.Module] | None = None
    extra: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    restored: Any = None
    foreign: tuple[str, ...] = ()
