"""Signs from outside that T is the right mirror: a wrong T must not approve itself.

Three kinds of evidence that do not depend on the given pairs: the left and right words in the joints' names, the bones
of the skeleton, and the trained network itself, which fits its true mirror and no other.

    names, labels, sides, near_shipped, against_names     names and pairs
    reflection, turns, clocks, free_inputs,
    derived_inputs, off_center, blocks, one_class         the specification and the inputs, without a run
    answers, forecasts, fitting, mirrors, judging,
    sided_conditions, as_right                            the network under T and under other mirrors
    neighbours, skeleton_changes, misread,
    other_fields, other_kinds, answer_points,
    input_points, block_points, least_gap,
    repairing, answered_signs, pairs_of_inputs            the other mirrors
    noise, training, distributions                        whether inputs are real, and the network trained
    remedies                                              what to try first

`mirror_evidence` puts them together.
"""

from chiralize.verification.verdicts import Evidence

IDLE = "T changes nothing in any input or output, no joint and no sign: every network commutes with it"


def joined(*parts: Evidence) -> Evidence:
    """All checks, warnings and notes, each once, and the figures of the first part that has some."""
    checks, warnings, notes = dict[str, None](), dict[str, None](), dict[str, None]()
    for part in parts:
        checks |= dict.fromkeys(part.checks)
        warnings |= dict.fromkeys(part.warnings)
        notes |= dict.fromkeys(part.notes)
    fit = next((part.fit for part in parts if part.fit is not None), None)
    unknown = any(part.are_sides_unknown for part in parts)
    still = next((part.still for part in parts if part.still), "")
    collapsed = next((part.collapsed for part in parts if part.collapsed), "")
    displaced = next((part.displaced for part in parts if part.displaced), ())
    lacks_time, mislead = any(part.lacks_time for part in parts), any(part.names_mislead for part in parts)
    # In the order of the fields of `Evidence`.
    sentences = tuple(checks), tuple(warnings), fit, tuple(notes)
    return Evidence(*sentences, unknown, still, collapsed, displaced, lacks_time, mislead)
