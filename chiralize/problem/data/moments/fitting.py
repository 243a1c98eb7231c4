"""A Gaussian to mix with inputs that are poorly spread: as near to the network's memory of its inputs as can be had.

Where the statistics determine the moments, it has these. Where they leave some open, its covariance meets all of them:
a descent starts from the covariance of the inputs at hand with their mirror images, and leaves it as it is where the
statistics say nothing. Without statistics it has the covariance at hand, plus a tenth of the variance of every entry.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from chiralize.graph.model import CapturedModel
from chiralize.problem.data.moments.norms import Inputs, UndeterminedError, require_samples
from chiralize.problem.data.moments.recovery import Gaussian, action_of, equations, read, recover
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import TensorRepresentation

MOST_ENTRIES = 2048
"""Of a sample: a covariance has the square of that."""
_FLOOR = 1e-5
"""Of the largest eigenvalue: what a direction has at least, so that the descent can make it larger."""
_BROADER = 0.1
_STEPS = 300


def nearest(
    captured: CapturedModel, actions: Sequence[TensorRepresentation | None], rows: Tensor
) -> tuple[Gaussian, str]:
    """A Gaussian for inputs at hand, and the text that says where it comes from.

    actions: T on every input.  rows: the inputs, "sample entry".  Raises UndeterminedError where there is none.
    """
    require_samples(actions)
    # 1. The statistics determine the moments: the inputs at hand are not needed.
    try:
        recovered = recover(captured, actions)
        return recovered.gaussian, recovered.source
    except UndeterminedError:
        pass
    if rows.shape[1] > MOST_ENTRIES:
        raise UndeterminedError(f"a sample has {rows.shape[1]:,} numbers, more than {MOST_ENTRIES:,}")
    Inputs(captured)  # raises where a sample is no row of numbers
    action = action_of(actions)
    start = _mirrored(torch.cov(rows.double().T), action)
    # 2. No statistics that could be read: the inputs' own moments, broadened.
    try:
        readings = read(captured)[1]
    except UndeterminedError:
        broad = start + _BROADER * start.diagonal().diag()
        return Gaussian(rows.double().mean(0), _root(broad)), "the moments of the calibration inputs, broadened"
    # 3. Too few equations: of all moments that meet them, those that are near to the inputs' own.
    weight, rest, variance = equations(readings)
    scale = variance.sqrt()[:, None]
    mean = _nearest_mean(weight / scale, rest[:, None] / scale, rows.double().mean(0))
    names = " and ".join(reading.norm.name for reading in readings)
    return Gaussian(mean, _descended(weight / scale, start, action)), f"the calibration's moments, fitted to {names}"


def _nearest_mean(rows: Tensor, rest: Tensor, mean: Tensor) -> Tensor:
    """The mean that meets the statistics and is nearest to the given one.  rows: "channel entry", rest: "channel 1"."""
    return mean + (torch.linalg.pinv(rows, rtol=_FLOOR) @ (rest - rows @ mean[:, None]))[:, 0]


def _mirrored(covariance: Tensor, action: SignedPermutation) -> Tensor:
    """The covariance of inputs together with their mirror images: (C + T C T') / 2."""
    return (covariance + _turned(_turned(covariance, action).T, action)) / 2


def _turned(rows: Tensor, action: SignedPermutation) -> Tensor:
    """T on the rows of a matrix."""
    return rows[torch.tensor(action.partner)] * torch.tensor(action.sign, dtype=rows.dtype)[:, None]


def _descended(rows: Tensor, start: Tensor, action: SignedPermutation) -> Tensor:
    """A factor of S = R X X' R' with w_i' S w_i = 1 for w_i and T w_i. R: a root of the start S_0, where X = 1.

    Found by L-BFGS on log(w_i' S w_i).
    """
    root = _root(start)
    both = torch.stack([rows @ root, _turned(rows.T, action).T @ root])  # view channel direction
    inner = torch.eye(len(root), dtype=torch.float64).requires_grad_()
    search = torch.optim.LBFGS([inner], max_iter=_STEPS, history_size=20, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        """Mean square of log(w_i' S w_i), with its gradient."""
        search.zero_grad()
        off = (both @ inner).square().sum(-1).mean(0).clamp_min(1e-30).log().square().mean()
        off.backward()
        return off

    search.step(loss)  # type: ignore[arg-type]
    factor = root @ inner.detach()
    # The mean of S and T S T', so that the Gaussian is symmetric; w' S w was fitted in this mean.
    return torch.cat([factor, _turned(factor, action)], 1) * 0.5**0.5


def _root(covariance: Tensor) -> Tensor:
    """R with R R' the covariance, whose small eigenvalues are raised to the floor."""
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp_min(_FLOOR * float(values.max())).sqrt()
