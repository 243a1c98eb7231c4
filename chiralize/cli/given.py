"""What can be said of the files that a user names before torch is imported, which takes seconds.

`options.takes_network` asks it before every command: a typing error in a file name is told at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chiralize.cli.options import NetworkOptions


def check_given(options: NetworkOptions, data: Sequence[Path | None]) -> None:
    """Raise what a command would raise later of a file that is not there, or of a specification that cannot be read.

    data: files of arrays.  Raises SpecError, ModelFileError, DataFileError.
    """
    from chiralize.body.tensors import load_spec
    from chiralize.errors import DataFileError, ModelFileError

    if options.skeleton:
        load_spec(options.skeleton, **options.layouts.as_arguments)
    _require(options.model)
    for path in data:
        try:
            if path is not None:
                _require(path)
        except ModelFileError as error:
            remedy = error.remedy.replace("model file", "array file")
            raise DataFileError(error.where, error.facts, remedy) from error


def _require(path: Path) -> None:
    """Raise ModelFileError where there is nothing of that name."""
    from chiralize.storage.files import readable

    with readable(path), suppress(ValueError):  # names that no file can have are refused where they are opened
        path.stat()
