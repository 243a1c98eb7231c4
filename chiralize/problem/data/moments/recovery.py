"""The mean and covariance of the inputs that a network was trained on, from the statistics of its batch norms.

A norm that reads z = W x + b with running mean m and variance v says of the inputs' mean mu and covariance S

    W mu + b = m          w_i' S w_i = v_i       (running variances are those of the population, n - 1 in batches)

linear equations both. S is first taken to commute with the mirror: in the isotypic basis it is block-diagonal, with
e (e + 1) / 2 + o (o + 1) / 2 unknowns for e even and o odd numbers, about half of what it would have otherwise. Then
the other half, which the mirror negates, is let in and pulled towards 0. The equations are solved by least squares on
relative errors; negative eigenvalues, which are rounding, become 0. The variances of channels that were left out test
whether these are statistics of any inputs at all.

Two numbers a sample, exchanged by the mirror, have the directions (1, 1) / sqrt 2, even, and (1, -1) / sqrt 2, odd. In
these a symmetric S is diagonal: two unknowns in place of three. A channel w with coordinates (e, o) gives
e^2 S_ee + o^2 S_oo = v; with the other half, 2 e o S_eo is added on the left.

`drawn` asks `recover` for a Gaussian where the user gives no inputs (decision 0012).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from chiralize.graph import execution
from chiralize.graph.model import CapturedModel
from chiralize.problem.data.moments.norms import (
    Inputs,
    Norm,
    Reading,
    UndeterminedError,
    is_affine,
    norms,
    places,
    reading,
    require_samples,
    same,
)
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.isotypic import IsotypicBasis
from chiralize.symmetry.representation import TensorRepresentation

ENOUGH = 1.5  # equations per unknown
MOST_MISFIT = 0.25
_MOST_ENTRIES = 2048
_DEAD = 1e-6  # of the largest variance
_RANK = 1e-5  # of the largest singular value: smaller ones are rounding
_FLOOR = 1e-5  # of the largest eigenvalue: how small the units of a direction may be
_FOLDS = 5
_PULL = 1e-2  # towards covariances that commute with the mirror; 1e-3 to 1e-1 do as well


@dataclass(frozen=True)
class Gaussian:
    """N(mean, factor factor').  mean: "entry", factor: "entry direction" (float64)."""

    mean: Tensor
    factor: Tensor

    @property
    def covariance(self) -> Tensor:
        """The covariance, "entry entry"."""
        return self.factor @ self.factor.T

    def draw(self, count: int, seed: int) -> Tensor:
        """Samples "sample entry"."""
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(count, self.factor.shape[1], generator=generator, dtype=torch.float64)
        return self.mean + noise @ self.factor.T


@dataclass(frozen=True)
class Recovered:
    """Moments, and the norms that they come from.

    misfit: the larger of the relative errors, RMS over channels, of the means and of the variances of channels that
    were left out.
    """

    gaussian: Gaussian
    inputs: Inputs
    norms: tuple[str, ...]
    channels: int
    unknowns: int
    misfit: float

    @property
    def source(self) -> str:
        """Where the moments come from, for a report."""
        names = _listed(self.norms)
        return f"moments recovered from {names}, {self.channels} channels for {self.unknowns} unknowns"


def recover(captured: CapturedModel, actions: Sequence[TensorRepresentation | None]) -> Recovered:
    """The inputs' moments, from all norms that read an affine function of them at one place of a sample.

    actions: T on every input.  Directions that no norm sees get no spread, and may not matter to the answers.
    Raises UndeterminedError.
    """
    require_samples(actions)
    inputs, readings = read(captured)
    action = action_of(actions)
    weight, rest, variance = equations(readings)
    names = tuple(norm_reading.norm.name for norm_reading in readings)
    # Divided by sqrt v, every variance equation is w' S w = 1: the least squares are of relative errors.
    rows = weight / variance.sqrt()[:, None]  # channel entry
    # Directions that no channel reads cannot be told. They may stay without spread if the answers ignore them.
    parts = _seen(rows, action)
    hidden = _orthogonal(torch.cat(parts, 1))
    if hidden.shape[1] and _matters(captured, inputs, hidden):
        raise UndeterminedError(
            f"the answers depend on {hidden.shape[1]} directions that {_listed(names)} does not see"
        )
    # Of a symmetric S alone: the half that is let in later is pulled towards 0, and needs no equations of its own.
    unknowns = sum(part.shape[1] * (part.shape[1] + 1) // 2 for part in parts)
    needed, text = ceil(ENOUGH * unknowns), _listed(names)
    if len(rows) < needed:
        raise UndeterminedError(f"{text} has {len(rows)} channels for {unknowns} unknowns, {needed} are needed")
    mean, off = _mean(rows, rest / variance.sqrt(), torch.cat(parts, 1))
    factor, misfit = _covariance(rows, parts, unknowns)
    misfit = max(misfit, off)
    if not misfit <= MOST_MISFIT:  # also where it is nan
        raise UndeterminedError(
            f"the statistics of {text} fit no inputs (off by {misfit:.0%}): they belong to other weights, or "
            "what was seen in training is far from symmetric"
        )
    return Recovered(Gaussian(mean, factor), inputs, names, len(rows), unknowns, misfit)


def read(captured: CapturedModel) -> tuple[Inputs, list[Reading]]:
    """The inputs, and all norms that read an affine function of them at one place of each sample.

    Raises UndeterminedError where the network has no such norm.
    """
    candidates = norms(captured)
    if not candidates:
        raise UndeterminedError("the network has no batch norm with statistics of its own")
    inputs = Inputs(captured)
    linear = _linear(captured, candidates, inputs)
    if not linear:
        raise UndeterminedError(f"{candidates[0].name} reads no linear function of the inputs")
    single = [norm for norm in linear if places(captured, norm, inputs) == 1]
    if not single:
        count = places(captured, linear[0], inputs)
        raise UndeterminedError(
            f"{linear[0].name} works at {count} places of a sample and says nothing of how they go together"
        )
    size = sum(inputs.sizes)
    if size > _MOST_ENTRIES:
        raise UndeterminedError(f"a sample has {size:,} numbers, too many for {len(single[0].mean)} channels")
    readings = list(filter(None, (reading(captured, norm, inputs) for norm in single)))
    if not readings:
        raise UndeterminedError(f"{single[0].name} mixes the samples of a batch")
    return inputs, readings


def _linear(captured: CapturedModel, candidates: Sequence[Norm], inputs: Inputs) -> list[Norm]:
    """The norms that read an affine function of the inputs; a norm behind one that does not is not run."""
    linear: list[Norm] = []
    bent: set[str] = set()  # what norms read that is no affine function
    for norm in candidates:
        if norm.source in captured.leaves:
            path = ()
        else:
            path = captured.until(norm.source)
        if bent.isdisjoint(node.name for node in path):
            if is_affine(captured, norm, inputs):
                linear.append(norm)
            else:
                bent.add(norm.source)
    return linear


def _listed(names: Sequence[str]) -> str:
    """`bn1 and bn2`."""
    return " and ".join(names)


def action_of(actions: Sequence[TensorRepresentation | None]) -> SignedPermutation:
    """T on a row of all inputs. actions: T on every input.  Raises UndeterminedError where one is unknown, a state."""
    if None in actions:
        raise UndeterminedError("the network takes states")
    rows: list[SignedPermutation] = []
    for representation in actions:
        assert representation is not None
        # Without the batch; a flattened sample has the Kronecker product of the actions on its axes, the last fastest.
        axes = [axis.action for axis in representation.axes[1:]] or [SignedPermutation.identity(1)]
        row = axes[0].kronecker(*axes[1:])
        rows.append(-row if representation.sign < 0 else row)
    return rows[0].direct_sum(*rows[1:])


def equations(readings: Sequence[Reading]) -> tuple[Tensor, Tensor, Tensor]:
    """W "channel entry", m - b and v "channel" of all channels, of several norms, whose variance is not about 0.

    The others have no spread to scale their equations by.
    """
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for norm_reading in readings:
        norm, weight, bias = norm_reading.norm, norm_reading.weight, norm_reading.bias
        alive = norm.variance > _DEAD * norm.variance.max()
        parts.append((weight[alive], (norm.mean - bias)[alive], norm.variance[alive]))
    weights, rests, variances = zip(*parts, strict=True)
    return torch.cat(weights), torch.cat(rests), torch.cat(variances)


def _seen(rows: Tensor, action: SignedPermutation) -> list[Tensor]:
    """Orthonormal even and odd directions, "entry direction", that span the rows.

    Raises UndeterminedError where the span has no such basis: T takes a direction that is read to one that is not.
    """
    basis, (even, odd) = IsotypicBasis(action), (action.even, action.odd)
    _, values, vectors = torch.linalg.svd(rows, full_matrices=False)
    seen = vectors[values > _RANK * values[0]]  # direction entry, orthonormal
    # The rows of both: all even, and all odd directions in the space of entries, "direction entry".
    spans = (
        basis.join(torch.eye(even, dtype=rows.dtype), rows.new_zeros(even, odd), 1),
        basis.join(rows.new_zeros(odd, even), torch.eye(odd, dtype=rows.dtype), 1),
    )
    parts = []
    for span in spans:
        # The projection on what is seen, within this span. Its eigenvalues are 1 for directions that lie in both, and
        # 0 for those that are not seen, if T keeps the span of the rows; others in between are counted below.
        shares, turned = torch.linalg.eigh(span @ seen.T @ seen @ span.T)
        parts.append(span.T @ turned[:, shares > 0.5])
    if sum(part.shape[1] for part in parts) != len(seen):
        raise UndeterminedError("the norm reads other numbers than their mirror images")
    return parts


def _orthogonal(directions: Tensor) -> Tensor:
    """Orthonormal directions, "entry direction", beyond those that are given."""
    full = torch.linalg.qr(directions, mode="complete")[0]
    return full[:, directions.shape[1] :]


def _matters(captured: CapturedModel, inputs: Inputs, directions: Tensor) -> bool:
    """Whether the answers change when the inputs move along directions "entry direction"."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(inputs.rows, len(directions), generator=generator, dtype=directions.dtype)
    moves = torch.randn(inputs.rows, directions.shape[1], generator=generator, dtype=directions.dtype)
    before = _answers(captured, inputs.tensors(x))
    after = _answers(captured, inputs.tensors(x + moves @ directions.T))
    return any(not same(answer, after[name]) for name, answer in before.items())


def _answers(captured: CapturedModel, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    """The network's outputs on these inputs, by name."""
    return {name: value for name, value in execution.run(captured, tensors) if name in captured.outputs}


def _mean(rows: Tensor, rest: Tensor, seen: Tensor) -> tuple[Tensor, float]:
    """The mean mu, in the directions seen, from w_i' mu = rest_i by least squares; and the RMS of what remains."""
    coordinates = rows @ seen
    solution = torch.linalg.lstsq(coordinates, rest[:, None]).solution[:, 0]
    return seen @ solution, float((coordinates @ solution - rest).square().mean().sqrt())


def _covariance(rows: Tensor, parts: Sequence[Tensor], unknowns: int) -> tuple[Tensor, float]:
    """A factor of S, "entry direction", from w_i' S w_i = 1; and the RMS error on channels that were left out."""
    # 1. S commutes with the mirror: a linear system for the upper halves of its even and its odd block.
    coordinates = [rows @ part for part in parts]  # channel direction, of either kind
    matrix = torch.cat(list(map(_products, coordinates)), 1)  # channel unknown
    rank = int(torch.linalg.matrix_rank(matrix / matrix.norm(dim=0), rtol=_RANK))
    if rank < unknowns:
        raise UndeterminedError(f"the channels tell {rank} of {unknowns} unknowns: each reads a part of the sample")
    solution = torch.linalg.lstsq(matrix, matrix.new_ones(len(rows), 1)).solution[:, 0]
    blocks = _blocks(solution, [part.shape[1] for part in parts])
    # 2. In units of this S, which is R R', it is the identity, so that one strength of pull suits all directions.
    roots = [_root(block, _FLOOR) for block in blocks]
    units = [part @ root for part, root in zip(coordinates, roots, strict=True)]
    whole = torch.cat([part @ root for part, root in zip(parts, roots, strict=True)], 1)  # entry direction
    # 3. The half between even and odd directions is let in; the result is again a root, in the space of entries.
    return whole @ _root(_with_cross(units), 0.0), _left_out(units)


def _left_out(rows: Sequence[Tensor]) -> float:
    """RMS of w_i' S w_i - 1 over channels, a fifth of them at a time, S from the other four fifths."""
    both, total = torch.cat(list(rows), 1), 0.0
    for fold in range(_FOLDS):
        out = torch.arange(len(both)) % _FOLDS == fold
        inner = _with_cross([part[~out] for part in rows])
        total += float((((both[out] @ inner) * both[out]).sum(1) - 1).square().sum())
    return (total / len(both)) ** 0.5


def _with_cross(rows: Sequence[Tensor]) -> Tensor:
    """S in units of a symmetric one. Even and odd numbers, independent in that, may depend on each other here.

    rows: "channel even" and "channel odd".  Returns "direction direction", the even ones first:

        minimise  sum over channels (w' S w - 1)^2 + pull * sum of squares of the corner S_eo
    """
    even, odd = rows
    cross = 2 * (even[:, :, None] * odd[:, None, :]).flatten(1)
    matrix = torch.cat([_products(even), _products(odd), cross], 1)
    pull = matrix.new_full((matrix.shape[1],), _RANK**2)  # next to nothing, so that the matrix can be inverted
    pull[matrix.shape[1] - cross.shape[1] :] = _PULL
    solution = torch.linalg.solve(matrix.T @ matrix + pull.diag(), matrix.T @ matrix.new_ones(len(matrix)))
    sizes = even.shape[1], odd.shape[1]
    first, last = _blocks(solution, sizes)
    corner = solution[len(solution) - cross.shape[1] :].reshape(sizes)
    return torch.cat([torch.cat([first, corner], 1), torch.cat([corner.T, last], 1)])


def _blocks(solution: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Symmetric matrices from their upper halves, one after the other."""
    blocks, start = [], 0
    for size in sizes:
        upper = torch.triu_indices(size, size)
        block = solution.new_zeros(size, size)
        block[upper[0], upper[1]] = solution[start : start + upper.shape[1]]
        start += upper.shape[1]
        blocks.append(block + block.triu(1).T)  # the diagonal is there once
    return blocks


def _root(matrix: Tensor, floor: float) -> Tensor:
    """R with R R' the nearest positive semidefinite matrix.  floor: of the eigenvalues, relative to the largest."""
    values, vectors = torch.linalg.eigh(matrix)
    least = floor * float(values.max().clamp_min(0)) if len(values) else 0.0
    return vectors * values.clamp_min(least).sqrt()


def _products(rows: Tensor) -> Tensor:
    """w_a w_b for a = b and 2 w_a w_b for a < b, "row pair": times the upper half of a symmetric S it is w' S w."""
    first, second = torch.triu_indices(rows.shape[1], rows.shape[1])
    return rows[:, first] * rows[:, second] * (1.0 + (first != second))
