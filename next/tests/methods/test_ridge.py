"""Equivariant least squares against one dense problem over symmetric weights, solved by numpy."""

from __future__ import annotations

from random import Random

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chiralize.methods.reduce.lifting import halves
from chiralize.methods.reduce.ridge import STRENGTHS, Fit, Moments, fit
from chiralize.symmetry.involution import SignedPermutation
from tests.support.oracle import entries, random_involution

Matrix = npt.NDArray[np.float64]
SEEDS = st.integers(0, 10**6)
CLOSE = 1e-9


# ---- the oracle: nothing of chiralize below -------------------------------------------------------------------------
def coordinates(t: Matrix) -> tuple[Matrix, Matrix]:
    """Orthonormal rows that T keeps, and rows that it negates: (e_i + s e_j) / sqrt 2 and (e_i - s e_j) / sqrt 2."""
    eye, even, odd = np.eye(len(t)), [], []
    for row in range(len(t)):
        image = t @ eye[row]
        place = int(np.flatnonzero(image)[0])
        if place == row:
            (even if image[row] > 0 else odd).append(eye[row])
        elif place > row:
            even.append((eye[row] + image) / 2**0.5)
            odd.append((eye[row] - image) / 2**0.5)
    return np.array(even).reshape(-1, len(t)), np.array(odd).reshape(-1, len(t))


def symmetric_subspace(t_in: Matrix, t_out: Matrix) -> Matrix:
    """Orthonormal columns that span vec(W), row by row, with T_out W T_in = W."""
    average = (np.eye(len(t_in) * len(t_out)) + np.kron(t_out, t_in)) / 2
    values, vectors = np.linalg.eigh(average)
    return vectors[:, values > 0.5]


class Problem:
    """Random samples of features and targets, and how the mirror acts on either."""

    def __init__(self, seed: int, sizes: tuple[int, int] | None = None, bias: bool | None = None) -> None:
        rng = np.random.default_rng(seed)
        features, targets = sizes or (int(rng.integers(1, 7)), int(rng.integers(1, 6)))
        self.t_in, self.t_out = random_involution(features, rng), random_involution(targets, rng)
        self.bias = bool(rng.random() < 0.5) if bias is None else bias
        mixing = rng.normal(size=(features, features)) + 2 * np.eye(features)
        truth = rng.normal(size=(targets, features))
        self.x = [rng.normal(size=(count, features)) @ mixing + rng.normal(size=features) for count in (60, 25)]
        self.t = [x @ truth.T + 0.5 * rng.normal(size=(len(x), targets)) + 1.0 for x in self.x]
        prior = rng.normal(size=(targets, features))
        self.prior = (prior + self.t_out @ prior @ self.t_in) / 2

    def moments(self, part: int) -> Moments:
        """Of the samples to fit on (0) or of those held out (1)."""
        solution = Moments(action(self.t_in), action(self.t_out), self.bias)
        solution.add(torch.from_numpy(self.x[part]), torch.from_numpy(self.t[part]))
        return solution

    def solved(
        self, x: Matrix, t: Matrix, strengths: tuple[float, float], prior: Matrix | None = None
    ) -> tuple[Matrix, Matrix]:
        """(W, b) of one stacked least-squares problem: samples, then the ridge as rows of its one_of."""
        features, targets = x.shape[1], t.shape[1]
        start = np.zeros((targets, features)) if prior is None else prior
        span = symmetric_subspace(self.t_in, self.t_out)
        free = coordinates(self.t_out)[0].T if self.bias else np.zeros((targets, 0))
        rows = [np.concatenate([np.kron(np.eye(targets), x) @ span, np.kron(free, np.ones((len(x), 1)))], 1)]
        wanted = [(t - x @ start.T).T.ravel()]
        for basis, strength, centred in zip(coordinates(self.t_in), strengths, (self.bias, False), strict=True):
            read = np.square(basis @ start.T).sum(1)
            for row, size in zip(basis, read, strict=True):
                seen = x @ row
                spread = np.square(seen - seen.mean() if centred else seen).sum()
                # known to a thousandth of the level at which the prior makes its share of the targets
                level = np.square(t).sum() / len(basis) / max(size, 0.01 * read.mean()) if read.sum() > 1e-20 else 0.0
                pull = (strength * (spread + 1e-6 * level) + 1e-6 * level) ** 0.5 * np.kron(np.eye(targets), row) @ span
                rows.append(np.concatenate([pull, np.zeros((targets, free.shape[1]))], 1))
                wanted.append(np.zeros(targets))
        solution = np.linalg.lstsq(np.concatenate(rows), np.concatenate(wanted), rcond=1e-14)[0]
        weight = (span @ solution[: span.shape[1]]).reshape(targets, features)
        return start + weight, free @ solution[span.shape[1] :]

    def errors(self, weight: Matrix, bias: Matrix) -> tuple[float, float]:
        """What is left over of the even and of the odd targets on held-out samples."""
        left = self.t[1] - self.x[1] @ weight.T - bias
        even, odd = coordinates(self.t_out)
        return float(np.square(left @ even.T).sum()), float(np.square(left @ odd.T).sum())


def action(t: Matrix) -> SignedPermutation:
    partner, sign = entries(t)
    return SignedPermutation(np.array(partner), np.array(sign))


def arrays(solution: Fit) -> tuple[Matrix, Matrix]:
    weight = solution.weight.numpy()
    return weight, np.zeros(len(weight)) if solution.bias is None else solution.bias.numpy()


def assert_close(one_of: Matrix, other: Matrix) -> None:
    assert one_of.shape == other.shape
    np.testing.assert_allclose(one_of, other, rtol=CLOSE, atol=CLOSE)


# ---- laws -----------------------------------------------------------------------------------------------------------
@given(seed=SEEDS, with_prior=st.booleans())
def test_the_fit_is_the_dense_solution(seed: int, with_prior: bool) -> None:
    """Weights, bias and left-over error, for random signed involutions, at the strengths that were chosen."""
    problem = Problem(seed)
    prior = problem.prior if with_prior else None
    start = None if prior is None else torch.from_numpy(prior)
    solution = fit(problem.moments(0), problem.moments(1), start)
    weight, bias = problem.solved(np.concatenate(problem.x), np.concatenate(problem.t), solution.strength, prior)
    assert_close(arrays(solution)[0], weight)
    assert_close(arrays(solution)[1], bias)
    left = sum(problem.errors(*problem.solved(problem.x[0], problem.t[0], solution.strength, prior)))
    assert solution.error == pytest.approx(left / np.square(problem.t[1]).sum(), rel=1e-7, abs=CLOSE)


@given(seed=SEEDS)
def test_the_fit_commutes_with_the_mirror(seed: int) -> None:
    problem = Problem(seed)
    weight, bias = arrays(fit(problem.moments(0), problem.moments(1), torch.from_numpy(problem.prior)))
    scale = max(1.0, np.abs(weight).max())
    assert np.abs(problem.t_out @ weight @ problem.t_in - weight).max() <= 1e-12 * scale
    assert np.abs(problem.t_out @ bias - bias).max() <= 1e-12 * max(1.0, np.abs(bias).max())


@given(seed=SEEDS)
def test_the_strength_is_the_best_of_the_list(seed: int) -> None:
    """Even and odd apart, by what is left over on held-out samples of weights fitted without them."""
    problem = Problem(seed, (6, 5))
    problem.x[0], problem.t[0] = problem.x[0][:9], problem.t[0][:9]  # few samples: the strength matters
    solution = fit(problem.moments(0), problem.moments(1))
    table = [problem.errors(*problem.solved(problem.x[0], problem.t[0], (s, s))) for s in STRENGTHS]
    for part in range(2):
        one_of = table[STRENGTHS.index(solution.strength[part])][part]
        assert one_of <= min(row[part] for row in table) * (1 + 1e-7) + CLOSE


def test_the_strength_is_not_always_the_same() -> None:
    """Noise asks for a strong ridge, exact targets for a weak one."""
    chosen = set()
    for noise in (0.0, 30.0):
        problem = Problem(3, (6, 5), bias=False)
        problem.x[0] = problem.x[0][:9]
        truth = problem.solved(problem.x[1], problem.t[1], (0.0, 0.0))[0]
        rng = np.random.default_rng(0)
        problem.t = [x @ truth.T + noise * rng.normal(size=(len(x), 5)) for x in problem.x]
        chosen.add(fit(problem.moments(0), problem.moments(1)).strength)
    assert (STRENGTHS[0], STRENGTHS[0]) in chosen and any(STRENGTHS[-1] in one_of for one_of in chosen)


@given(seed=SEEDS, cuts=st.lists(st.integers(0, 60), max_size=4), order=st.randoms(use_true_random=False))
def test_batches_and_merging_do_not_matter(seed: int, cuts: list[int], order: Random) -> None:
    """All samples at once, batch by batch in any order, and sums of two processes."""
    problem = Problem(seed)
    x, t = torch.from_numpy(problem.x[0]), torch.from_numpy(problem.t[0])
    bounds = [0, *sorted(cuts), 60]
    pieces = [(x[a:b], t[a:b]) for a, b in zip(bounds, bounds[1:], strict=False)]
    order.shuffle(pieces)
    parts = [problem.moments(0), *(Moments(action(problem.t_in), action(problem.t_out), problem.bias) for _ in "ab")]
    for number, (features, targets) in enumerate(pieces):
        parts[1 + number % 2].add(features, targets)
    parts[1].merge(parts[2])
    assert parts[1].count == 60
    one, two = (fit(one_of, problem.moments(1)) for one_of in parts[:2])
    assert_close(one.weight.numpy(), two.weight.numpy())


@given(seed=SEEDS)
def test_what_can_be_met_is_met(seed: int) -> None:
    """Targets that a symmetric weight gives are reproduced, and the prior alone where it is that weight."""
    problem = Problem(seed)
    problem.t = [x @ problem.prior.T for x in problem.x]
    solution = fit(problem.moments(0), problem.moments(1), torch.from_numpy(problem.prior))
    assert_close(arrays(solution)[0], problem.prior)
    assert solution.error <= 1e-12
    assert fit(problem.moments(0), problem.moments(1)).error <= 1e-9


def test_features_that_never_vary() -> None:
    """A dead feature gets the prior's column (0 without one), not infinity; a constant one goes to the bias."""
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[:, 1], x[:, 2] = 0.0, 5.0
    t = 2 * x[:, :1] + 3.0
    identity = SignedPermutation.identity(3), SignedPermutation.identity(1)
    parts = []
    for rows in (slice(0, 40), slice(40, 50)):
        parts.append(Moments(*identity, True))
        parts[-1].add(x[rows], t[rows])
    solution = fit(parts[0], parts[1])
    torch.testing.assert_close(solution.weight, torch.tensor([[2.0, 0.0, 0.0]]).double(), rtol=0, atol=1e-6)
    assert solution.bias is not None and float(solution.bias) == pytest.approx(3.0, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_few_digits_are_enough(dtype: torch.dtype) -> None:
    """A linear map is solution in half precision, too: features about a mean of twice their spread."""
    generator = torch.Generator().manual_seed(1)
    x, wanted = (torch.randn(size, generator=generator) for size in ((4000, 6), (4, 6)))
    x = (x + 2).to(dtype)
    moments = [Moments(SignedPermutation.identity(6), SignedPermutation.identity(4), True) for _ in range(2)]
    for one_of, part in zip(moments, (x[::2], x[1::2]), strict=True):
        one_of.add(part, (part.float() @ wanted.T).to(dtype))
    solution = fit(moments[0], moments[1])
    assert (
        float((solution.weight - wanted).norm() / wanted.norm()) < 2 * torch.finfo(dtype).eps and solution.error < 1e-4
    )


def test_last_digits_are_no_feature() -> None:
    """A feature that hardly moves: a large weight on it would be a weight on its rounding."""
    generator = torch.Generator().manual_seed(0)
    wave = torch.linspace(0, 1, 400, dtype=torch.float64)[:, None]
    x = torch.cat([(1 + 1e-6 * wave), torch.randn(400, 1, generator=generator, dtype=torch.float64)], 1)
    moments = [Moments(SignedPermutation.identity(2), SignedPermutation.identity(1), True) for _ in range(2)]
    for one_of, part in zip(moments, (x[::2], x[1::2]), strict=True):
        one_of.add(part.float(), (1e6 * (part[:, :1] - 1) + part[:, 1:]).float())
    weight = fit(moments[0], moments[1]).weight
    assert weight.abs().max() < 32
    assert abs(float(weight[0, 1]) - 1) < 0.1


@pytest.mark.parametrize("size", [1e-39, 1e-30, 1e-12])
def test_a_unit_whose_weights_have_decayed_is_no_feature(size: float) -> None:
    """Its weight stays what it was; else it would be as large as the unit is small, and no float32."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 4, generator=generator)
    t = x.roll(1, 1) + 0.1 * torch.randn(400, 4, generator=generator)
    x[:, [1, 3]] *= size
    moments = [Moments(halves(4), halves(4), True) for _ in range(2)]
    for part, rows in zip(moments, (slice(0, 320), slice(320, 400)), strict=True):
        part.add(x[rows], t[rows])
    prior = torch.ones(4, 4, dtype=torch.float64)
    weight = fit(moments[0], moments[1], prior).weight
    torch.testing.assert_close(weight[:, [1, 3]], prior[:, [1, 3]], rtol=0, atol=1e-12)
    assert weight.abs().max() < 2


def test_a_pair_that_differs_by_rounding_alone() -> None:
    """The odd feature of a unit that the mirror leaves alone is its rounding: no weight is put on it, whatever chance
    makes of 200 samples, and the odd target comes from the pair that tells left from right."""
    generator = torch.Generator().manual_seed(0)
    shared, u, v = torch.randn(3, 200, 1, generator=generator)
    rounding = torch.finfo(torch.float32).eps * torch.randn(200, 1, generator=generator)
    x = torch.cat([shared, u, shared + rounding, v], 1)
    t = torch.cat([u - v + shared, v - u + shared], 1) + 0.1 * torch.randn(200, 2, generator=generator)
    moments = [Moments(halves(4), halves(2), True) for _ in range(2)]
    for part, rows in zip(moments, (slice(0, 160), slice(160, 200)), strict=True):
        part.add(x[rows], t[rows])
    weight = fit(moments[0], moments[1]).weight
    assert torch.equal(weight[:, 0], weight[:, 2])  # no odd part: the prior's, which is 0
    torch.testing.assert_close(weight[0, [1, 3]], torch.tensor([1.0, -1.0]).double(), rtol=0, atol=0.1)


@pytest.mark.parametrize("quiet", [1e-4, 1e-6, 1e-8])
def test_no_answer_is_made_of_units_that_hardly_move(quiet: float) -> None:
    """Units that are off on all samples but for a leak tell the answer: made of them it explodes once they are on."""
    generator = torch.Generator().manual_seed(5)
    on = torch.randn(400, 6, generator=generator, dtype=torch.float64)
    t = on @ torch.randn(6, 4, generator=generator, dtype=torch.float64)
    off = on * torch.tensor([1.0, 1.0, 1.0, 1.0, quiet, quiet])
    trained, weights = torch.randn(4, 6, generator=generator, dtype=torch.float64), {}
    for prior in (None, trained):
        moments = [Moments(SignedPermutation.identity(6), SignedPermutation.identity(4), True) for _ in range(2)]
        for part, rows in zip(moments, (slice(0, 300), slice(300, 400)), strict=True):
            part.add(off[rows], t[rows])
        weights[prior is None] = fit(moments[0], moments[1], prior).weight
    assert float((on @ weights[True].T).norm()) > 0.1 / quiet * float(t.norm())
    assert float((on @ weights[False].T).norm()) < 500 * float(t.norm())
