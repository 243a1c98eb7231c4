"""Weights put back into the very file that they came from: the bytes of their numbers are replaced, no others.

What else a trainer keeps in a file (histories, configurations, the state of an optimizer) is never unpickled for that,
so that it stays as it is, bit by bit, whatever classes it is of.

The formats' `write_back` come here with the origin of a network: the file, and what it calls each weight.  The result
has the same sizes, so that no byte moves:

    torch, zip      the members `data/KEY` of the storages, and their checksums in three places
    torch, old      the numbers behind the pickles
    safetensors     the numbers behind the header

In a zip archive a member is `local header, content[, descriptor]`; a directory at the end has a record of each.  All
three hold its checksum.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Mapping

import torch

from chiralize.errors import ModelFileError, UsageError
from chiralize.storage.archive import Members, open_archive
from chiralize.storage.files import read_file
from chiralize.storage.format import Origin
from chiralize.storage.inert import StoredTensor, named_in
from chiralize.storage.safetensors_file import KINDS, safetensors_header
from chiralize.storage.tables import name_beside, table_under
from chiralize.storage.torch_file import TorchFile, stored_in, view_of

_LOCAL, _CENTRAL = struct.Struct("<4s5H3I2H"), struct.Struct("<4s6H3I5H2I")
_DESCRIPTOR = b"PK\x07\x08"
"""What a descriptor behind a member may begin with, and need not."""
_ELSEWHERE = "write to a .safetensors, .pt2 or .onnx instead"


def unchanged_source(origin: Origin) -> bytes:
    """The file that the network came from.  Raises ModelFileError where it was written to since."""
    data = read_file(origin.path)
    if hashlib.sha256(data).hexdigest() != origin.digest:
        facts = "was written to since it was read, so that the result does not belong to it"
        raise ModelFileError(str(origin.path), facts, "convert again.")
    return data


def torch_patched(
    data: bytes, origin: Origin, state: Mapping[str, torch.Tensor], where: str, partial: bool = False
) -> bytes:
    """A torch file with these weights in place of the network's own, and nothing else changed.

    partial: the file has a part of the network, and other files have the rest.
    Raises UsageError where that cannot be: other sizes or kinds of numbers, or a memory that others share.
    """
    file = TorchFile(data, where)
    table = _table_of(file, origin, where)
    # Several tensors may lie in one storage (views, tied weights).  All are written into one copy of it, and looked at
    # afterwards: each weight has to be what was written, and nothing else may lie on the same memory.
    rooms: dict[str, bytearray] = {}
    written: dict[str, dict[StoredTensor, torch.Tensor]] = {}
    for full, (name, tensor) in by_full_name(origin.names, state).items():
        if partial and full not in table:
            continue
        stored = table[full]
        _check_kind(name, tensor, stored.shape, stored.dtype, where)
        if not stored.end:  # no entries
            continue
        key = stored.storage.key
        room = rooms.setdefault(key, bytearray(file.storage(key)))
        written.setdefault(key, {})[stored] = tensor
        view_of(room, stored).copy_(tensor)
    for stored in stored_in(file.tree):
        tensors = written.get(stored.storage.key)
        if tensors is None:
            continue
        if stored not in tensors or not torch.equal(view_of(rooms[stored.storage.key], stored), tensors[stored]):
            # Some other tensor of the file, such as the state of an optimizer, would be changed along with the weight.
            facts = f"a weight of the network shares its memory with another tensor, of shape {stored.shape}"
            raise UsageError("-o", facts, _ELSEWHERE)
    if file.members is None:
        return _spliced(data, {file.old_spans[key]: bytes(room) for key, room in rooms.items()})
    root = file.members.root
    return zip_patched(data, {f"{root}data/{key}": bytes(room) for key, room in rooms.items()}, where)


def by_full_name(names: Mapping[str, str], state: Mapping[str, torch.Tensor]) -> dict[str, tuple[str, torch.Tensor]]:
    """The weights, and their names in the network, by what the file calls them.

    Weights of the file that the result does not have stay as they are: the network never reads them.
    Raises UsageError for a weight that the file does not have, or of which it has one where the result has two.
    """
    named: dict[str, tuple[str, torch.Tensor]] = {}
    for name, value in state.items():
        tensor = value.detach().cpu()
        if name not in names:
            raise UsageError("-o", f"the file has no place for {name!r}, a weight of the result", _ELSEWHERE)
        other = named.setdefault(names[name], (name, tensor))  # the first weight of this name in the file
        if not torch.equal(other[1], tensor):
            facts = f"{other[0]!r} and {name!r} are one weight in the file, and differ in the result"
            raise UsageError("-o", facts, _ELSEWHERE)
    return named


def _table_of(file: TorchFile, origin: Origin, where: str) -> dict[str, StoredTensor]:
    """The network's weights in the file, by their names in it."""
    if origin.key:
        table = dict(table_under(file.tree, origin.key, where).tensors)
    else:
        table = dict(_root_table(file, where))
    for entry in origin.beside:
        for name, tensor in table_under(file.tree, entry, where).tensors.items():
            table[name_beside(entry, name)] = tensor
    return table


def _root_table(file: TorchFile, where: str) -> Mapping[str, StoredTensor]:
    """The weights of a file that is a table itself, or a pickled module."""
    names = named_in(file.tree, where)
    assert isinstance(names, Mapping)
    return names


def _check_kind(name: str, tensor: torch.Tensor, shape: tuple[int, ...], dtype: str, where: str) -> None:
    """Raise UsageError where a weight does not have the size and kind of numbers that the file has for it."""
    kind = str(tensor.dtype).removeprefix("torch.")
    if tuple(tensor.shape) != tuple(shape) or kind != dtype:
        facts = f"{name!r} is {tuple(tensor.shape)} of {kind}, {where} has {tuple(shape)} of {dtype} in its place"
        raise UsageError("-o", facts, _ELSEWHERE)


def safetensors_patched(data: bytes, names: Mapping[str, str], state: Mapping[str, torch.Tensor], where: str) -> bytes:
    """A safetensors file with these weights in place of those of the same names.  Raises UsageError as above.

    names: what the file calls each weight; those that it does not have are somebody else's.
    """
    header = safetensors_header(data, where)
    start = 8 + struct.unpack_from("<Q", data)[0]
    spans: dict[tuple[int, int], bytes] = {}
    for full, (name, tensor) in by_full_name(names, state).items():
        if full not in header:
            continue
        entry, tensor = header[full], tensor.contiguous()
        _check_kind(name, tensor, tuple(entry["shape"]), KINDS.get(entry["dtype"], "another kind"), where)
        first, end = entry["data_offsets"]  # from the end of the header on, which stands behind its own size
        spans[start + first, end - first] = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
    return _spliced(data, spans)


def zip_patched(data: bytes, members: Mapping[str, bytes], where: str) -> bytes:
    """A zip archive with other content in some members, of the same sizes; every other byte stays, but for checksums.

    Raises UsageError where the members are compressed, ModelFileError where one that stays is damaged: the trainer's
    loader would find the damage in the result.
    """
    patched = bytearray(data)
    with open_archive(data, where) as archive:
        Members(archive, where).check(but=members)
        infos = {info.filename: info for info in archive.infolist()}
        centrals = _central_records(data, archive.start_dir, len(infos))
    for name, content in members.items():
        info = infos[name]
        if info.compress_type or info.file_size != len(content):
            raise UsageError("-o", f"member {name!r} of {where} is compressed, which torch never does", _ELSEWHERE)
        # The local header has lengths of its own: its extra field may differ from that in the directory.
        *_, name_size, extra_size = _LOCAL.unpack_from(data, info.header_offset)
        start = info.header_offset + _LOCAL.size + name_size + extra_size
        end = start + len(content)
        # A file that torch wrote without checksums has 0 throughout.  One that is right would make all others wrong.
        checksum = struct.pack("<I", zlib.crc32(content) if hasattr(info, "CRC") else 0)
        patched[start:end] = content
        _put(patched, centrals[name] + 16, checksum)
        # Where flag 8 is set the checksum was not known when the header was written, and stands behind the content.
        if not info.flag_bits & 0x8:
            _put(patched, info.header_offset + 14, checksum)
        elif data[end : end + 4] == _DESCRIPTOR:
            _put(patched, end + 4, checksum)
        else:
            _put(patched, end, checksum)
    return bytes(patched)


def _put(data: bytearray, position: int, content: bytes) -> None:
    """Replace as many bytes as the content has."""
    data[position : position + len(content)] = content


def _central_records(data: bytes, start: int, count: int) -> dict[str, int]:
    """Where the directory of an archive, which starts there, speaks of each member."""
    records: dict[str, int] = {}
    for _ in range(count):
        name_size, extra_size, comment_size = _CENTRAL.unpack_from(data, start)[10:13]
        name = data[start + _CENTRAL.size : start + _CENTRAL.size + name_size].decode("utf-8", "replace")
        records[name] = start
        start += _CENTRAL.size + name_size + extra_size + comment_size
    return records


def _spliced(data: bytes, spans: Mapping[tuple[int, int], bytes]) -> bytes:
    """The data with other content in spans (start, size), of the same size each."""
    patched = bytearray(data)
    for (start, size), content in spans.items():
        assert size == len(content)
        patched[start : start + size] = content
    return bytes(patched)
