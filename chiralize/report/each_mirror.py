"""The verdicts under each of several mirrors, side by side.

A row for left/right, one for front/back, and one for both after each other, whose proof follows from those of the two:
where F A = A F and F B = B F, also F A B = A F B = A B F. `assembling` puts the table behind the certificate.

        under                      residual    bound    proof                  odd share
    ok  left_right                   3.1e-7   4.7e-6    31 ops, 12 weights     48 % -> 47 %
    ok  left_right and front_back    4.0e-7   4.7e-6    follows
"""

from __future__ import annotations

from collections.abc import Sequence

from chiralize.errors.words import percent
from chiralize.report.document import Block, Section, short, table
from chiralize.verification.verdicts import CertificateVerdict, Degeneracy, OfMirror

_HEADS = ("", "under", "residual", "bound", "proof", "odd share")


def mirror_blocks(mirrors: Sequence[OfMirror]) -> list[Block]:
    """A row for each mirror, and for what they come to one after the other; no blocks without several mirrors."""
    if not mirrors:
        return []
    rows: list[tuple[str, ...]] = []
    for mirror in mirrors:
        numeric = mirror.numeric
        # The worst output stands for all. Without outputs nothing was run, and there is no worst one.
        figures = ("", "")
        if numeric.outputs:
            figures = (short(numeric.worst.residual), short(numeric.worst.bound))
        mark = "ok" if mirror.passed else "FAIL"
        rows.append((mark, mirror.name, *figures, _proof(mirror.certificate), _odd(mirror.degeneracy)))
    return [Section("Every mirror, and one after the other"), table(_HEADS, rows, (2, 3))]


def _proof(certificate: CertificateVerdict | None) -> str:
    """How much was proved; `follows` of mirrors that are others after each other."""
    if certificate is None:
        return "follows"
    if certificate.passed:
        return f"{certificate.ops} ops, {certificate.weights} weights"
    return "breaks"


def _odd(degeneracy: Degeneracy | None) -> str:
    """The share of the answers that the mirror negates: in the average over all views, and in the result.

    An output each; "" of mirrors one after the other, of which nobody asks it.
    """
    if degeneracy is None:
        return ""
    pairs = zip(degeneracy.odd_before, degeneracy.odd_after, strict=True)
    return "; ".join(f"{percent(before)} -> {percent(after)}" for before, after in pairs)
