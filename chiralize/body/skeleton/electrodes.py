"""Electrodes of the 10-20 system: odd numbers are left, even ones right, and z is the midline: C3, Cz, C4.

A joint of a robot may be called C3 as well, and so may a vertebra. So numbers tell sides only where all names of a
list fit the system, and several regions of the head or its midline are among them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_REGIONS = "AFP|AFF|FFT|FFC|FTT|FCC|TTP|CCP|TPP|CPP|PPO|POO|FP|AF|FT|FC|TP|CP|PO|OI|F|T|C|P|O|I|N|A|M"
_NAME = re.compile(rf"({_REGIONS})(Z|[1-9]|10)(H?)", re.I)
_MANY, _BETWEEN = 4, 2
"""Regions at least without an electrode of the midline; or so many between two others, such as FC and TP."""


def are_electrodes(names: Sequence[str]) -> bool:
    """Whether all names are electrodes of the 10-20 system.

    >>> are_electrodes(["Fz", "C3", "C4"]), are_electrodes(["C1", "C2", "T1", "T2"]), are_electrodes(["J1", "J2"])
    (True, False, False)
    """
    matches = [_NAME.fullmatch(name) for name in names]
    if not matches or None in matches:
        return False
    regions, marks = set[str](), set[str]()
    for match in matches:
        if match is not None:
            regions.add(match.group(1).upper())
            marks.add(match.group(2).upper())
    between = [region for region in regions if len(region) > 1]
    return "Z" in marks or len(regions) >= _MANY or len(between) >= _BETWEEN


def electrode_side(name: str) -> str | None:
    """`left` or `right` of an electrode; None of one of the midline, and of another name.

    >>> electrode_side("C3"), electrode_side("TP10"), electrode_side("Cz")
    ('left', 'right', None)
    """
    match = _NAME.fullmatch(name)
    if match is None or not match.group(2).isdigit():
        return None
    return "left" if int(match.group(2)) % 2 else "right"


def electrode_partner(name: str) -> str | None:
    """The electrode on the other side; None of one of the midline, and of another name.

    >>> electrode_partner("TP9"), electrode_partner("FC2")
    ('TP10', 'FC1')
    """
    match = _NAME.fullmatch(name)
    if match is None or not match.group(2).isdigit():
        return None
    number = int(match.group(2))
    return f"{match.group(1)}{number + 1 if number % 2 else number - 1}{match.group(3)}"
