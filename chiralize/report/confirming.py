"""Whether anything confirms that T is the right mirror, as a clause of the sentence that a report opens with.

A wrong mirror is proved as easily as the right one: verdicts say only that a network commutes with the T that it was
given. Two may confirm T from outside: the network, whose gap on real inputs is small under its own mirror
(`Evidence.fit`), and, of a policy, its environment, asked with random actions (`Probe`). `verdict` says of them:

    network          environment                    clause
    confirms         nothing, or the start          none
    does not         nothing                        "the mirror is not confirmed: " and why
    does not         the start                      that it confirms T there; as of a mirrored_reset, after the above
    any              all that was seen              that it confirms T, with what the network says against it
"""

from __future__ import annotations

from chiralize.errors.words import when
from chiralize.report.loop_words import confirmed_in_words
from chiralize.verification.closed_loop.records import Rollout
from chiralize.verification.verdicts import Evidence

NOT_CONFIRMED = "the mirror is not confirmed"
UNTRAINED = "the network looks untrained"


def confirmed_or_not(evidence: Evidence, measured: bool, rollout: Rollout | None) -> str:
    """A clause on what confirms the mirror: `unconfirmed`, unless the environment settles what the network does not.

    What an asymmetric environment shows at the start is said beside it, where a hook of the user mirrored the start.
    measured: as in `unconfirmed`.  Returns "" where nothing has to be said.
    """
    # probe.confirms: "all" entries, those seen at the "start" alone, or "nothing" (then `confirmed` is "").
    clause, confirmed = unconfirmed(evidence, measured), confirmed_in_words(rollout)
    if rollout is None or rollout.probe is None or not confirmed:
        return clause
    if rollout.probe.confirms == "start" and not clause:
        return ""
    # Whoever wrote `mirrored_reset` may have had the same wrong T in mind: the clause stays in front.
    if rollout.probe.confirms == "start" and rollout.how != "state":
        return f"{clause}; {confirmed}"
    # The environment confirms T. Beside it stands what the network says, since that puts its answers in doubt.
    fit = evidence.fit
    if fit is not None and not fit.trained:
        return f"{confirmed}; {UNTRAINED}"
    if fit is not None and fit.is_wide:
        return f"{confirmed}, which its gap of {fit.gap:.2g} does not"
    return when(clause or evidence.warnings, confirmed)


def unconfirmed(evidence: Evidence, measured: bool, remedy: str = "give --calibration real inputs") -> str:
    """A clause where no real inputs confirm the mirror; "" where they confirm or contradict it.

    measured: real inputs were given, so asking for them would not help. remedy: the advice where none were given.
    """
    # From what makes any answer worthless (a constant, an untrained network) to what leaves it open.
    fit = evidence.fit
    if evidence.still:  # which a warning says (`mirror_cautions`)
        return ""
    if fit is not None and not fit.trained:
        return f"{NOT_CONFIRMED}: {UNTRAINED}"
    if evidence.lacks_time:
        return f"{NOT_CONFIRMED}: give --calibration sequences, not samples without a time"
    if fit is None and measured:
        return f"{NOT_CONFIRMED}: no other mirror was tried"
    # A mirror that fits better speaks against T even on random inputs: a warning has its name.
    if fit is None or not (fit.real or fit.better):
        return f"{NOT_CONFIRMED}: {remedy}"
    if fit.answers_stay and not fit.is_refuted:
        return f"{NOT_CONFIRMED}: T leaves its answers as they are, and such answers fit many mirrors"
    if fit.is_wide and not fit.is_refuted and not evidence.warnings:
        return f"{NOT_CONFIRMED}: its gap of {fit.gap:.2g} is that of a mirror that does not fit"
    return ""
