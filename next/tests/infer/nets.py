"""Small networks on a body of six joints, inferred and turned symmetric; T is written here with plain torch.

`finished` runs a whole inference, with what is left open imposed in halves, and projects the weights onto what came out
of it: an accepted network must then commute with T, whatever its weights were. `residual` is the judge.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from chiralize.body.hidden import HiddenPolicy
from chiralize.body.skeleton import Skeleton
from chiralize.errors import NegatedChannelsError
from chiralize.graph.export import export
from chiralize.graph.model import CapturedModel
from chiralize.infer.capture import captured
from chiralize.infer.hidden.choose import Chooser, Imposed, assign
from chiralize.infer.hidden.match import FromWeights
from chiralize.infer.inference import Inference
from chiralize.infer.records import RepMap
from chiralize.infer.symbolic import evaluate
from chiralize.symmetry.action import project
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from tests.support.zoo.case import scrambled

PAIRS = [(1, 3), (2, 4)]
IMAGE = (0, 3, 4, 1, 2, 5)
JOINTS = SignedPermutation.of(PAIRS, size=6)
PLANE = SignedPermutation.of(negated=[0], size=2)
SPACE = SignedPermutation.of(negated=[0], size=3)
ROUNDING = 1e-9
Module = TypeVar("Module", bound=nn.Module)
Turn = Callable[[Tensor], Tensor]
Spec = Sequence[TensorRepresentation | None]


class Net(nn.Module):
    """Some parts and a function that puts them together."""

    def __init__(self, compute: Callable[[Any, Any], Any], **parts: Any) -> None:
        super().__init__()
        self.compute = compute
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, x: Tensor) -> Any:
        return self.compute(self, x)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


def trained(net: Module, seed: int = 0) -> Module:
    """The network in float64 with random weights and statistics."""
    scrambled(net.double(), seed)
    return net.eval()


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rep(*axes: SignedPermutation | int, sign: int = 1) -> TensorRepresentation:
    """A representation by its axes; a number is an axis that is left alone."""
    actions = (SignedPermutation.identity(axis) if isinstance(axis, int) else axis for axis in axes)
    return TensorRepresentation(tuple(map(Representation.of, actions)), sign)


def turn_of(action: TensorRepresentation) -> Turn:
    """T for any batch and any number of frames, by numpy: axes that are left alone may have other sizes."""

    def turn(x: Tensor) -> Tensor:
        array = x.numpy()
        for position, axis in enumerate(action.axes):
            if not axis.is_trivial:
                moved = np.moveaxis(array, position, 0)[axis.action.partner]
                array = np.moveaxis((moved.T * axis.action.sign).T, 0, position)
        return torch.from_numpy(action.sign * array.copy())

    return turn


def graph_of(net: nn.Module, *args: Tensor, words: Sequence[dict[int, str]] | None = None) -> CapturedModel:
    """The captured graph; the first axis of every argument is the batch unless `words` says otherwise."""
    program, _ = export(net, args, {}, words or [{0: "b"} for _ in args])
    return captured(program, args, {})


def halves(graph: CapturedModel) -> Chooser:
    """Unit i swaps with unit i + H // 2, a quarter of the pairs negated where signs are allowed."""
    policy = HiddenPolicy(pairing=("half",), negated=(Fraction(1, 4),))
    return Imposed(policy, Skeleton("none", ("center",), ()), FromWeights(graph))


def inferred(
    net: nn.Module, x: Tensor, source: TensorRepresentation, result: TensorRepresentation, **options: Any
) -> Inference:
    """Inference of a network with one argument and one result."""
    words = options.pop("words", None)
    return Inference(graph_of(net, x, words=words), [source], [result], **options)


def represented(graph: CapturedModel, inputs: Spec, outputs: Spec, chooser: Chooser, **options: Any) -> RepMap:
    """Inference, choices, and the last run; anew without the signs of a space whose signs an op refuses."""
    plain: set[int] = set()
    while True:
        inference, before = Inference(graph, inputs, outputs, **options), len(plain)
        try:
            assign(inference, chooser, plain)
            return inference.finish()
        except NegatedChannelsError:
            if len(plain) == before:
                raise


def finished(
    net: Module,
    x: Tensor,
    source: TensorRepresentation,
    result: TensorRepresentation,
    chooser: Callable[[CapturedModel], Chooser] = halves,
    **options: Any,
) -> tuple[Module, RepMap]:
    """The network with symmetric weights, and how they transform. Raises UnsupportedError."""
    graph = graph_of(net, x, words=options.pop("words", None))
    repmap = represented(graph, [source], [result], chooser(graph), **options)
    symmetric = copy.deepcopy(net)
    state = symmetric.state_dict(keep_vars=True)
    with torch.no_grad():
        for leaf in graph.weights:
            partner = graph.leaves[repmap.partners.get(leaf.name, leaf.name)].tensor
            for name in leaf.names:
                state[name].copy_(project(leaf.tensor, evaluate(repmap.leaves[leaf.name], {}), partner))
    return symmetric, repmap


def residual(net: nn.Module, x: Tensor, turn: Turn, back: Turn) -> float:
    """max |F(T x) - T F(x)| over max |F(x)|."""
    with torch.no_grad():
        here, there = net(x), net(turn(x))
    assert here.isfinite().all() and here.abs().max() > 0
    return float((there - back(here)).abs().max() / here.abs().max())
