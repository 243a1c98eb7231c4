"""Reading a `.pt2`: equal texts of sizes are parsed once.

An exported program says the sizes of every tensor as texts such as `Max(1, s5 - 8)`. torch has SymPy parse each of
them, also where hundreds are alike: of a converted lifter that took two thirds of `torch.export.load`
(decision 0056).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_METHOD = "_parse_sym_expr"
_MEMO = "_parsed_by_chiralize"
_LOCK = threading.Lock()


@contextmanager
def parsed_once() -> Iterator[None]:
    """Within, torch remembers what it made of the text of a size for as long as it reads one program.

    The method that does it is torch's own and private: where a torch has none of that name, nothing is changed. Other
    threads that read programs meanwhile get the same sizes.
    """
    from torch._export.serde import serialize

    reader: Any = getattr(serialize, "GraphModuleDeserializer", None)
    parse = getattr(reader, _METHOD, None)
    if parse is None:
        yield
        return
    # The class is everybody's: without the lock a second thread would take the first one's method for torch's.
    with _LOCK:
        setattr(reader, _METHOD, _remembering(parse))
        try:
            yield
        finally:
            setattr(reader, _METHOD, parse)


def _remembering(parse: Callable[..., Any]) -> Callable[..., Any]:
    """torch's method, which is asked once for every text, hint and table of symbols."""

    def parsed(self: Any, text: Any, hint: Any = None) -> Any:
        """The size of a text."""
        symbols = self.shape_env  # torch's table of the symbols of the program that is being read
        of, sizes = vars(self).get(_MEMO, (None, {}))
        if of is not symbols:  # another program: its symbols are others
            of, sizes = symbols, {}
            setattr(self, _MEMO, (of, sizes))
        if (text, hint) not in sizes:
            sizes[text, hint] = parse(self, text, hint)
        return sizes[text, hint]

    return parsed
