"""Fine-tuning a converted network without losing its symmetry.

Gradient steps break the symmetry of dense weights a little each time. Projecting after every step keeps it: exactly for
the weights, and the optimizer needs no change. Layers of `chiralize.nn` need none of that, other weights of a network
that has such layers do.

    keep_symmetric(chiral, optimizer)        for a training loop that there is already
    recipe(chiral, batches, loss)            for labels and no training loop

`recipe` trains a converted network on as if it were new: with the rate that the original began with, falling along a
cosine. The original's answers are no target then; they only hold it back.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from chiralize.errors import UsageError
from chiralize.graph.run import replaced, unwrapped
from chiralize.nn.module import ChiralModule
from chiralize.nn.two_view import MirrorTensor, TwoView
from chiralize.symmetry.representation import TensorRepresentation

Batch = TypeVar("Batch")
_WARM_UP = 0.05
"""Share of the steps in which the rate rises, as is usual for Adam."""
_LARGEST = 1.0
"""Norm of a gradient, as is usual for transformers and recurrent networks."""
_LOOKS = 10
"""How often what is held out is measured: a tenth of a training is seldom lost."""


class Projection:
    """A network whose weights are projected after every step of an optimizer, until this is called.

    hidden: representation of every weight, by name.  exchanged: weights that the mirror takes to another one, and that
    one's name.  others: representations under further mirrors, which commute with the first.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        hidden: Mapping[str, TensorRepresentation],
        exchanged: Mapping[str, str],
        others: Sequence[Mapping[str, TensorRepresentation]] = (),
    ) -> None:
        self.module, self.exchanged = module, exchanged
        # T on every weight with its index tables, which take three times as long to make as to apply.
        self.turns: dict[str, list[MirrorTensor]] = {}
        for name, rep in hidden.items():
            first = [rep] if name in exchanged or not rep.is_trivial else []
            reps = [*first, *(other[name] for other in others if name in other and not other[name].is_trivial)]
            if reps:  # what no mirror moves stays as it is
                self.turns[name] = [MirrorTensor((each, None)) for each in dict.fromkeys(reps)]
        self._handle = optimizer.register_step_post_hook(lambda *_: self.project())

    @torch.no_grad()
    def project(self) -> None:
        """Make weights and running statistics symmetric now: after forward passes in training mode that no step of the
        optimizer followed (`torch.optim.swa_utils.update_bn`, a step that a `GradScaler` left out).
        """
        tensors = _tensors_by_name(self.module)  # looked up every time: they may have been replaced
        images: dict[str, Tensor] = {}
        for name, turns in self.turns.items():
            value = _mean(tensors[name], tensors[self.exchanged.get(name, name)], turns[0])
            for turn in turns[1:]:
                value = _mean(value, value, turn)
            images[name] = value
        for name, value in images.items():  # all at once: a partner is projected from its old value, too
            tensors[name].copy_(value)

    def __call__(self) -> None:
        self._handle.remove()


def _mean(tensor: Tensor, partner: Tensor, turn: MirrorTensor) -> Tensor:
    """(W + T W) / 2, as `symmetry.action.project`: half precision is computed in float32."""
    dtype = torch.promote_types(tensor.dtype, torch.float32)
    return 0.5 * tensor.to(dtype) + 0.5 * turn.to(tensor.device)(partner).to(dtype)


def keep_symmetric(module: nn.Module, optimizer: torch.optim.Optimizer) -> Projection:
    """Project the weights of a converted module after every step of the optimizer.

    module: a result of `chiralize` (it carries `chirality`), compiled or in DataParallel or not; of an averaged one
    nothing has to be projected.  Call what is returned to stop it.
    Raises UsageError for a module without hidden representations, one whose weights have other names by now, and an
    optimizer of another network.
    """
    module = unwrapped(module)
    if isinstance(module, TwoView):  # the average of both views is symmetric whatever its weights are
        return Projection(module, optimizer, {}, {})
    chirality: Any = getattr(module, "chirality", None)
    if not getattr(chirality, "hidden", None):
        facts = "it does not say how its weights transform"
        raise UsageError(type(module).__name__, facts, "pass a folded result of chiralize(...)")
    if chirality.spec.is_affine:
        facts = "its mirror is affine (`reflect`), so its biases hold the offset of the coordinates"
        remedy = "centre the coordinates before the network for fine-tuning, or convert again afterwards"
        raise UsageError(type(module).__name__, facts, remedy)
    tensors = _tensors_by_name(module)
    hidden = {name: rep for name, rep in chirality.hidden.items() if not _in_blocks(module, name)}
    missing = [name for name in hidden if name not in tensors]
    if missing:
        facts = f"it has no {missing[0]} any more, which is to stay symmetric ({len(missing)} of {len(hidden)})"
        raise UsageError(type(module).__name__, facts, "parametrize the network before it is converted")
    parameters = set(map(id, module.parameters()))
    # Else steps would be taken on another network, and this one projected in vain.
    if not any(id(given) in parameters for group in optimizer.param_groups for given in group["params"]):
        facts = "it holds no parameter of the network"
        raise UsageError(type(optimizer).__name__, facts, "make it from the parameters of the result of chiralize(...)")
    passport = chirality.passport
    return Projection(module, optimizer, hidden, passport.exchanged, list(passport.mirrors.values()))


def _in_blocks(module: nn.Module, name: str) -> bool:
    """Whether this weight belongs to a layer of `chiralize.nn`, which keeps it symmetric itself."""
    part: object = module
    for step in name.split("."):
        if isinstance(part, ChiralModule):
            return True
        part = getattr(part, step, None)
    return False


def _tensors_by_name(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by every name that they have."""
    parameters = module.named_parameters(remove_duplicate=False)
    return dict(parameters) | dict(module.named_buffers(remove_duplicate=False))


# ---- the recipe -------------------------------------------------------------------------------------------------
def recipe(
    chiral: nn.Module,
    batches: Iterable[Batch],
    loss: Callable[[nn.Module, Batch], Tensor],
    *,
    steps: int = 1000,
    rate: float = 1e-3,
    held: Sequence[Batch] = (),
    progress: Callable[[int, int, float], None] = lambda step, steps, loss: None,
) -> nn.Module:
    """A copy of a converted network, trained on with labels; equivariant as before, and in eval mode.

    It is Adam with gradients of a norm of at most 1. Its rate rises to `rate` and falls to 0 along a cosine. Weights
    are projected after every step. Mirrored copies of the samples are not needed: they would teach nothing new.
    chiral: a result of `chiralize` that `keep_symmetric` takes.
    batches: a list, a DataLoader or anything else that can be run through again; a generator has to hold `steps`
    batches.
    loss: takes the network and one batch, and gives a tensor with one number.
    rate: about what the original was trained with; smaller ones bring less.
    held: other labelled batches, measured about ten times on the way. The weights that did best are returned, so that
    the result is never worse there than `chiral`.
    progress: takes step, steps, and the mean loss on `held` (without any, the loss of that step).
    Raises UsageError where nothing can be trained, or batches end before the steps do.
    """
    if steps < 1 or not rate > 0:
        raise UsageError("recipe", f"steps {steps}, rate {rate}", "give at least one step, and a rate above 0")
    network = replaced(chiral, {})
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share(step, steps))
    projection = keep_symmetric(network, optimizer)
    best, weights = _mean_loss(network, loss, held), copy.deepcopy(network.state_dict())
    given = _again_and_again(batches)
    for step in range(1, steps + 1):
        batch = next(given, None)
        if batch is None:
            facts = f"they end after {step - 1} of {steps} steps"
            raise UsageError("batches", facts, "give a list or a DataLoader, which begin again, or fewer steps")
        network.train()
        optimizer.zero_grad()
        value = loss(network, batch)
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), _LARGEST)
        optimizer.step()
        schedule.step()
        if step == steps or step % max(steps // _LOOKS, 1) == 0:
            projection.project()  # running statistics, too
            now = _mean_loss(network, loss, held) if held else float(value.detach())
            progress(step, steps, now)
            # Without held batches the latest weights count.
            if not held or now < best:
                best, weights = now, copy.deepcopy(network.state_dict())
    projection()
    network.load_state_dict(weights)
    return network.eval()


def _share(step: int, steps: int) -> float:
    """The share of the rate in a step: rising, then a half cosine."""
    warm_up = max(1, round(_WARM_UP * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 + 0.5 * math.cos(math.pi * (step - warm_up) / max(steps - warm_up, 1))


def _again_and_again(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The batches, from the beginning where they end; a generator begins once."""
    has_batches = True
    while has_batches:
        has_batches = False
        for batch in batches:
            has_batches = True
            yield batch


def _mean_loss(network: nn.Module, loss: Callable[[nn.Module, Batch], Tensor], batches: Sequence[Batch]) -> float:
    """Mean loss over batches, in eval mode; infinite without any."""
    network.eval()
    if not batches:
        return math.inf
    with torch.no_grad():
        return sum(float(loss(network, batch)) for batch in batches) / len(batches)
