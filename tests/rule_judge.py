"""Judges one op rule against brute force: *unsound* claims, and correct pairs that it *missed*."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain, product

import numpy as np

from chiralize.representation import TensorRepresentation
from chiralize.rules._registry import OpRule, Sample, Uniform
from tests import oracle
from tests.oracle import Matrix
from tests.rule_bench import COUNT, Bench, Claim, Config, Outputs
from tests.rule_values import equal, matrices, moved, representation


@dataclass
class Verdict:
    """Figures of one rule and target. unsound, missed: descriptions of the first few cases."""

    runs: int = 0
    accepted: int = 0
    right: int = 0
    found: int = 0
    unsound: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    @property
    def completeness(self) -> float:
        return self.found / self.right if self.right else 1.0


def judge(rule: OpRule, target: str, seed: int = 0, stop: Callable[[Verdict], object] = lambda _: False) -> Verdict:
    """Try every sample of a target in every configuration, or until `stop` has seen enough."""
    verdict = Verdict()
    for sample in rule.samples[target]:
        bench = Bench(rule, target, sample, seed)
        tries = _weighted(bench, verdict) if bench.weights else _plain(bench, verdict)
        for _ in chain(tries, _soundness(bench, verdict), _computed_weights(rule, target, sample, seed, verdict)):
            if stop(verdict):
                return verdict
    return verdict


def _soundness(bench: Bench, verdict: Verdict) -> Iterator[None]:
    few = bench.is_thin or len(bench.weights) > 2
    yield from _claims(bench, verdict, chain(bench.mixed(8 if few else 24), bench.unknown(16 if few else 32)))


def _claims(bench: Bench, verdict: Verdict, configs: Iterable[Config]) -> Iterator[None]:
    for config in configs:
        claim = bench.claim(config)
        verdict.runs += 1
        if claim is not None:
            _check(bench, verdict, config, claim, *bench.image(claim.slots))
        yield


def _computed_weights(rule: OpRule, target: str, sample: Sample, seed: int, verdict: Verdict) -> Iterator[None]:
    """What is a weight in most networks is computed in some: it moves as data do, its signs with it."""
    if sample.parameters:
        bench = Bench(rule, target, replace(sample, parameters=frozenset()), seed)
        yield from _claims(bench, verdict, bench.mixed(24))


def _check(bench: Bench, verdict: Verdict, config: Config, claim: Claim, before: Outputs, after: Outputs) -> None:
    verdict.accepted += 1
    if not bench.holds(claim, before, after):
        verdict.unsound.append(f"{bench.sample.args}: {config} claimed -> {', '.join(map(str, claim.outputs))}")


def _plain(bench: Bench, verdict: Verdict) -> Iterator[None]:
    """Without weights: the rule answers once per configuration; brute force finds every correct answer."""
    for config in [*bench.singles(), *bench.together()]:
        yield
        verdict.runs += 1
        slots = [rep for rep in config.data if rep is not None]
        before, after = bench.image(slots)
        claim = bench.claim(config)
        if claim is not None:
            _check(bench, verdict, config, claim, before, after)
        if not any(out.any() for out in (before[place] for place in bench.read) if out is not None):
            continue  # nothing but zeros: any answer is correct
        right = [_right_outputs(before[place], after[place]) for place in bench.read]
        if not all(right):
            continue
        for rep in right[0]:
            verdict.right += 1
            if claim is not None and _says(claim.outputs[bench.read[0]], rep):
                verdict.found += 1
            else:
                verdict.missed.append(f"{bench.sample.args}: {config} -> {rep}")


def _says(claimed: TensorRepresentation | Uniform | None, rep: TensorRepresentation) -> bool:
    if isinstance(claimed, Uniform):
        return claimed.zero or rep.is_sign_free
    return claimed is not None and equal(claimed, rep)


def _right_outputs(before: Matrix | None, after: Matrix | None) -> list[TensorRepresentation]:
    """Every representation with one moving axis that turns op(x) into op(T x)."""
    assert before is not None and after is not None
    found: list[TensorRepresentation] = []
    few, images = before[:2], after[:2]
    eyes = [np.eye(size) for size in before.shape[1:]]
    for sign in (1, -1):
        if oracle.agree(sign * few, images) and oracle.agree(sign * before, after):
            found.append(representation(eyes, sign))
    for axis, size in enumerate(before.shape[1:]):
        match = oracle.matching(before, after, axis) if size > 4 else None
        options = _plausible(size, few, images, axis + 1) if 1 < size <= 4 else [match] if match is not None else []
        for matrix in options:
            action = [*eyes[:axis], matrix, *eyes[axis + 1 :]]
            if oracle.agree(oracle.act(action, before, 1), after):
                rep = representation(action)
                if not any(equal(rep, other) for other in found):
                    found.append(rep)
    return found


def _plausible(size: int, few: Matrix, images: Matrix, axis: int) -> Sequence[Matrix]:
    """Those involutions that are right on the first draws, all tried at once."""
    options = oracle.signed_involutions(size)
    if not (np.isfinite(few).all() and np.isfinite(images).all()):
        return options
    rows, aims = (np.moveaxis(own, axis, 0).reshape(size, -1) for own in (few, images))
    error = np.abs(_together(size) @ rows - aims).reshape(len(options), -1).max(1, initial=0.0)
    bound = 1e-6 * (1 + np.abs(images).max(initial=0.0))
    return [options[place] for place in np.flatnonzero(error < bound)]


@cache
def _together(size: int) -> Matrix:
    return np.stack(oracle.signed_involutions(size))


def _weighted(bench: Bench, verdict: Verdict, searches: int = 20) -> Iterator[None]:
    """With weights: pairs (R_in, R_out), a refused one is looked at with other representations of the weights."""
    singles = list(bench.singles())
    others = [*(config for config in singles if not config.moves(4)), *bench.together()]
    some = bench.rng.permutation(len(others))[: max(12, 48 // len(bench.weights))]
    fours = [config for config in singles if config.moves(4)]
    many = len(bench.weights) > 2
    tried = 0
    step = max(1, len(bench.weights) // (1 if bench.is_thin and many else 2))
    for place, config in enumerate([*fours[::step], *(others[k] for k in some)]):
        for pair in [config] if many and place % 4 else _with_outputs(bench, config):
            yield
            verdict.runs += 1
            claim = bench.claim(pair)
            if claim is not None:
                _check(bench, verdict, pair, claim, *bench.image(claim.slots))
                verdict.right += 1
                verdict.found += 1
            elif tried < (2 if bench.is_thin and many else 4 if many else 8 if bench.is_thin else searches):
                tried += 1
                weights = _other_weights(bench, pair, 60 if many else 200)
                if weights is not None:
                    verdict.right += 1
                    verdict.missed.append(f"{bench.sample.args}: {pair} with weights {', '.join(map(str, weights))}")


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
                reps = [
                    representation(
                        [matrix if k == axis and n == len(matrix) else np.eye(n) for k, n in enumerate(shape)]
                    )
                    for shape in shapes
                ]
                yield Config(config.data, tuple(reps))


def _other_weights(bench: Bench, config: Config, limit: int) -> list[TensorRepresentation] | None:
    """Representations of the weights under which a refused pair is correct, and the outputs not constant."""
    data = [rep for rep in config.data if rep is not None]
    known = [matrix for rep in [*data, *(config.outputs or ())] for matrix in matrices(rep)]
    options = [
        [representation(action) for action in product(*(_options(size, known) for size in slot.drawn.shape))]
        for slot in bench.weights
    ]
    total = int(np.prod([len(option) for option in options], dtype=float))
    for k in range(min(total, limit)):
        pick = np.unravel_index(k, [len(o) for o in options]) if total <= limit else [
            int(bench.rng.integers(len(o))) for o in options
        ]  # fmt: skip
        chosen = iter([option[int(place)] for option, place in zip(options, pick, strict=True)])
        values = iter(data)
        slots = [next(chosen) if slot.is_weight else next(values) for slot in bench.slots]
        if _correct(bench, config, slots):
            return [rep for slot, rep in zip(bench.slots, slots, strict=True) if slot.is_weight]
    return None


def _correct(bench: Bench, config: Config, slots: list[TensorRepresentation]) -> bool:
    for draws in (2, COUNT):
        before, after = bench.image(slots, draws)
        for place in bench.read:
            x, y = before[place], after[place]
            if x is None or y is None:
                continue
            if config.outputs is None:
                if not _right_outputs(x, y):
                    return False
            elif not oracle.agree(moved(config.outputs[place], x), y):
                return False
    return bench.depends(slots)


def _options(size: int, known: Sequence[Matrix]) -> list[Matrix]:
    found = [np.eye(size)]
    for matrix in known:
        for other in (matrix, abs(matrix)):
            if len(other) == size:
                found.append(other)
            elif len(other) > 1 and size in (3 * len(other), 4 * len(other)):
                gates = size // len(other)
                found.extend(oracle.direct_sum(*(other if k == place else abs(other) for k in range(gates)))
                             for place in range(gates))  # fmt: skip
    unique: list[Matrix] = []
    for matrix in found:
        if not any(np.array_equal(matrix, other) for other in unique):
            unique.append(matrix)
    return unique
