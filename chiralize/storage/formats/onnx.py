"""ONNX: a graph that can be run; `onnx_reading` takes it apart.

Loading gives an `OnnxNetwork`, which onnxruntime runs. Protobuf has no magic bytes: a file is told by its fields. Each
is a tag (the number of the field times 8, plus a wire type), then a number or the length of what follows. `08 08 12 07`
is field 1, the number 8 (version of the format), then field 2, seven bytes (the producer's name).
"""

from __future__ import annotations

from chiralize.errors import ModelFileError
from chiralize.storage.content import Content
from chiralize.storage.format import Format, LoadedModel, Wanted
from chiralize.storage.missing import KINDS, refuse_weight_options
from chiralize.storage.sidecar import DIGEST_KEY, certificate_of

_GRAPH, _VERSIONS = 7, {1, 8}
"""Numbers of fields: the graph; the version of the format, and those of the sets of operators."""
_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, _GRAPH: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}  # to wire types


def _recognises(content: Content) -> bool:
    """Whether these are the fields of an ONNX ModelProto, a graph among them; a file cut short goes by its start."""
    if content.file is None or content.is_zip:
        return False
    data = content.data
    has_version = data[:1] == b"\x08" and 1 <= (data[1:2] or b"\0")[0] < 0x20
    if has_version and data[2:3] in (b"\x12", b"\x1a", b"\x3a", b"\x42"):
        return True  # ir_version, then the producer, the graph or the operator sets
    # From field to field, over their contents, to the very end: other files contain some field that is none.
    position, seen = 0, set()
    while position < len(data):
        # What lies past the end of the data has a tag that is in no table, so that the loop ends there.
        tag, position = _varint(data, position)
        field, wire = tag >> 3, tag & 7
        if _FIELDS.get(field) != wire:
            return False
        seen.add(field)
        number, position = _varint(data, position)
        if wire == 2:  # the number is the length of what follows
            position += number
    return position == len(data) and _GRAPH in seen and bool(seen & _VERSIONS)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A protobuf number and the position after it; past the end, a tag that no field has."""
    # Seven bits a byte, the lowest first; the eighth says that another byte follows.  Ten bytes hold 64 bits.
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        value |= (data[position] & 0x7F) << shift
        position += 1
        if data[position - 1] < 0x80:
            return value, position
    return 0, len(data) + 1


def _load(content: Content, wanted: Wanted) -> LoadedModel:
    """The file in a session of onnxruntime, with the call and the certificate that it remembers.

    Raises ModelFileError, UnsafeFileError, MissingPackageError; UsageError for options that are for weights.
    """
    if not wanted.onnx:
        facts = "is an ONNX model, which the commands take; a module of torch is wanted here"
        raise ModelFileError(content.where, facts, f"give what it was exported from: {KINDS}.")
    from chiralize.storage.onnx_call import recorded_call
    from chiralize.storage.onnx_checks import read_checked
    from chiralize.storage.onnx_network import OnnxNetwork, network_digest

    refuse_weight_options(content, "onnx", wanted)
    network = OnnxNetwork(read_checked(content.data, content.path), content.where)
    call = recorded_call(network)
    args, kwargs = (call.args, {}) if call is not None else (None, None)
    extra = certificate_of(network.metadata)
    if network.metadata.get(DIGEST_KEY, "") in ("", network_digest(network.model)):
        return LoadedModel(network, "onnx", content.path, content.digest, None, args, kwargs, extra)
    # A few inputs, on which many units may rest, would not show it: the certificate says nothing of another network.
    return LoadedModel(network, "onnx", content.path, content.digest, None, args, kwargs, notes=(_CHANGED,))


_CHANGED = (
    "warning: its weights or operators were changed since the conversion: the certificate in the file is of another "
    "network, and is not used"
)
FORMAT = Format("onnx", "an onnx model", _recognises, _load, rank=-10, may_be_whole=True)
