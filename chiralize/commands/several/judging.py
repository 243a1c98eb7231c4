"""Verdicts under each of several mirrors, and under what they come to one after the other.

With A, B and C: proofs and runs under A, B, C; runs under A B, A C, B C and A B C. A report has a row for each, and
`main` is the one whose figures stand in front: the first that failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from chiralize.graph.running import Call
from chiralize.problem.cost import batch_sizes, draws
from chiralize.problem.mirror import depth_of, mirror_of
from chiralize.problem.network import Network
from chiralize.problem.several import products
from chiralize.storage.passport import Passport
from chiralize.verification import numeric
from chiralize.verification.evidence import joined
from chiralize.verification.figures import on_random_inputs
from chiralize.verification.judge import Verdict, judge
from chiralize.verification.mirror_evidence import outside_evidence
from chiralize.verification.verdicts import Degeneracy, Evidence, NumericVerdict, OfMirror


@dataclass(frozen=True)
class Verdicts:
    """Both verdicts under every mirror, and the numeric one under every product of some."""

    each: Mapping[str, Verdict]
    products: Mapping[str, NumericVerdict]

    @property
    def main(self) -> Verdict:
        """The first that failed, or the first."""
        failed = [verdict for verdict in self.each.values() if not verdict.passed]
        if failed:
            return failed[0]
        return next(iter(self.each.values()))

    @property
    def numeric(self) -> NumericVerdict:
        """The numeric verdict under the main mirror, or under a product that failed where no mirror did."""
        failed = [verdict for verdict in self.products.values() if not verdict.passed]
        if failed and self.main.numeric.passed:
            return failed[0]
        return self.main.numeric

    def records(self, degeneracies: Mapping[str, Degeneracy]) -> tuple[OfMirror, ...]:
        """A row for each of them in the report."""
        rows: list[OfMirror] = []
        for name, verdict in self.each.items():
            rows.append(OfMirror(name, verdict.numeric, verdict.certificate, degeneracies.get(name)))
        rows += [OfMirror(name, verdict) for name, verdict in self.products.items()]
        return tuple(rows)


def judge_each(
    networks: Mapping[str, Network],
    passports: Mapping[str, Passport | None],
    *,
    samples: int | None,
    real: Sequence[Call] = (),
    tolerance: float | None = None,
) -> Verdicts:
    """Run and prove a network under every mirror; run it under every product, which no proof is needed for.

    What commutes with A and with B commutes with A B; running it would show a fault in how the two were written down.
    """
    verdicts: dict[str, Verdict] = {}
    for name, network in networks.items():
        verdicts[name] = judge(network, passports.get(name), samples=samples, real=real, tolerance=tolerance)
    runs: dict[str, NumericVerdict] = {}
    for name, network in products(networks):
        runs[name] = numeric.judge(
            network.module,
            mirror_of(network, None),
            network.args,
            network.kwargs,
            samples=draws(network, samples),
            real=real,
            tolerance=tolerance,
            depth=depth_of(network.captured),
            batches=batch_sizes(network),
        )
    return Verdicts(verdicts, runs)


def odd_by_mirror(
    networks: Mapping[str, Network], verdicts: Verdicts, passport: Passport
) -> dict[str, tuple[float, ...]]:
    """The share of every output that each mirror negates, on random inputs that `verify` draws again, by its name."""
    shares: dict[str, tuple[float, ...]] = {}
    for name, network in networks.items():
        shares[name] = on_random_inputs(network, verdicts.each[name].mirror, passport.example)[1].odd_after
    return shares


def evidence_of_all(
    networks: Mapping[str, Network],
    asked: Mapping[str, Evidence],
    inputs: Sequence[Call] = (),
    equivariant: Network | None = None,
) -> Evidence:
    """What speaks for and against the mirrors, their names before every warning.

    Joints called left and right tell of one mirror alone, that which swaps them: of the others, which have other pairs,
    only the network itself is asked.
    """
    mirrors = {name: mirror_of(network, None) for name, network in networks.items()}
    by_names = {name: outside_evidence(network, mirrors[name]) for name, network in networks.items()}
    # The mirror that swaps joints called left and right is the one of which their names warn least.
    lateral = min(by_names, key=lambda name: len(by_names[name].warnings))
    parts: list[Evidence] = []
    for name, network in networks.items():
        part = asked.get(name, Evidence())
        if name == lateral:
            module = None if equivariant is None else equivariant.module
            part = outside_evidence(network, mirrors[name], inputs, module, asked.get(name))
        warnings = tuple(f"{name}: {text}" for text in part.warnings)
        checks = tuple(f"{name}: {text}" for text in part.checks)
        parts.append(replace(part, warnings=warnings, checks=checks))
    # The fit in front is one that is in doubt, if any is; the warnings of all are in the list.
    fits = [part.fit for part in parts if part.fit is not None]
    doubtful = [fit for fit in fits if not fit.is_confirmed]
    fit = (doubtful or fits or [None])[0]
    return replace(joined(*(replace(part, fit=None) for part in parts)), fit=fit)
