"""Judges one op rule against brute force: *unsound* claims, and correct pairs that it *missed*."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, product

import numpy as np
import numpy.typing as npt

from chiralize.infer.rule import OpRule, Uniform
from chiralize.symmetry.representation import TensorRepresentation
from tests.support import oracle
from tests.support.oracle import Matrix
from tests.support.rule_bench import COUNT, Bench
from tests.support.rule_session import Claim, Config
from tests.support.rule_values import Sample, equal, matrices, moved_each, representation, right_outputs


@dataclass
class Verdict:
    """Figures of one rule and target. unsound, missed: descriptions of the first few cases."""

    runs: int = 0
    accepted: int = 0
    right: int = 0
    met: int = 0
    unsound: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    @property
    def completeness(self) -> float:
        """The share of correct pairs that the rule accepts."""
        return self.met / self.right if self.right else 1.0


def judge(
    rule: OpRule,
    target: str,
    samples: Sequence[Sample],
    is_first: bool = True,
    stop: Callable[[Verdict], object] = lambda _: False,
    step: int = 1,
) -> Verdict:
    """Try every sample of a target in every `step`-th configuration, or until `stop` has seen enough.

    is_first: whether this op stands for others with the same rule, and its first sample is tried with all signs.
    """
    verdict = Verdict()
    for number, sample in enumerate(samples):
        bench = Bench(rule, target, sample, number > 0 or not is_first)
        tries = _weighted(bench, verdict, step) if bench.weights else _plain(bench, verdict, step)
        for _ in chain(tries, _soundness(bench, verdict, step), _computed_weights(bench, verdict, step)):
            if stop(verdict):
                return verdict
    return verdict


def _soundness(bench: Bench, verdict: Verdict, step: int) -> Iterator[None]:
    few = bench.is_thin or len(bench.weights) > 2
    mixed, unknown = bench.mixed((8 if few else 24) // step), bench.unknown((16 if few else 32) // step)
    yield from _claims(bench, verdict, chain(mixed, unknown))


def _claims(bench: Bench, verdict: Verdict, configs: Iterable[Config]) -> Iterator[None]:
    pairs = [(config, bench.claim(config)) for config in configs]
    verdict.runs += len(pairs)
    _check(bench, verdict, [(config, claim) for config, claim in pairs if claim is not None])
    yield


def _computed_weights(bench: Bench, verdict: Verdict, step: int) -> Iterator[None]:
    """What is a weight in most networks is computed in some: it moves as data do, its signs with it."""
    if bench.sample.parameters:
        other = replace(bench.sample, parameters=frozenset())
        data = Bench(bench.rule, bench.target, other, bench.is_thin)
        yield from _claims(data, verdict, data.mixed(24 // step))


def _check(bench: Bench, verdict: Verdict, claimed: Sequence[tuple[Config, Claim]]) -> None:
    """All claims at once."""
    verdict.accepted += len(claimed)
    if claimed:
        claims = [claim for _, claim in claimed]
        true = bench.hold(claims, *bench.images([claim.slots for claim in claims]))
        for (config, claim), holds in zip(claimed, true, strict=True):
            if not holds:
                says = ", ".join(map(str, claim.outputs))
                verdict.unsound.append(f"{bench.sample.args}: {config} claimed -> {says}")


def _plain(bench: Bench, verdict: Verdict, step: int) -> Iterator[None]:
    """Without weights: the rule answers once per configuration; brute force lists every correct answer."""
    configs = list(dict.fromkeys([*bench.singles(), *bench.together()]))[::step]
    if not configs:
        return
    verdict.runs += len(configs)
    claims = [bench.claim(config) for config in configs]
    _check(bench, verdict, [(c, claim) for c, claim in zip(configs, claims, strict=True) if claim is not None])
    yield
    if not any(out.any() for out in (bench.outputs[output] for output in bench.read) if out is not None):
        return  # nothing but zeros: any answer is correct
    before, after = bench.images([[rep for rep in config.data if rep is not None] for config in configs])
    right = [right_outputs(_numbers(before[output]), _numbers(after[output])) for output in bench.read]
    for config, claim, first, *others in zip(configs, claims, *right, strict=True):
        for rep in first if all(others) else ():
            verdict.right += 1
            if claim is not None and _says(claim.outputs[bench.read[0]], rep):
                verdict.met += 1
            else:
                verdict.missed.append(f"{bench.sample.args}: {config} -> {rep}")


def _numbers(out: Matrix | None) -> Matrix:
    """An output that is a tensor."""
    assert out is not None
    return out


def _says(claimed: TensorRepresentation | Uniform | None, rep: TensorRepresentation) -> bool:
    if isinstance(claimed, Uniform):
        return claimed.zero or rep.is_sign_free
    return claimed is not None and equal(claimed, rep)


def _weighted(bench: Bench, verdict: Verdict, thinned: int, searches: int = 20) -> Iterator[None]:
    """With weights: pairs (R_in, R_out), a refused one is looked at with other representations of the weights."""
    singles = list(dict.fromkeys(bench.singles()))
    others = [*(config for config in singles if not config.moves(4)), *dict.fromkeys(bench.together())]
    chosen = bench.rng.permutation(len(others))[: max(12, 48 // len(bench.weights)) // thinned]
    fours = [config for config in singles if config.moves(4)]
    many = len(bench.weights) > 2
    if many or bench.is_thin:
        searches = {(True, True): 2, (True, False): 4, (False, True): 8}[many, bench.is_thin]
    step = max(1, len(bench.weights) // (1 if bench.is_thin and many else 2)) * thinned
    tried = 0
    claimed: list[tuple[Config, Claim]] = []
    for number, config in enumerate([*fours[::step], *(others[k] for k in chosen)]):
        for pair in [config] if many and number % 4 else _with_outputs(bench, config):
            verdict.runs += 1
            claim = bench.claim(pair)
            if claim is not None:
                claimed.append((pair, claim))
            elif tried < max(1, searches // thinned):
                tried += 1
                weights = _other_weights(bench, pair, 60 if many else 200)
                if weights is not None:
                    verdict.right += 1
                    verdict.missed.append(f"{bench.sample.args}: {pair} with weights {', '.join(map(str, weights))}")
                    yield
    verdict.right += len(claimed)
    verdict.met += len(claimed)
    for start in range(0, len(claimed), 60):
        _check(bench, verdict, claimed[start : start + 60])
        yield


def _with_outputs(bench: Bench, config: Config) -> Iterator[Config]:
    """The configuration with demands on the outputs: as the data, without its signs, and at random."""
    yield config
    given = [matrix for rep in config.data if rep is not None for matrix in matrices(rep)]
    moving = [matrix for matrix in given if not np.array_equal(matrix, np.eye(len(matrix)))][:1]
    options = [*moving, *map(abs, moving)]
    if bench.rng.random() < 0.3:
        options += [oracle.random_involution(4, bench.rng), oracle.random_involution(3, bench.rng)]
    shapes = [shape for shape in bench.shapes if shape is not None]
    for matrix in options if len(shapes) == 1 else options[:2]:
        for axis in range(len(shapes[0])):
            if shapes[0][axis] == len(matrix):
                yield Config(config.data, tuple(_with_axis(shape, axis, matrix) for shape in shapes))


def _with_axis(shape: tuple[int, ...], axis: int, matrix: Matrix) -> TensorRepresentation:
    """The matrix along one axis if that is as long, nothing else moves."""
    return representation([matrix if k == axis and n == len(matrix) else np.eye(n) for k, n in enumerate(shape)])


def _other_weights(bench: Bench, config: Config, limit: int) -> list[TensorRepresentation] | None:
    """Representations of the weights under which a refused pair is correct, and the outputs not constant."""
    data = [rep for rep in config.data if rep is not None]
    known = [matrix for rep in [*data, *(config.outputs or ())] for matrix in matrices(rep)]
    options: list[list[TensorRepresentation]] = []
    for slot in bench.weights:
        options.append([representation(act) for act in product(*(_options(size, known) for size in slot.drawn.shape))])
    counts = [len(option) for option in options]
    total = int(np.prod(counts, dtype=float))
    if total <= limit:
        picks = [[int(k) for k in np.unravel_index(number, counts)] for number in range(total)]
    else:
        picks = [[int(bench.rng.integers(count)) for count in counts] for _ in range(limit)]
    for start in range(0, len(picks), 20):
        many = [_filled(bench, data, options, pick) for pick in picks[start : start + 20]]
        for slots, fits in zip(many, _correct(bench, config, many, 2), strict=True):
            if fits and _correct(bench, config, [slots], COUNT)[0] and bench.depends(slots):
                return [rep for slot, rep in zip(bench.slots, slots, strict=True) if slot.is_weight]
    return None


def _filled(
    bench: Bench,
    data: Sequence[TensorRepresentation],
    options: Sequence[Sequence[TensorRepresentation]],
    pick: Sequence[int],
) -> list[TensorRepresentation]:
    """Of every slot, those picked for the weights."""
    chosen = iter([option[number] for option, number in zip(options, pick, strict=True)])
    values = iter(data)
    return [next(chosen) if slot.is_weight else next(values) for slot in bench.slots]


def _correct(
    bench: Bench, config: Config, many: Sequence[Sequence[TensorRepresentation]], draws: int
) -> npt.NDArray[np.bool_]:
    """Under which representations the outputs are those demanded, or have any."""
    before, after = bench.images(many, draws)
    correct = np.ones(len(many), dtype=bool)
    for output in bench.read:
        x, y = before[output], after[output]
        if x is None or y is None:
            continue
        if config.outputs is None:
            correct &= [bool(right) for right in right_outputs(x, y)]
        else:
            correct &= oracle.agree_each(moved_each([config.outputs[output]] * len(many), x), y)
    return correct


def _options(size: int, known: Sequence[Matrix]) -> list[Matrix]:
    """Actions on an axis of a weight: those that occur, with signs or without, and those of stacked gates."""
    every = [np.eye(size)]
    for matrix in (each for action in known for each in (action, abs(action))):
        if len(matrix) == size:
            every.append(matrix)
        elif len(matrix) > 1 and size in (3 * len(matrix), 4 * len(matrix)):
            gates = range(size // len(matrix))
            for gate in gates:
                every.append(oracle.direct_sum(*(matrix if k == gate else abs(matrix) for k in gates)))
    unique: list[Matrix] = []
    for matrix in every:
        if not any(np.array_equal(matrix, other) for other in unique):
            unique.append(matrix)
    return unique
