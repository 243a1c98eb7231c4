"""Networks of which only some outputs are claimed to be equivariant."""

from chiralize.problem.partial.partial import Partial, as_run, entry_of, prepare
from chiralize.problem.partial.rows import Head

__all__ = ["Head", "Partial", "as_run", "entry_of", "prepare"]
