#!/usr/bin/env python3
"""Reads and verifies NNStore containers; written from FORMAT.md alone.

It is meant to be read beside the specification and to check other programs' files, so it is
simple and strict rather than fast. It needs Python 3.11 and the packages `zstandard` and `xxhash`.

    read_container.py FILE             one JSON object that describes the container
    read_container.py --tree FILE      the state tree and the metadata tree, a node a line
    read_container.py --verify FILE    full verification: prints every problem it finds
"""

import argparse
import hashlib
import itertools
import json
import math
import os
import re
import sqlite3
import struct
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

import xxhash
import zstandard

PAGE = 4096
CHUNK = 1 << 20
I64_MAX = (1 << 63) - 1
MAJOR = 1
KNOWN_REQUIRED = 0  # masks of feature bits
KNOWN_OPTIONAL = 1
HEADER_MAGIC = b"\x89NNStore\r\n\x1a\n"
TAIL_MAGIC = b"\x89NNStail\r\n\x1a\n"
END_MARK = b"Start-Of-SQLite3-"
MAX_DEPTH = 1000
MAX_DIMENSIONS = 64

DICTIONARY, LIST, TUPLE, RECORD, TENSOR, NULL, BOOLEAN, INTEGER = range(1, 9)
UNSIGNED, LARGER, DOUBLE, STRING, BYTES, SCALAR, ARRAY, STRINGS = range(9, 17)
KIND_NAMES = dict(enumerate(
    "dictionary list tuple record tensor null boolean integer unsigned larger double string bytes "
    "scalar array strings".split(), start=1))

# Section 3: exactly these objects, in this order.
SCHEMA = [
    ("table", "node", "CREATE TABLE node(parent INTEGER NOT NULL, key ANY NOT NULL, position INTEGER NOT NULL, kind INTEGER NOT NULL, tag TEXT, value ANY, storage INTEGER, dtype TEXT, shape TEXT, strides TEXT, offset INTEGER, nbytes INTEGER, flags INTEGER, PRIMARY KEY(parent, key)) STRICT, WITHOUT ROWID"),
    ("table", "dtype", "CREATE TABLE dtype(name TEXT PRIMARY KEY NOT NULL, elements INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID"),
    ("table", "storage", "CREATE TABLE storage(id INTEGER PRIMARY KEY NOT NULL, nbytes INTEGER NOT NULL, digest BLOB NOT NULL) STRICT"),
    ("table", "chunk", "CREATE TABLE chunk(storage INTEGER NOT NULL, seq INTEGER NOT NULL, source INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL, transform INTEGER NOT NULL, width INTEGER NOT NULL, parts BLOB NOT NULL, digest BLOB NOT NULL, PRIMARY KEY(storage, seq)) STRICT, WITHOUT ROWID"),
    ("table", "extra", "CREATE TABLE extra(key TEXT PRIMARY KEY NOT NULL, value ANY) STRICT, WITHOUT ROWID"),
    ("table", "history", "CREATE TABLE history(seq INTEGER PRIMARY KEY NOT NULL, action TEXT NOT NULL, from_version TEXT, to_version TEXT NOT NULL, by TEXT NOT NULL) STRICT"),
    ("view", "tensors", "CREATE VIEW tensors AS WITH RECURSIVE entry(name, depth, position, kind, value, dtype, shape, strides, offset, nbytes, storage) AS (SELECT '', 0, position, kind, value, dtype, shape, strides, offset, nbytes, storage FROM node WHERE parent = 0 AND key = 0 UNION ALL SELECT CASE depth WHEN 0 THEN CAST(node.key AS TEXT) ELSE entry.name || '.' || node.key END, depth + 1, node.position, node.kind, node.value, node.dtype, node.shape, node.strides, node.offset, node.nbytes, node.storage FROM entry JOIN node ON node.parent = entry.value WHERE entry.kind <= 4 ORDER BY 2 DESC, 3) SELECT name, dtype, shape, strides, offset, nbytes AS size, storage FROM entry WHERE kind = 5"),
]

# Section 6: the names a reader knows, with elements and bytes of a block.
DTYPES = {
    "F64": (1, 8), "F32": (1, 4), "F16": (1, 2), "BF16": (1, 2),
    "F8_E4M3": (1, 1), "F8_E5M2": (1, 1), "F8_E4M3FNUZ": (1, 1), "F8_E5M2FNUZ": (1, 1), "F8_E8M0": (1, 1),
    "F6_E2M3": (4, 3), "F6_E3M2": (4, 3), "F4": (2, 1),
    "I64": (1, 8), "I32": (1, 4), "I16": (1, 2), "I8": (1, 1),
    "U64": (1, 8), "U32": (1, 4), "U16": (1, 2), "U8": (1, 1), "BOOL": (1, 1),
    "C128": (1, 16), "C64": (1, 8),
}


class FormatError(Exception):
    """A rule of the specification is broken; the text names it."""


class Unsupported(FormatError):
    """The file is of a later version or needs a feature: not damaged."""


def fail(section: str, message: str) -> NoReturn:
    raise FormatError(f"{message} (section {section})")


def xxh64(data, seed: int = 0) -> bytes:
    return xxhash.xxh3_64_digest(data, seed)  # canonical form, section 1


def xxh128(data) -> bytes:
    return xxhash.xxh3_128_digest(data)


def integer(value, what: str, section: str, low: int = 0, high: int = I64_MAX) -> int:
    if type(value) is not int:
        fail(section, f"{what} is not an integer")
    if not low <= value <= high:
        fail(section, f"{what} is {value}, not from {low} to {high}")
    return value


def text(value, what: str, section: str) -> str:
    if type(value) is not str:
        fail(section, f"{what} is not a text")
    return value


def blob(value, what: str, section: str, size: int | None = None) -> bytes:
    if type(value) is not bytes:
        fail(section, f"{what} is not a blob")
    if size is not None and len(value) != size:
        fail(section, f"{what} has {len(value)} bytes instead of {size}")
    return value


@dataclass(frozen=True)
class Tail:
    """Section 2.2."""
    major: int
    minor: int
    required: int
    optional: int
    chunks_end: int
    index_offset: int
    index_size: int
    index_hash: bytes
    content_id: bytes
    file_id: bytes


@dataclass(frozen=True)
class DType:
    """Section 6: `elements` elements take `bytes` bytes."""
    name: str
    elements: int
    bytes: int


@dataclass(frozen=True)
class Tensor:
    """Section 5. Offsets and strides are in elements."""
    dtype: DType
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    contiguous: bool
    offset: int
    nbytes: int
    flags: int
    storage: int

    @property
    def empty(self) -> bool:
        return 0 in self.shape


@dataclass
class Node:
    """Section 4. `value` is a Python value for scalars, the stored bytes for kinds 10, 11, 14 and 15."""
    key: int | str
    position: int
    kind: int
    tag: str | None = None
    value: object = None
    dtype: DType | None = None
    tensor: Tensor | None = None
    children: list["Node"] = field(default_factory=list)
    name: str = ""


@dataclass(frozen=True)
class Storage:
    """Section 7."""
    id: int
    nbytes: int
    digest: bytes


@dataclass(frozen=True)
class Chunk:
    """Section 7: one chunk, which has one part in format 1."""
    storage: int
    seq: int
    size: int
    offset: int
    length: int
    coding: int
    part_hash: bytes
    digest: bytes

    @property
    def what(self) -> str:
        return f"chunk {self.seq} of storage {self.storage}"


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, product = [], 1
    for extent in reversed(shape):
        strides.append(product)
        product *= max(1, extent)
    if product > I64_MAX:
        fail("5", f"the extents {list(shape)} overflow")
    return tuple(reversed(strides))


def integer_array(value, what: str) -> tuple[int, ...]:
    """Section 5: a canonical JSON array of integers that are not negative."""
    if not re.fullmatch(r"\[((0|[1-9][0-9]{0,18})(,(0|[1-9][0-9]{0,18}))*)?\]", text(value, what, "5")):
        fail("5", f"{what} is not a canonical array of integers")
    numbers = tuple(int(part) for part in value[1:-1].split(",")) if value != "[]" else ()
    if len(numbers) > MAX_DIMENSIONS or any(number > I64_MAX for number in numbers):
        fail("5", f"{what} has too many dimensions or too large a number")
    return numbers


def check_layout(tensor: Tensor, storage: Storage) -> None:
    """Section 5: strides that say nothing, bounds, block dtypes, nbytes."""
    elements, size = tensor.dtype.elements, tensor.dtype.bytes
    count = math.prod(tensor.shape)
    natural = contiguous_strides(tensor.shape)
    if count % elements or tensor.offset % elements:
        fail("5", f"{tensor.dtype.name} needs whole blocks of {elements} elements")
    if count // elements * size != tensor.nbytes:
        fail("5", f"nbytes is {tensor.nbytes} instead of {count // elements * size}")
    if not tensor.contiguous and tensor.strides == natural:
        fail("5", "contiguous strides must be NULL")
    if tensor.empty:
        if tensor.offset or tensor.strides != natural:
            fail("5", "an empty tensor must have offset 0 and contiguous strides")
        return
    for extent, stride, usual in zip(tensor.shape, tensor.strides, natural):
        if extent == 1 and stride != usual:
            fail("5", "the stride of a dimension of extent 1 must be the contiguous one")
    if elements > 1 and not tensor.contiguous:
        if tensor.strides[-1] != 1 or tensor.shape[-1] % elements:
            fail("5", f"a {tensor.dtype.name} tensor must have whole blocks in its last dimension")
        if any(e > 1 and s % elements for e, s in zip(tensor.shape[:-1], tensor.strides)):
            fail("5", f"a stride of a {tensor.dtype.name} tensor is not a whole number of blocks")
    last = tensor.offset + sum((e - 1) * s for e, s in zip(tensor.shape, tensor.strides))
    if -(-(last + 1) // elements) * size > storage.nbytes:
        fail("5", f"the tensor reaches element {last}, outside storage {storage.id} of {storage.nbytes} bytes")


class Container:
    """An opened container: everything in its index is read and checked, chunks are read when asked for."""

    def __init__(self, path: str, limit: int = 4 << 30, node_limit: int = 10_000_000):
        self.path, self.limit, self.node_limit = path, limit, node_limit
        self.file = open(path, "rb")
        try:
            self.tail = self._read_ends()
            self.index = self._read_index()
            self.database = self._open_index()
            self._read_rows()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        self.file.close()
        if hasattr(self, "database"):
            self.database.close()

    def read(self, offset: int, size: int) -> bytes:
        data = os.pread(self.file.fileno(), size, offset)
        while len(data) < size:
            more = os.pread(self.file.fileno(), size - len(data), offset + len(data))
            if not more:
                fail("2", "the file became shorter while it was read")
            data += more
        return data

    # Section 2: header, tail and end mark.

    def _read_ends(self) -> Tail:
        size = os.fstat(self.file.fileno()).st_size
        if self.read(0, min(size, 12)) != HEADER_MAGIC:
            fail("2.1", "not a container: no magic at the start")
        mark = self.read(max(0, size - 25), min(size, 25))
        index_offset = int.from_bytes(mark[17:], "big")
        if mark[:17] != END_MARK or (size - 25) % PAGE or size < 3 * PAGE + 25:
            fail("2.3", "cut or overwritten: no end mark where the file ends")
        if index_offset % PAGE or not 2 * PAGE <= index_offset <= size - 25 - PAGE:
            fail("2.3", "cut or overwritten: the end mark does not agree with the file's size")

        header, tail = self.read(0, PAGE), self.read(index_offset - PAGE, PAGE)
        if xxh64(header[:4088]) != header[4088:]:
            fail("2.1", "the header's checksum does not agree")
        if tail[:12] != TAIL_MAGIC:
            fail("2.2", "the tail has no magic")
        if xxh128(tail[:4080]) != tail[4080:]:
            fail("2.2", "the tail's checksum does not agree")
        fields = Tail(*struct.unpack("<12x2I4x5Q16s16s", tail[:96]), file_id=tail[4080:])
        major = int.from_bytes(header[12:16], "little")
        if major != fields.major:
            fail("2.2", f"the header is of major version {major}, the tail of {fields.major}")
        if fields.major != MAJOR:
            raise Unsupported(f"format version {fields.major}.{fields.minor} is not known (section 2.4)")
        unknown = fields.required & ~KNOWN_REQUIRED
        if unknown:
            bit = (unknown & -unknown).bit_length() - 1
            raise Unsupported(f"needs feature {bit}, of version {fields.major}.{fields.minor} (section 2.4)")
        if any(header[16:4088]) or any(tail[20:24]) or any(tail[96:4080]):
            fail("2", "bytes of the header or tail that must be zero are not")

        if fields.index_offset != index_offset or index_offset + fields.index_size + 25 != size:
            fail("2.2", "cut or overwritten: tail, end mark and size do not agree")
        if not PAGE <= fields.chunks_end <= index_offset - PAGE:
            fail("2.2", "the end of the chunk area is not between header and tail")
        return fields

    # Section 3: the index.

    def _read_index(self) -> bytes:
        if self.tail.index_size > self.limit:
            fail("10", f"the index has {self.tail.index_size} bytes, above the limit of {self.limit}")
        image = self.read(self.tail.index_offset, self.tail.index_size)
        for number, start in enumerate(range(0, len(image), PAGE), start=1):
            if xxh64(image[start:start + PAGE - 8], number) != image[start + PAGE - 8:start + PAGE]:
                fail("3", f"the checksum of index page {number} does not agree")
        expected = {
            (0, 16): b"SQLite format 3\0", (16, 18): b"\x10\0", (18, 20): b"\1\1", (20, 21): b"\x08",
            (28, 32): (len(image) // PAGE).to_bytes(4, "big"), (36, 40): bytes(4), (52, 56): bytes(4),
            (56, 60): b"\0\0\0\1", (60, 64): MAJOR.to_bytes(4, "big"), (68, 72): b"NNCK",
        }
        for (start, end), value in expected.items():
            if image[start:end] != value:
                fail("3", f"bytes {start} to {end - 1} of the index are {image[start:end].hex()} instead of {value.hex()}")
        return image

    def _open_index(self) -> sqlite3.Connection:
        database = sqlite3.connect(":memory:")
        database.text_factory = lambda raw: raw.decode("utf-8")  # strict
        for pragma in ("trusted_schema = OFF", "cell_size_check = ON"):
            database.execute("PRAGMA " + pragma)
        database.deserialize(self.index)
        database.execute("PRAGMA query_only = ON")
        found = database.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY rowid").fetchall()
        if found != SCHEMA:
            database.close()
            fail("3", "the schema of the index is not the prescribed one")
        return database

    def _read_rows(self) -> None:
        self.dtypes = dict(self._read_dtypes())
        self.storages = dict(self._read_storages())
        self.extra = dict(self._read_extra())
        self.history = self._read_history()
        self.state, self.metadata = self._read_trees()
        self.tensors = [node for node in walk(self.state) if node.kind == TENSOR]
        if any(node.kind == TENSOR for node in walk(self.metadata)):
            fail("4", "the metadata tree has a tensor")

    # Section 4: trees.

    def _read_trees(self) -> tuple[Node, Node]:
        children: dict[int, list[Node]] = defaultdict(list)
        rows = self.database.execute(
            "SELECT parent, key, position, kind, tag, value, storage, dtype, shape, strides, offset, nbytes, flags FROM node")
        for count, (parent, *columns) in enumerate(rows):
            if count >= self.node_limit:
                fail("10", f"more than {self.node_limit} nodes")
            try:
                children[integer(parent, "parent", "4")].append(self._node(*columns))
            except FormatError as error:
                raise FormatError(f"node {columns[0]!r} of parent {parent}: {error}") from None

        roots = sorted(children.pop(0, []), key=lambda node: str(node.key))
        if [(type(root.key), root.key, root.position) for root in roots] != [(int, 0, 0), (int, 1, 0)]:
            fail("4", "the roots are not exactly the rows with keys 0 and 1 and position 0")
        if roots[1].kind != DICTIONARY:
            fail("4", "the root of the metadata tree is not a dictionary")
        next_id = 1
        stack = [(root, 0) for root in reversed(roots)]
        while stack:
            node, depth = stack.pop()
            if depth > MAX_DEPTH:
                fail("4", f"a node is more than {MAX_DEPTH} levels below its root")
            if node.kind > RECORD:
                continue
            if node.value != next_id:
                fail("4", f"an inner node has the id {node.value} instead of {next_id}: ids are not in preorder")
            next_id += 1
            node.children = sorted(children.pop(node.value, []), key=lambda child: child.position)
            if [child.position for child in node.children] != list(range(len(node.children))):
                fail("4", f"the positions of the children of node {node.value} have gaps or repeat")
            if len({child.key for child in node.children}) != len(node.children):
                fail("4", f"a key occurs twice in node {node.value}")
            for child in node.children:
                if node.kind in (LIST, TUPLE) and child.key != child.position:
                    fail("4", f"a child of list {node.value} has the key {child.key!r} at position {child.position}")
                child.name = f"{node.name}.{child.key}" if depth else str(child.key)
            stack.extend((child, depth + 1) for child in reversed(node.children))
        if children:
            fail("4", f"rows of parent {min(children)} belong to no tree")
        return roots[0], roots[1]

    def _node(self, key, position, kind, tag, value, storage, dtype, *layout) -> Node:
        if type(key) not in (int, str):
            fail("4", "the key is neither a text nor an integer")
        integer(position, "position", "4")
        integer(kind, "kind", "4", 1, STRINGS)
        node = Node(key, position, kind)
        if tag is not None or kind == RECORD:
            node.tag = text(tag, "tag", "4")
            if kind > TENSOR or not tag:
                fail("4", "a tag is empty or stands on a leaf that has none")
        if (dtype is None) == (kind in (TENSOR, SCALAR, ARRAY)):
            fail("4", f"a node of kind {kind} has a dtype too many or none")
        if dtype is not None:
            node.dtype = self.dtypes.get(text(dtype, "dtype", "4"))
            if node.dtype is None:
                fail("6", f"the dtype {dtype!r} is missing")
        if kind == TENSOR:
            if value is not None:
                fail("4", "a tensor has a value")
            node.tensor = self._tensor(node.dtype, storage, *layout)
        elif any(column is not None for column in (storage, *layout)):
            fail("4", "a column of tensors is not NULL in another node")
        else:
            node.value = parse_value(kind, value, node.dtype)
        return node

    def _tensor(self, dtype: DType, storage, shape, strides, offset, nbytes, flags) -> Tensor:
        extents = integer_array(shape, "shape")
        tensor = Tensor(
            dtype, extents, contiguous_strides(extents) if strides is None else integer_array(strides, "strides"),
            strides is None, integer(offset, "offset", "5"), integer(nbytes, "nbytes", "5"),
            integer(flags, "flags", "5", 0, 1), integer(storage, "storage", "5"))
        if len(tensor.strides) != len(extents):
            fail("5", "shape and strides have different lengths")
        if tensor.storage not in self.storages:
            fail("5", f"storage {storage} is missing")
        check_layout(tensor, self.storages[tensor.storage])
        return tensor

    # Sections 6 to 8: dtypes, storages and chunks, extra and history.

    def _read_dtypes(self) -> Iterator[tuple[str, DType]]:
        for name, elements, size in self.database.execute("SELECT name, elements, bytes FROM dtype"):
            if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", text(name, "a dtype's name", "6")):
                fail("6", f"{name!r} is not a name for a dtype")
            integer(elements, "elements", "6", 1, 65_536)
            integer(size, "bytes", "6", 1, 1_048_576)
            if DTYPES.get(name, (elements, size)) != (elements, size):
                fail("6", f"the dtype {name} has other figures than prescribed")
            yield name, DType(name, elements, size)

    def _read_storages(self) -> Iterator[tuple[int, Storage]]:
        for number, nbytes, digest in self.database.execute("SELECT id, nbytes, digest FROM storage"):
            yield integer(number, "a storage's id", "7", 1), Storage(
                number, integer(nbytes, "a storage's nbytes", "7"), blob(digest, "a storage's digest", "7", 16))

    def _read_extra(self) -> Iterator[tuple[str, object]]:
        allowed = {"sharing": ("known", "unknown"), "compression": ("none", "fast", "smallest")}
        for key, value in self.database.execute("SELECT key, value FROM extra"):
            if text(key, "a key of extra", "8") in allowed and value not in allowed[key]:
                fail("8", f"extra has {value!r} for {key}")
            if key == "safetensors.header":
                blob(value, key, "8")
            yield key, value

    def _read_history(self) -> list[tuple]:
        rows = self.database.execute("SELECT seq, action, from_version, to_version, by FROM history ORDER BY seq").fetchall()
        for number, (seq, action, old, new, by) in enumerate(rows, start=1):
            if seq != number or action not in ("created", "migrated", "recovered") or type(by) is not str:
                fail("8", f"row {number} of history is not as prescribed")
            for version in [new] if action == "created" and old is None else [old, new]:
                if type(version) is not str or not re.fullmatch(r"[0-9]+\.[0-9]+", version):
                    fail("8", f"row {number} of history has the version {version!r}")
        return rows

    def chunks(self, storage: Storage) -> list[Chunk]:
        """Section 7: the rows of a storage, checked one by one."""
        rows = self.database.execute(
            "SELECT seq, source, offset, length, transform, width, parts, digest FROM chunk"
            " WHERE storage = ? ORDER BY seq", (storage.id,))
        sizes = -(-storage.nbytes // CHUNK)
        found = []
        for number, (seq, source, offset, length, transform, width, parts, digest) in enumerate(rows):
            what = f"chunk {seq} of storage {storage.id}"
            if seq != number or number >= sizes:
                fail("7", f"{what} is out of sequence")
            if (source, transform, width) != (0, 0, 1):
                fail("7", f"{what} has source {source}, transform {transform}, width {width}")
            integer(offset, f"the offset of {what}", "7", PAGE, self.tail.chunks_end)
            integer(length, f"the length of {what}", "7", 1, self.tail.chunks_end - offset)
            coding, part_length, part_hash = struct.unpack("<BI8s", blob(parts, f"parts of {what}", "7", 13))
            size = min(CHUNK, storage.nbytes - seq * CHUNK)
            if part_length != length or coding > 1 or (length != size if coding == 0 else length >= size):
                fail("7", f"the part of {what} has coding {coding} and {part_length} bytes for {size} in {length}")
            if coding == 0 and offset % (PAGE if storage.nbytes >= CHUNK else 64):
                fail("7", f"{what} is stored at {offset}, which is not aligned")
            found.append(Chunk(storage.id, seq, size, offset, length, coding, part_hash,
                               blob(digest, f"the digest of {what}", "7", 16)))
        if len(found) != sizes:
            fail("7", f"storage {storage.id} has {len(found)} chunks instead of {sizes}")
        return found

    def read_chunk(self, chunk: Chunk) -> bytes:
        """Section 7: hash, then frame, then the decoded bytes."""
        data = self.read(chunk.offset, chunk.length)
        if xxh64(data) != chunk.part_hash:
            fail("7", f"the bytes of {chunk.what} are damaged")
        if chunk.coding == 0:
            return data
        if data[:4] != b"\x28\xb5\x2f\xfd":
            fail("7", f"{chunk.what} is not a zstd frame")
        try:
            frame = zstandard.get_frame_parameters(data)
            if (frame.content_size, frame.dict_id, frame.has_checksum) != (chunk.size, 0, False):
                fail("7", f"the frame of {chunk.what} has another content size, a dictionary or a checksum")
            decoded = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
        except zstandard.ZstdError as error:
            fail("7", f"the frame of {chunk.what} can't be decoded: {error}")
        if len(decoded) != chunk.size:
            fail("7", f"{chunk.what} decodes to {len(decoded)} bytes instead of {chunk.size}")
        return decoded

    def read_storage(self, number: int) -> bytes:
        storage = self.storages[number]
        chunks = self.chunks(storage)
        if storage.nbytes > self.limit:
            fail("10", f"storage {number} has {storage.nbytes} bytes, above the limit of {self.limit}")
        return b"".join(self.read_chunk(chunk) for chunk in chunks)

    def elements(self, tensor: Tensor, storage: bytes) -> Iterator[memoryview]:
        """The tensor's elements in row-major order, block dtypes by whole blocks."""
        if tensor.empty:
            return
        if tensor.nbytes > self.limit:
            fail("10", f"a tensor has {tensor.nbytes} bytes, above the limit of {self.limit}")
        view, size = memoryview(storage), tensor.dtype.bytes
        start = tensor.offset // tensor.dtype.elements
        if tensor.contiguous:
            yield view[start * size:start * size + tensor.nbytes]
            return
        # From here on everything is counted in blocks; the last dimension of block dtypes is whole ones.
        shape = [*tensor.shape[:-1], tensor.shape[-1] // tensor.dtype.elements]
        strides = [*(s // tensor.dtype.elements for s in tensor.strides[:-1]), tensor.strides[-1]]
        run = 1
        while shape and (shape[-1] == 1 or strides[-1] == run):
            run *= shape.pop()
            strides.pop()
        for position in positions(shape, strides, start):
            yield view[position * size:(position + run) * size]

    # Section 9: the content id.

    def compute_content_id(self) -> bytes:
        numbers: dict[int, int] = {}
        out = xxhash.xxh3_128(b"NNStore content1")
        for root in (self.state, self.metadata):
            for node in walk(root):
                if node is not root:
                    key = node.key
                    out.update(struct.pack("<Bq", 1, key) if type(key) is int else b"\2" + packed(key))
                out.update(encode_node(node, numbers))
        for number in numbers:
            out.update(struct.pack("<Q", self.storages[number].nbytes) + self.storages[number].digest)
        return out.digest()

    # Section 10: full verification. Opening has checked pages, rows, layouts and trees already.

    def verify(self) -> Iterator[str]:
        """Yields every problem that full verification finds."""
        if xxh128(self.index) != self.tail.index_hash:
            yield "the hash of the index does not agree (section 2.2)"
        try:
            for (message,) in self.database.execute("PRAGMA integrity_check"):
                if message != "ok":
                    yield f"SQLite's integrity check: {message} (section 10)"
        except sqlite3.Error as error:
            yield f"SQLite's integrity check: {error} (section 10)"
        used = {node.dtype.name for root in (self.state, self.metadata) for node in walk(root) if node.dtype}
        for name in self.dtypes.keys() - used:
            yield f"no node uses the dtype {name} (section 6)"
        if sorted(self.storages) != list(range(1, len(self.storages) + 1)):
            yield "the storages are not numbered from 1 without gaps (section 7)"
        for number in sorted(self.storages.keys() - {node.tensor.storage for node in self.tensors}):
            yield f"no tensor uses storage {number} (section 5)"
        for (number,) in self.database.execute("SELECT DISTINCT storage FROM chunk"):
            if number not in self.storages:
                yield f"chunks belong to storage {number}, which is missing (section 7)"
        if self.compute_content_id() != self.tail.content_id:
            yield "the content id does not agree (section 9)"
        yield from self._verify_chunks()

    def _verify_chunks(self) -> Iterator[str]:
        extents: dict[int, Chunk] = {}
        for storage in self.storages.values():
            try:
                chunks = self.chunks(storage)
            except FormatError as error:
                yield str(error)
                continue
            digest = xxhash.xxh3_128(b"NNStore storage1" + struct.pack("<Q", storage.nbytes))
            for before, chunk in zip([None, *chunks], chunks):
                digest.update(chunk.digest)
                first = extents.setdefault(chunk.offset, chunk)
                if (first.length, first.coding, first.part_hash, first.digest, first.size) != (
                        chunk.length, chunk.coding, chunk.part_hash, chunk.digest, chunk.size):
                    yield f"{chunk.what} and {first.what} overlap (section 7)"
                if self.extra.get("compression") == "none" and (
                        chunk.coding != 0 or before and before.offset + before.length != chunk.offset):
                    yield f"{chunk.what} is not stored behind the one before (section 7)"
                try:
                    if xxh128(self.read_chunk(chunk)) != chunk.digest:
                        yield f"the digest of {chunk.what} does not agree (section 7)"
                except FormatError as error:
                    yield str(error)
            if digest.digest() != storage.digest:
                yield f"the digest of storage {storage.id} does not agree (section 7)"

        end = PAGE
        for chunk in sorted(extents.values(), key=lambda chunk: chunk.offset):
            if chunk.offset < end:
                yield f"{chunk.what} overlaps the one before it in the file (section 7)"
            elif not self._is_zero(end, chunk.offset):
                yield f"bytes before {chunk.what} that belong to no chunk are not zero (section 7)"
            end = max(end, chunk.offset + chunk.length)
        if end != self.tail.chunks_end:
            yield f"the chunk area ends at {end}, not at {self.tail.chunks_end} (section 2.2)"
        annex_end = self.tail.index_offset - PAGE
        if not self.tail.optional & ~KNOWN_OPTIONAL and not self._is_zero(self.tail.chunks_end, annex_end):
            yield "the annex is not zero (section 2.4)"
        if not self.tail.optional and annex_end - self.tail.chunks_end >= PAGE:
            yield "the annex is longer than alignment needs (section 2.4)"

    def _is_zero(self, start: int, end: int) -> bool:
        return not any(self.read(at, min(CHUNK, end - at)).strip(b"\0") for at in range(start, end, CHUNK))

    # What the command line prints.

    def describe(self) -> dict:
        by_storage: dict[int, list[Node]] = defaultdict(list)
        for node in self.tensors:
            by_storage[node.tensor.storage].append(node)
        hashes: dict[int, str] = {}
        for number, nodes in by_storage.items():
            data = self.read_storage(number)
            for node in nodes:
                sha = hashlib.sha256()
                for run in self.elements(node.tensor, data):
                    sha.update(run)
                hashes[id(node)] = sha.hexdigest()
        groups = (sorted(node.name for node in nodes if not node.tensor.empty) for nodes in by_storage.values())
        return {
            "file": self.path,
            "version": f"{self.tail.major}.{self.tail.minor}",
            "content_id": self.tail.content_id.hex(),
            "file_id": self.tail.file_id.hex(),
            "metadata": plain(self.metadata),
            "tensors": [{
                "name": node.name, "dtype": node.tensor.dtype.name, "shape": node.tensor.shape,
                "strides": node.tensor.strides, "offset": node.tensor.offset, "storage": node.tensor.storage,
                "nbytes": node.tensor.nbytes, "sha256": hashes[id(node)],
            } for node in self.tensors],
            "aliases": sorted(group for group in groups if len(group) > 1),
            "sharing": self.extra.get("sharing"),
            "compression": self.extra.get("compression"),
        }


def positions(shape: list[int], strides: list[int], start: int) -> Iterator[int]:
    """The positions of the elements of a layout, in row-major order."""
    if not shape:
        yield start
        return
    for index in range(shape[0]):
        yield from positions(shape[1:], strides[1:], start + index * strides[0])


def parse_value(kind: int, value, dtype: DType | None):
    """Section 4: the column `value`, checked and as a Python value."""
    what = f"the value of a node of kind {kind}"
    if kind <= RECORD:
        return integer(value, what, "4", 1)
    if kind == NULL:
        if value is not None:
            fail("4", f"{what} is not NULL")
    elif kind == BOOLEAN:
        return bool(integer(value, what, "4", 0, 1))
    elif kind == INTEGER:
        return integer(value, what, "4", -I64_MAX - 1)
    elif kind == UNSIGNED:
        return integer(int.from_bytes(blob(value, what, "4", 8), "little"), what, "4", 1 << 63, (1 << 64) - 1)
    elif kind == LARGER:
        number = int.from_bytes(blob(value, what, "4"), "little", signed=True)
        if -(1 << 63) <= number < 1 << 64 or len(value) != (number if number >= 0 else ~number).bit_length() // 8 + 1:
            fail("4", f"{what} is not as short as possible, or fits another kind")
    elif kind == DOUBLE:
        blob(value, what, "4", 8)
    elif kind == STRING:
        text(value, what, "4")
    else:
        blob(value, what, "4")
        if dtype and dtype.elements != 1:
            fail("4", f"the dtype {dtype.name} of a typed value has more than one element a block")
        if kind == SCALAR and len(value) != dtype.bytes or kind == ARRAY and len(value) % dtype.bytes:
            fail("4", f"{what} has {len(value)} bytes for elements of {dtype.bytes}")
        if kind == STRINGS:
            return parse_strings(value)
    return value


def parse_strings(data: bytes) -> list[str]:
    """Section 4, kind 16."""
    count = int.from_bytes(data[:4], "little")
    start = 4 + 4 * count
    if len(data) < max(4, start):
        fail("4", "a string array is shorter than its lengths")
    lengths = struct.unpack_from(f"<{count}I", data, 4)
    if start + sum(lengths) != len(data):
        fail("4", "the lengths of a string array do not add up to its size")
    ends = list(itertools.accumulate(lengths, initial=start))
    return [data[a:b].decode("utf-8") for a, b in itertools.pairwise(ends)]


def walk(root: Node) -> Iterator[Node]:
    """The node and everything below it, in preorder."""
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(node.children))


def packed(value: str | bytes) -> bytes:
    """Section 9: *text* and *blob*."""
    data = value.encode("utf-8") if type(value) is str else value
    return struct.pack("<Q", len(data)) + data


def encode_node(node: Node, numbers: dict[int, int]) -> bytes:
    """Section 9: what stands for a node, without its children. New storages get the next number."""
    out = bytes([node.kind])
    if node.kind <= TENSOR:
        out += b"\0" if node.tag is None else b"\1" + packed(node.tag)
    dtype = packed(node.dtype.name) + struct.pack("<2Q", node.dtype.elements, node.dtype.bytes) if node.dtype else b""
    if node.kind <= RECORD:
        return out + struct.pack("<Q", len(node.children))
    if node.kind == TENSOR:
        tensor, n = node.tensor, len(node.tensor.shape)
        number = numbers.setdefault(tensor.storage, len(numbers))
        return out + struct.pack("<Q", number) + dtype + struct.pack(
            f"<Q{2 * n}qqQ", n, *tensor.shape, *tensor.strides, tensor.offset, tensor.flags)
    if node.kind == NULL:
        return out
    if node.kind == BOOLEAN:
        return out + bytes([node.value])
    if node.kind == INTEGER:
        return out + struct.pack("<q", node.value)
    if node.kind == UNSIGNED:
        return out + struct.pack("<Q", node.value)
    if node.kind == DOUBLE:
        return out + node.value
    if node.kind == STRINGS:
        return out + struct.pack("<Q", len(node.value)) + b"".join(packed(string) for string in node.value)
    return out + dtype + packed(node.value)


def plain(node: Node):
    """A node as a value for JSON; for people, so not every kind can be told from every other."""
    if node.kind in (DICTIONARY, RECORD):
        return {str(child.key): plain(child) for child in node.children}
    if node.kind in (LIST, TUPLE):
        return [plain(child) for child in node.children]
    if node.kind == LARGER:
        return int.from_bytes(node.value, "little", signed=True)
    if node.kind == DOUBLE:
        number = struct.unpack("<d", node.value)[0]
        return number if math.isfinite(number) else str(number)
    return node.value.hex() if isinstance(node.value, bytes) else node.value


def print_tree(root: Node, title: str) -> None:
    """A node a line: key, kind, tag, value."""
    stack = [(root, 0)]
    while stack:
        node, depth = stack.pop()
        words = [KIND_NAMES[node.kind]]
        if node.tag is not None:
            words.append(f"<{json.dumps(node.tag)}>")
        if node.tensor:
            t = node.tensor
            words.append(f"{t.dtype.name} {list(t.shape)} storage {t.storage} offset {t.offset} strides {list(t.strides)} flags {t.flags}")
        elif node.kind > TENSOR:
            words += [node.dtype.name] if node.dtype else []
            value = json.dumps(plain(node))
            words.append(value if len(value) <= 200 else f"{value[:200]}... ({len(value)} characters)")
        print(f"{'  ' * depth}{json.dumps(node.key) if depth else title}: {' '.join(words)}")
        stack.extend((child, depth + 1) for child in reversed(node.children))


def main() -> int:
    parser = argparse.ArgumentParser(description="Reads and verifies NNStore containers.")
    parser.add_argument("file")
    parser.add_argument("--verify", action="store_true", help="full verification")
    parser.add_argument("--tree", action="store_true", help="print the trees")
    parser.add_argument("--limit", type=int, default=4 << 30, help="bytes of memory a storage or tensor may take")
    arguments = parser.parse_args()
    sys.setrecursionlimit(10 * MAX_DEPTH)  # for metadata as deep as section 4 allows
    sys.set_int_max_str_digits(0)
    try:
        with Container(arguments.file, arguments.limit) as container:
            if arguments.verify:
                problems = list(container.verify())
                for problem in problems:
                    print(f"{arguments.file}: {problem}")
                return 1 if problems else 0
            if arguments.tree:
                print_tree(container.state, "state")
                print_tree(container.metadata, "metadata")
            else:
                print(json.dumps(container.describe()))
    except (FormatError, OSError) as error:
        print(f"{arguments.file}: {error}", file=sys.stderr)
        return 1
    except UnicodeDecodeError:
        print(f"{arguments.file}: a text is not valid UTF-8 (section 3)", file=sys.stderr)
        return 1
    except sqlite3.Error as error:
        print(f"{arguments.file}: the index is not a sound SQLite image: {error} (section 3)", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
