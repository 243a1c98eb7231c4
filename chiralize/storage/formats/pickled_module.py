"""A pickle that names classes of its own: a whole module, or weights beside objects of a trainer.

The weights are read without those classes; the module itself is restored by its own code, by consent alone.
"""

from __future__ import annotations

import pickletools

from chiralize.storage.content import Content
from chiralize.storage.format import Format
from chiralize.storage.torch_formats import arrays, loader, write_back


def _recognises(content: Content) -> bool:
    if content.pickled is not None:
        return bool(content.foreign)
    return content.starts_like_pickle and _has_globals(content.data)


def _has_globals(data: bytes) -> bool:
    """Whether a pickle imports anything: a plain one of numbers and texts is no module."""
    try:
        return any(op.name in ("GLOBAL", "STACK_GLOBAL", "INST") for op, _, _ in pickletools.genops(data))
    except Exception:  # pickletools raises many kinds on damaged bytes
        return False


_LOAD = loader("pickled_module")
FORMAT = Format(
    "pickled_module", "a pickled object", _recognises, _LOAD, arrays, write_back, rank=10, may_be_whole=True
)
