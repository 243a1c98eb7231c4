"""A `state_dict` in a file of `torch.save`, alone or as an entry of a table, with nothing that runs code beside it."""

from __future__ import annotations

from chiralize.storage.content import Content
from chiralize.storage.format import Format
from chiralize.storage.torch_formats import arrays, loader, write_back


def _recognises(content: Content) -> bool:
    return (content.is_zip and "data.pkl" in content.inner) or content.pickled is not None


FORMAT = Format("state_dict", "a file of weights", _recognises, loader("state_dict"), arrays, write_back)
