"""All weights of a converted network fitted at once, by Gauss-Newton steps that do not leave symmetry.

    min over d  |r + J d|^2 + damping |d|^2        r: what the answers are off by,  J: their derivatives

d is the change of the weights in units of each parameter's own root mean square. Layer by layer, least squares fit a
weight to what its readers should have seen; here the layers make up for each other. The minimum is sought by conjugate
gradients in the symmetric subspace: J d is a difference of answers and J' u a backward pass, so every network that
can be differentiated once will do. They start well because the system of one weight W, "out in", is close to

    J' J  =  L x R / tr L,        L = E[G G'],  R = E[G' G],  G: J' u for random signs u, as a matrix

(the Kronecker factors of Martens & Grosse 2015, from gradients alone as in Gupta et al. 2018); L and R commute with
the mirror because every G does. Each round sees its inputs moved by noise of their own covariance (`perturbation.py`),
goes as far along d as the held-out inputs like, and is damped more where that was not far.

Rounds that nobody asked for have a limit of time (`within_time.py`): on fewer inputs, or fewer of them.

`refine.refined` calls `refine`, with a distance (`imitation.Distance`, of which r are the roots of the terms) and the
weights that may move. Vectors of the search (d, J' u) are dicts of tensors by the weights' names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from chiralize.graph import processes
from chiralize.graph.running import Call
from chiralize.graph.tensors import number_count
from chiralize.methods.refine.imitation import Distance, Weights, sizes_of
from chiralize.methods.refine.within_time import limited, unlimited
from chiralize.problem.data.perturbation import perturbed

_PRODUCTS = 8  # with J' J in a round
_SHARES = (1.0, 0.5, 0.25)  # shares of the step d that are tried
_DAMPING = 1e-3  # of the mean of J' J's diagonal, at first
_DIFFERENCE = 1e-3  # of a weight's own size
_SIGNS = 4  # vectors u of a batch
_FADING = 0.5  # weight of the earlier rounds' estimate of J' J
_WIDEST = 1024  # side of a weight that gets a factor of its own; of a wider one the diagonal
_GAIN = 3e-3  # share of the distance that a round has to gain
_PATIENCE = 2  # rounds with less gain, after which the fit stops
Vector = dict[str, Tensor]
"""One tensor for every weight, of its shape, in units of that weight's root mean square."""
Report = Callable[[int, int, float], None]


def refine(
    distance: Distance,
    weights: Weights,
    seen: Sequence[Call],
    held: Sequence[Call],
    rounds: int,
    rows: bool,
    report: Report = lambda done, rounds, loss: None,
    seconds: float = math.inf,
) -> list[float]:
    """Move the weights in place; the distance on held-out inputs, before and after every round.

    Ends before `rounds` when they no longer bring anything.
    seen, held: batches of inputs to fit on, and others, which decide on how far to go.  rows: the leading axis of the
    inputs holds independent samples.  report: rounds done, rounds, distance on held-out inputs.
    seconds: that all rounds may take, on fewer inputs where there are too many for that.
    """

    def rehearse() -> None:
        """Take one batch through a round, for its time alone: no weight has moved in the end."""
        system, random = _System(distance, weights), torch.Generator().manual_seed(0)
        calls = [perturbed(seen[0], seen, rows, random)]
        system.look(calls, random)
        system.step(calls, _DAMPING)

    plan = unlimited(seen, held, rows)
    if seconds < math.inf:
        plan = limited(plan, seen, rows, seconds, rounds, distance.on, rehearse)
    held = plan.held
    system = _System(distance, weights)
    generator = torch.Generator().manual_seed(0)
    losses, damping, idle = [distance.on(held)], _DAMPING, 0
    while len(losses) <= rounds and idle < _PATIENCE and plan.holds_another(len(losses) - 1):
        # 1. New points beside the inputs, and what the answers there say of J' J.
        calls = [perturbed(batch, seen, rows, generator) for batch in _some(seen, plan.batches, generator)]
        system.look(calls, generator)
        start, step = weights.copies(), system.step(calls, damping)
        # 2. A share of the step: the model is quadratic, the network is not. A loss that is no number is the worst.
        ways: list[tuple[float, float, Vector]] = []
        for share in _SHARES:
            weights.restore(weights.projected(system.moved(start, step, share)))
            ways.append((distance.on(held), share, weights.copies()))
        loss, share, values = min(ways, key=lambda way: (math.isnan(way[0]), way[0]))
        # 3. More damping makes the next step shorter: a little more where a quarter was best, ten times where nothing
        # was better than to stay.
        if loss < losses[-1]:
            damping *= 1 if share > _SHARES[-1] else 2
        else:
            damping *= 10
            loss, values = losses[-1], start
        weights.restore(values)
        idle = 0 if loss < (1 - _GAIN) * losses[-1] else idle + 1
        losses.append(loss)
        report(len(losses) - 1, rounds, loss)
    return losses


def _some(seen: Sequence[Call], count: int, generator: torch.Generator) -> list[Call]:
    """So many batches for a round, at random."""
    order = torch.randperm(len(seen), generator=generator).tolist()
    return [seen[position] for position in order[:count]]


class _System:
    """J' J at the weights as they are, in the symmetric subspace and in units of each parameter's size.

    sizes: the root mean square of every weight, at the start.  known: by weight, L and R (or their diagonals); of a
    bias the squares alone.  scale: the mean of J' J's diagonal, which damping is a share of.
    """

    def __init__(self, distance: Distance, weights: Weights) -> None:
        self.distance, self.weights = distance, weights
        parameters = weights.parameters
        self.sizes = dict(zip(parameters, sizes_of(list(parameters.values())), strict=True))
        self.known: dict[str, list[Tensor]] = {}
        self.scale = 0.0

    def moved(self, start: Mapping[str, Tensor], step: Vector, share: float) -> Vector:
        """Weights after a share of a step, which is in units of each parameter's size."""
        return {name: values + share * self.sizes[name] * step[name] for name, values in start.items()}

    def look(self, calls: Sequence[Call], generator: torch.Generator) -> None:
        """Update the second moments of J' u by random signs u; those of earlier rounds keep a share of their weight."""
        moments: dict[str, list[Tensor]] = {}
        for call in calls:
            given = self.distance.answers(call)
            for _ in range(_SIGNS):
                # E[u u'] = 1, so that E[J' u u' J] = J' J
                u = torch.randint(0, 2, given.shape, generator=generator).to(given) * 2 - 1
                for name, gradient in self.weights.projected(self._pulled(given, u)).items():
                    new = _factors(gradient)
                    sums = moments.setdefault(name, [torch.zeros_like(part) for part in new])
                    for total, part in zip(sums, new, strict=True):
                        total += part / (_SIGNS * len(calls))
        for name, sums in moments.items():
            new = self._mean(sums)
            if name in self.known:
                pairs = zip(self.known[name], new, strict=True)
                new = [_FADING * before + (1 - _FADING) * now for before, now in pairs]
            self.known[name] = new
        # the trace of L is that of J' J, the sum of G's squares
        count = number_count(self.weights.parameters.values())
        self.scale = sum(float(_diagonal(factors[0]).sum()) for factors in self.known.values()) / count

    def step(self, calls: Sequence[Call], damping: float) -> Vector:
        """d after some conjugate gradients, preconditioned, from d = 0.

        left: -J' r - (J' J + damping) d, which is 0 at the minimum.  turned: the same over the preconditioner.
        along: the direction of the search.
        """
        damping *= self.scale
        prepare = self._preconditioner(damping)
        here, slope = self._slope(calls)
        left = {name: -gradient for name, gradient in slope.items()}
        step = {name: torch.zeros_like(direction) for name, direction in left.items()}
        turned = prepare(left)
        along, energy = turned, _dot(left, turned)
        for _ in range(_PRODUCTS):
            if not energy > 0:  # nothing is left, or it is no number
                break
            image = self._product(calls, here, along, damping)
            bend = _dot(along, image)
            if not bend > 0:  # by rounding alone, or no number: J' J + damping is positive
                break
            length = energy / bend
            step = _sum(step, length, along)
            left = _sum(left, -length, image)
            turned = prepare(left)
            energy, before = _dot(left, turned), energy
            along = _sum(turned, energy / before, along)
        return step

    def _slope(self, calls: Sequence[Call]) -> tuple[list[Tensor], Vector]:
        """The answers, and J' r."""
        here: list[Tensor] = []
        parts: list[Vector] = []
        for call in calls:
            given = self.distance.answers(call)
            here.append(given.detach())
            parts.append(self._pulled(given, here[-1] - self.distance.targets(call)))
        return here, self._total(parts)

    def _product(self, calls: Sequence[Call], here: Sequence[Tensor], along: Vector, damping: float) -> Vector:
        """(J' J + damping) along."""
        # J along is a difference of answers, over a share for which weights move by a thousandth of their size: less
        # would drown in rounding, more would leave the tangent. J' of that is a backward pass at the weights as they
        # are.
        start = self.weights.copies()
        share = _DIFFERENCE * (number_count(along.values()) / _dot(along, along)) ** 0.5
        self.weights.restore(self.moved(start, along, share))
        with torch.no_grad():
            pushed = [(self.distance.answers(call) - answer) / share for call, answer in zip(calls, here, strict=True)]
        self.weights.restore(start)
        image = self._total(self._pulled(self.distance.answers(call), u) for call, u in zip(calls, pushed, strict=True))
        return _sum(image, damping, along)

    def _pulled(self, given: Tensor, u: Tensor) -> Vector:
        """J' u; what is not finite, as behind a root of 0, counts as 0."""
        # retain_graph: `look` pulls several u through the same answers
        names, parameters = zip(*self.weights.parameters.items(), strict=True)
        gradients = torch.autograd.grad(given, parameters, u, retain_graph=True, allow_unused=True)
        pulled = {name: torch.zeros_like(parameter) for name, parameter in self.weights.parameters.items()}
        for name, gradient in zip(names, gradients, strict=True):
            if gradient is not None:
                pulled[name] = gradient.nan_to_num(0, 0, 0) * self.sizes[name]
        return pulled

    def _total(self, parts: Iterable[Vector]) -> Vector:
        """The mean over the calls of all processes, made symmetric."""
        # one after the other: a part is made when it is asked for, and no two need to be in memory
        total: Vector = {}
        count = 0
        for part in parts:
            if total:
                total = {name: vector + total[name] for name, vector in part.items()}
            else:
                total = part
            count += 1
        means = self._mean([sums / count for sums in total.values()])
        return self.weights.projected(dict(zip(total, means, strict=True)))

    def _mean(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The mean over all processes."""
        processes.add_up(tensors)
        return [tensor / processes.count() for tensor in tensors]

    def _preconditioner(self, damping: float) -> Callable[[Vector], Vector]:
        """An approximation of (J' J + damping)^-1; one eigendecomposition of each factor serves the whole round."""
        bases = {name: list(map(_basis, moments)) for name, moments in self.known.items()}

        def prepare(given: Vector) -> Vector:
            """(L x R / tr L + damping)^-1 of a vector."""
            return {name: _divided(vector, bases[name], damping) for name, vector in given.items()}

        return prepare


def _factors(gradient: Tensor) -> list[Tensor]:
    """The terms that one G adds to L and R; for a bias the squares of its entries."""
    if gradient.ndim < 2:
        return [gradient.square()]
    matrix = gradient.flatten(1)
    return [_moment(matrix), _moment(matrix.T)]


def _moment(rows: Tensor) -> Tensor:
    """G G' of G, or its diagonal where it is large."""
    if len(rows) <= _WIDEST:
        return rows @ rows.T
    return rows.square().sum(1)


def _diagonal(moment: Tensor) -> Tensor:
    """The diagonal of a moment, which may be all that is known of it."""
    if moment.ndim == 2:
        return moment.diagonal()
    return moment


def _basis(moment: Tensor) -> tuple[Tensor, Tensor | None]:
    """Eigenvalues, and vectors where the moment is not diagonal."""
    if moment.ndim != 2:
        return moment, None
    values, vectors = torch.linalg.eigh(moment.double())
    return values.clamp_min(0).to(moment), vectors.to(moment)


def _divided(vector: Tensor, bases: Sequence[tuple[Tensor, Tensor | None]], damping: float) -> Tensor:
    """A vector over J' J + damping, as the factors have it.

    With L = U diag(l) U' and R = V diag(r) V':   U ((U' X V) / (l r' / tr L + damping)) V',   X the vector as a matrix.
    """
    if len(bases) == 1:
        return vector / (bases[0][0] + damping)
    (left, turn), (right, turn_in) = bases
    matrix = vector.flatten(1)
    if turn is not None:
        matrix = turn.T @ matrix
    if turn_in is not None:
        matrix = matrix @ turn_in
    total = left.sum().clamp_min(torch.finfo(left.dtype).tiny)
    matrix = matrix / (torch.outer(left, right) / total + damping)
    if turn is not None:
        matrix = turn @ matrix
    if turn_in is not None:
        matrix = matrix @ turn_in.T
    return matrix.reshape(vector.shape)


def _sum(one: Vector, share: float, other: Vector) -> Vector:
    """one + share other."""
    return {name: vector + share * other[name] for name, vector in one.items()}


def _dot(one: Vector, other: Vector) -> float:
    """The inner product, summed in double precision."""
    return sum(float((vector.double() * other[name].double()).sum()) for name, vector in one.items())
