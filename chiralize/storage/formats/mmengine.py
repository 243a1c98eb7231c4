"""Checkpoints of mmengine and mmcv: `{meta, state_dict}`, with histories that are objects of theirs."""

from __future__ import annotations

from chiralize.storage.content import Content
from chiralize.storage.format import Format
from chiralize.storage.torch_formats import arrays, loader, write_back


def _recognises(content: Content) -> bool:
    return {"state_dict", "meta"} <= content.keys


_LOAD = loader("mmengine", ("state_dict",))
FORMAT = Format("mmengine", "a checkpoint of mmengine", _recognises, _LOAD, arrays, write_back, rank=19)
