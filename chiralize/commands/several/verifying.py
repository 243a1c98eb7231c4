"""`verify` where the specification names several mirrors.

Under a mirror that passes it is measured how much of the answers it negates (none: left and right are lost); under one
that fails the network is asked whether another mirror is nearer. A file tells of each mirror how its weights transform.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from chiralize.commands.several.judging import evidence_of_all, judge_each
from chiralize.commands.sides import compared_with_the_file
from chiralize.graph.running import Call
from chiralize.problem.network import Network
from chiralize.problem.progress import Progress, silent
from chiralize.problem.several import refuse_unsuited, under_each
from chiralize.report import VerifyReport
from chiralize.storage.passport import Passport
from chiralize.verification.judge import in_own_precision
from chiralize.verification.mirror_evidence import ask_network
from chiralize.verification.mixing import mixing_notes
from chiralize.verification.verdicts import Degeneracy, Evidence, Judgement


def verify_for_all(
    network: Network,
    name: str,
    passport: Passport | None,
    samples: int | None,
    real: Sequence[Call] = (),
    tolerance: float | None = None,
    progress: Progress = silent,
) -> VerifyReport:
    """Judge a network as it stands under every mirror, and collect what speaks for or against each.

    Raises MethodUnavailableError for networks with states; the refusal where one that passes cannot be proved.
    """
    refuse_unsuited(network)
    networks = under_each(network)
    progress("verifying under every mirror")
    passports = _passports(passport, networks)
    verdicts = judge_each(networks, passports, samples=samples, real=real, tolerance=tolerance)
    main = verdicts.main
    if verdicts.numeric.passed and main.unproved is not None and not main.run_only:
        raise main.unproved
    notes = (*network.notes, *mixing_notes(network), *main.notes(real))
    asked: dict[str, Evidence] = {}
    degeneracies: dict[str, Degeneracy] = {}
    for mirror, under in networks.items():
        if verdicts.each[mirror].numeric.passed:
            degeneracies[mirror] = compared_with_the_file(under, verdicts.each[mirror].mirror, passports[mirror])[1]
        else:
            asked[mirror] = ask_network(under, real)
    first = next(iter(networks))
    evidence = evidence_of_all(networks, asked, real)
    own_precision = in_own_precision(networks[first], verdicts.each[first], None, samples, real, tolerance)
    mirrors = verdicts.records(degeneracies)
    # In front stands the first mirror under which the sides are lost, or the first of all.
    lost = [degeneracy for degeneracy in degeneracies.values() if degeneracy.collapsed]
    degeneracy = lost[0] if lost else degeneracies.get(first)
    judgement = Judgement(verdicts.numeric, main.certificate, degeneracy, own_precision, mirrors)
    return VerifyReport(name, judgement, evidence, notes)


def _passports(passport: Passport | None, networks: Mapping[str, Network]) -> dict[str, Passport | None]:
    """What the file says of each mirror; of an average of one mirror, that it is one."""
    passports: dict[str, Passport | None] = dict.fromkeys(networks)
    if passport is None:
        return passports
    for name in networks:
        if name in passport.mirrors:
            passports[name] = passport.under(name)
        elif passport.is_average:
            # The file is the flip average of one mirror, with nothing to say of this one; that it runs two views holds
            # all the same. Its figures are of that mirror.
            passports[name] = replace(passport, figures={})
    return passports
