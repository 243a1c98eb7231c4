"""What is said of a model, for each of its mirrors?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chiralize.body.hidden import HiddenPolicy
from chiralize.body.skeleton import Skeleton


@dataclass(frozen=True, repr=False)
class Spec:
    """Everything that describes the mirror of one model.

    inputs, outputs: one entry per tensor, None where the layouts are inferred from the sizes.
    invariant: every output is invariant (scores).  activation: `keep` or `tanh`.
    mirrors: where the file names several mirrors, the specification of each, by name; the first of them is what this
    record holds otherwise.  notices: what was assumed while reading, for the user to see.
    """

    name: str
    skeleton: Skeleton
    inputs: tuple[Any, ...] | None = None
    outputs: tuple[Any, ...] | None = None
    hidden: HiddenPolicy = field(default_factory=HiddenPolicy)
    activation: str = "keep"
    invariant: bool = False
    mirrors: Mapping[str, Spec] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    def named(self) -> dict[str, Spec]:
        """Every mirror by name, each as a specification of that one alone; one without a name is `mirror`."""
        return dict(self.mirrors) or {"mirror": self}

    @property
    def is_affine(self) -> bool:
        """Whether some coordinates are mirrored at a point other than 0, so that biases hold an offset."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, object]:
        """The specification as JSON values: the keys of a file, with the skeleton inlined, and the notices."""
        raise NotImplementedError

    @staticmethod
    def from_dict(fields: Mapping[str, object]) -> Spec:
        """The inverse of `to_dict`. Raises SpecError."""
        raise NotImplementedError


def load_spec(
    source: str | Path | Mapping[str, object] | Skeleton | Spec,
    *,
    input_layouts: Sequence[str] = (),
    output_layouts: Sequence[str] = (),
    invariant: bool = False,
) -> Spec:
    """The specification of a shipped skeleton, a file, a dict with the keys of a file, a Skeleton, or another one."""
    raise NotImplementedError
