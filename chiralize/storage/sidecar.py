"""The certificate that travels with weights: in the file where that has room for texts, else beside it.

It is the text of a `passport.Passport`.  Beside weights it has two entries more: the digest of the weights that it is
of, and where in the file they were found.  Where it is:

    chiral.pt2, .safetensors, .onnx    inside, as an extra file or in the metadata
    weights.pt                         weights.pt.chirality.json
    a folder                           chirality.json in it
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chiralize.errors import ModelFileError
from chiralize.storage.format import Origin

CERTIFICATE = "chirality.json"
METADATA_KEY = "chirality"
DIGEST_KEY = "weights_sha256"
SOURCE_KEY = "source"


@dataclass(frozen=True)
class Remembered:
    """How the weights were found when they were converted: entry, prefix, and what built the network.

    normalizer: name of the original's file of statistics, whose new ones are in another file; "" where there was none.
    """

    key: str | None = None
    prefix: str | None = None
    factory: str = ""
    factory_args: Mapping[str, str] = field(default_factory=dict)
    normalizer: str = ""


def place_of(path: Path) -> Path:
    """Where the certificate of a file of weights is: beside it; of a folder, in it."""
    if path.is_dir():
        return path / CERTIFICATE
    return path.with_name(f"{path.name}.{CERTIFICATE}")


def certificate_of(metadata: Mapping[str, Any]) -> dict[str, str]:
    """The certificate among the texts of a file, under the name that a file of its own would have; {} for no table."""
    if isinstance(metadata, Mapping) and METADATA_KEY in metadata:
        return {CERTIFICATE: str(metadata[METADATA_KEY])}
    return {}


def certificate_beside(path: Path, digest: str) -> dict[str, str]:
    """The certificate of weights, if there is one.  Raises ModelFileError where it belongs to other weights.

    digest: of the weights.  Certificates written before they named their weights are taken as they are.
    """
    beside = place_of(path)
    if not beside.is_file():
        return {}
    try:
        text = beside.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFileError(str(beside), f"cannot be read ({error})", "delete it or restore it.") from error
    # A certificate proves nothing of other weights.  Two files cannot be replaced at once, so that this does happen.
    named = _table(text).get(DIGEST_KEY)
    if named not in (None, digest):
        facts = (
            f"describes other weights than {path.name} holds (SHA-256 {str(named)[:12]}..., the file's is "
            f"{digest[:12]}...): one of the two was replaced alone, or a conversion was killed between them"
        )
        remedy = f"convert again; or, if the weights were changed on purpose, delete {beside} and give --skeleton."
        raise ModelFileError(str(beside), facts, remedy)
    return {CERTIFICATE: text}


def with_source(passport: str, origin: Origin) -> str:
    """A certificate that remembers where in the file the weights are, and what builds their network."""
    source: dict[str, Any] = {"key": origin.key, "prefix": origin.prefix}
    if origin.factory:
        source |= {"model": origin.factory, "args": dict(origin.factory_args)}
    if origin.normalizer is not None:
        source["normalizer"] = origin.normalizer.path.name
    return json.dumps({**json.loads(passport), SOURCE_KEY: source})


def remembered(extra: Mapping[str, str]) -> Remembered:
    """What a certificate says of the file; nothing where it says nothing that can be understood."""
    # These are hints for finding the weights again: any that is of another type is as good as none.
    source = _table(extra.get(CERTIFICATE, "")).get(SOURCE_KEY)
    if not isinstance(source, dict):
        return Remembered()
    names = ("key", "prefix", "model", "args", "normalizer")
    key, prefix, factory, args, normalizer = (source.get(name) for name in names)
    texts = args.items() if isinstance(args, dict) else ()
    return Remembered(
        key if isinstance(key, str) else None,
        prefix if isinstance(prefix, str) else None,
        factory if isinstance(factory, str) else "",
        {str(name): str(value) for name, value in texts},
        normalizer if isinstance(normalizer, str) else "",
    )


def names_weight(extra: Mapping[str, str], name: str) -> bool:
    """Whether a certificate says how the mirror takes the weight of this name."""
    hidden = _table(extra.get(CERTIFICATE, "")).get("hidden")
    return isinstance(hidden, dict) and name in hidden


def _table(text: str) -> dict[str, Any]:
    """A JSON table; an empty one for any other text."""
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}
