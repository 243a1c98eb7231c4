"""Fine-tuning a converted network without losing its symmetry.

Gradient steps break the symmetry of dense weights a little each time. Projecting after every step keeps it: exactly
for the weights, and the optimizer needs no change. Layers of `chiralize.nn` need none of that, other weights of a
network that has such layers do.

Where there are labels, `recipe` trains a converted network on as if it were new: with the rate that the original began
with, falling along a cosine. The original's answers are no target then; they only hold it back (decision 0032).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from chiralize.body.tensors.claims import is_partial
from chiralize.errors import UsageError
from chiralize.graph.copies import replaced, unwrapped
from chiralize.nn.symmetric import Weights, are_computed, in_blocks, tensors_by_name
from chiralize.nn.two_view import TwoView


class Kept:
    """A network whose weights are projected after every step of an optimizer, until this is called."""

    def __init__(self, module: torch.nn.Module, chirality: Any, optimizer: torch.optim.Optimizer) -> None:
        self.module, self.exchanged = module, chirality.exchanged
        self.others = getattr(chirality, "others", ())
        # Weights of layers in blocks need no projection, whether they are held as blocks or computed from them.
        computed = are_computed(tensors_by_name(module), chirality.hidden, chirality.form)
        hidden = {name: rep for name, rep in chirality.hidden.items() if name not in computed}
        self.hidden = {name: rep for name, rep in hidden.items() if not in_blocks(module, name)}
        self._handle = optimizer.register_step_post_hook(lambda *_: self.project())

    def project(self) -> None:
        """Make weights and running statistics symmetric now: after forward passes in training mode that no step of the
        optimizer followed (`torch.optim.swa_utils.update_bn`, a step that a `GradScaler` left out).
        """
        tensors = tensors_by_name(self.module)  # looked up every time: they may have been replaced
        Weights(tensors, self.hidden, self.exchanged, self.others).project()

    def __call__(self) -> None:
        self._handle.remove()


def keep_symmetric(module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Kept:
    """Project the weights of a converted module after every step of the optimizer.

    module: a result of `chiralize` (it carries `chirality`), compiled or in DataParallel or not; of an averaged one
    nothing has to be projected.  Call what is returned to stop it.
    Raises UsageError for a module without hidden representations, one whose weights have other names by now, and an
    optimizer of another network.
    """
    chirality: Any = getattr(unwrapped(module), "chirality", None)
    hidden = getattr(chirality, "hidden", None)
    if isinstance(unwrapped(module), TwoView):  # the average of both views is symmetric whatever its weights are
        return Kept(module, chirality, optimizer)
    if not hidden:
        raise UsageError(
            type(module).__name__, "it does not say how its weights transform", "pass a folded result of chiralize(...)"
        )
    if is_partial(chirality.spec):
        facts = "nothing is claimed of some of its outputs, whose rows no mirror holds"
        raise UsageError(type(module).__name__, facts, "fine-tune the original, and convert it again afterwards")
    if chirality.spec.is_affine:
        facts = "its mirror is affine (`reflect`), so its biases hold the offset of the coordinates"
        remedy = "centre the coordinates before the network for fine-tuning, or convert again afterwards"
        raise UsageError(type(module).__name__, facts, remedy)
    module = unwrapped(module)
    tensors = tensors_by_name(module)
    absent = [name for name in hidden if name not in tensors and not in_blocks(module, name)]
    computed = are_computed(tensors, hidden, chirality.form)
    missing = [name for name in absent if name not in computed]
    if missing:
        facts = f"it has no {missing[0]} any more, which is to stay symmetric ({len(missing)} of {len(hidden)})"
        raise UsageError(type(module).__name__, facts, "parametrize the network before it is converted")
    parameters = set(map(id, module.parameters()))
    # Else steps would be taken on another network, and this one projected in vain.
    if not any(id(given) in parameters for group in optimizer.param_groups for given in group["params"]):
        facts = "it holds no parameter of the network"
        raise UsageError(type(optimizer).__name__, facts, "make it from the parameters of the result of chiralize(...)")
    return Kept(module, chirality, optimizer)


Batch = TypeVar("Batch")
_WARM_UP = 0.05  # of the steps, in which the rate rises
_LARGEST = 1.0  # norm of a gradient
_LOOKS = 10


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
    # No step is projected from here on; the weights loaded below have been projected.
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
    with torch.no_grad():
        if batches:
            return sum(float(loss(network, batch)) for batch in batches) / len(batches)
        return math.inf
