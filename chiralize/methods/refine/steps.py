"""Steps of gradient descent whose size is a share of each weight's own size, whatever its layer.

A matrix moves along its momentum with all singular values made equal (Muon: Jordan 2024): every direction that inputs
take through a layer is learnt at one pace, so that a few hundred steps do. Kernels are matrices of "out, all the rest".
What is no matrix moves by Adam. A matrix that commutes with the mirror still does: for orthogonal A and B, as the
mirror's are, the map that makes singular values equal takes A G B to A (its image of G) B.

`training` calls `take` once a step, after `backward`. What makes singular values equal takes U S V' to U V', so that a
gradient diag(5, 0.1) moves both entries alike, by about diag(1, 1). Large matrices do it block by block (`matrices`).

torch's Muon does that in bfloat16. A processor without instructions for it takes twenty times as long as in single
precision, most of the time of a small network's training: there it is done in single precision (decision 0097).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from chiralize.methods.refine.arithmetic import has_bfloat16
from chiralize.methods.refine.imitation import sizes_of
from chiralize.methods.refine.matrices import Matrix
from chiralize.symmetry.representation import TensorRepresentation

_ADJUSTED = 0.2
"""Root mean square of a step of Muon at a rate of 1, in its option `match_rms_adamw`."""
States = list[dict[str, Any]]


class Steps:
    """Moves parameters, in place, by their gradients.

    representations: how the mirror acts on each of them, if it is known. Gradients have to commute with it.
    """

    def __init__(
        self, parameters: Iterable[Tensor], representations: Sequence[TensorRepresentation | None] | None = None
    ) -> None:
        parameters = list(parameters)
        known = representations or [None] * len(parameters)
        lacks_bfloat16 = not has_bfloat16() and all(parameter.device.type == "cpu" for parameter in parameters)
        self.precision: AbstractContextManager[Any] = _InSinglePrecision() if lacks_bfloat16 else nullcontext()
        self.matrices: list[Matrix] = []
        by_muon, by_adam = list[dict[str, Any]](), list[dict[str, Any]]()
        for parameter, size, representation in zip(parameters, sizes_of(parameters), known, strict=True):
            if _is_matrix(parameter):
                matrix = Matrix(parameter, representation, len(self.matrices))
                self.matrices.append(matrix)
                for piece, share in zip(matrix.pieces, matrix.shares, strict=True):
                    # over 0.2, so that rate x size is the root mean square of the step
                    by_muon.append({"params": [piece], "size": share * size / _ADJUSTED})
            else:
                by_adam.append({"params": [parameter], "size": size})
        self.optimizers: list[torch.optim.Optimizer] = []
        if by_muon:
            self.optimizers.append(torch.optim.Muon(by_muon, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"))
        if by_adam:
            self.optimizers.append(torch.optim.Adam(by_adam, fused=True))

    def take(self, rate: float) -> None:
        """One step. rate: of a parameter's root mean square."""
        for matrix in self.matrices:
            matrix.hand_on_gradient()
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group["size"]
            if isinstance(optimizer, torch.optim.Muon):
                self._measure(optimizer)
            with self.precision:
                optimizer.step()
        for matrix in self.matrices:
            matrix.take_step()

    def _measure(self, optimizer: torch.optim.Muon) -> None:
        """Let Muon divide both blocks of a matrix by the norm of the whole, as it would divide the matrix.

        It divides by the larger of the norm of what it is given and `eps`. A block of next to nothing stays so: beside
        the other it is rounding.
        """
        groups = {group["params"][0]: group for group in optimizer.param_groups}
        for matrix in self.matrices:
            if len(matrix.pieces) > 1 and matrix.pieces[0].grad is not None:
                norms = [_moved(piece, optimizer.state[piece], groups[piece]).norm() for piece in matrix.pieces]
                for piece in matrix.pieces:
                    groups[piece]["eps"] = float(torch.stack(norms).norm())

    def states(self) -> States:
        """What has to be kept so that later steps go on as these did."""
        return [optimizer.state_dict() for optimizer in self.optimizers]

    def resume(self, states: States) -> None:
        """Go on from `states()`."""
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(state)


class _InSinglePrecision(TorchFunctionMode):
    """Within, what is cast to bfloat16 is copied in single precision.

    A copy, as a cast makes one of any other type: Muon divides in place what it has cast.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.bfloat16:
            return args[0].to(torch.float32, copy=True)
        return func(*args, **(kwargs or {}))


def _moved(piece: Tensor, state: Mapping[str, Tensor], group: Mapping[str, Any]) -> Tensor:
    """What Muon makes the singular values of equal in its next step: Nesterov's momentum, with the gradient."""
    gradient, share = piece.grad, group["momentum"]
    assert gradient is not None
    before = state["momentum_buffer"] if "momentum_buffer" in state else torch.zeros_like(gradient)
    return gradient.lerp(before.lerp(gradient, 1 - share), share)


def _is_matrix(parameter: Tensor) -> bool:
    """Whether it takes several numbers to several others; kernels of one channel each (depthwise) do not."""
    return (
        parameter.ndim > 1 and min(parameter.shape[:2]) > 1 and parameter.is_contiguous() and not parameter.is_complex()
    )
