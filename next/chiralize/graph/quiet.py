"""What torch says while it exports, copies and compiles for us is not for the user.

It warns of its own code, logs guards, and prints to standard error; whatever matters to the user ends in an exception,
whose first line our errors quote.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Within, warnings, torch's log and what is written to standard error by Python are dropped."""
    logger = logging.getLogger("torch")
    before = logger.level
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(before)
