#!/usr/bin/env python3
"""Reads and verifies NNStore containers; written from FORMAT.md alone.

It is meant to be read beside the specification and to check other programs' files, so it is
simple and strict rather than fast: opening a container reads and checks its whole index. Errors
name the section of FORMAT.md. It needs Python 3.11 and the packages `zstandard` and `xxhash`.

    read_container.py FILE             one JSON object that describes the container
    read_container.py --tree FILE      the state tree and the metadata tree, a node a line
    read_container.py --verify FILE    full verification: nothing if the file is sound, else a
                                       problem a line and the exit status 1
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
from collections import Counter, defaultdict
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
MAX_NAME = 65_535  # bytes of a key or tag
MAX_INLINE = 512  # bytes of a value in `node`; longer ones stand in `large`
MAX_ROW = 999_000_000

KINDS = ("dictionary list tuple record tensor null boolean integer unsigned larger double string bytes scalar array "
         "strings").split()
DICTIONARY, LIST, TUPLE, RECORD, TENSOR, NULL, BOOLEAN, INTEGER = range(1, 9)
UNSIGNED, LARGER, DOUBLE, STRING, BYTES, SCALAR, ARRAY, STRINGS = range(9, 17)

# Section 3: what the first page has at these offsets, besides its number of pages.
FIRST_PAGE = {
    0: b"SQLite format 3\0" + bytes.fromhex("1000 0101 08 402020"), 32: bytes(8), 44: b"\0\0\0\4", 52: bytes(4),
    56: b"\0\0\0\1", 60: MAJOR.to_bytes(4, "big"), 64: bytes(4), 68: b"NNCK", 72: bytes(20),
}

# Section 3: the objects of exactly these statements, in any order.
SCHEMA = [
    "CREATE TABLE node(parent INTEGER NOT NULL, key ANY NOT NULL, position INTEGER NOT NULL, kind INTEGER NOT NULL, tag TEXT, value ANY, storage INTEGER, dtype TEXT, shape TEXT, strides TEXT, offset INTEGER, nbytes INTEGER, flags INTEGER, PRIMARY KEY(parent, key)) STRICT, WITHOUT ROWID",
    "CREATE TABLE dtype(name TEXT PRIMARY KEY NOT NULL, elements INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE storage(id INTEGER PRIMARY KEY NOT NULL, nbytes INTEGER NOT NULL, digest BLOB NOT NULL) STRICT",
    "CREATE TABLE chunk(storage INTEGER NOT NULL, seq INTEGER NOT NULL, source INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL, transform INTEGER NOT NULL, width INTEGER NOT NULL, parts BLOB NOT NULL, digest BLOB NOT NULL, PRIMARY KEY(storage, seq)) STRICT, WITHOUT ROWID",
    "CREATE TABLE extra(key TEXT PRIMARY KEY NOT NULL, value ANY) STRICT, WITHOUT ROWID",
    "CREATE TABLE history(seq INTEGER PRIMARY KEY NOT NULL, action TEXT NOT NULL, from_version TEXT, to_version TEXT NOT NULL, by TEXT NOT NULL) STRICT",
    "CREATE TABLE large(id INTEGER PRIMARY KEY NOT NULL, value ANY NOT NULL) STRICT",
    "CREATE VIEW tensors AS WITH RECURSIVE entry(name, depth, position, kind, value, dtype, shape, strides, offset, nbytes, storage) AS (SELECT '', 0, position, kind, value, dtype, shape, strides, offset, nbytes, storage FROM node WHERE parent = 0 AND key = 0 UNION ALL SELECT CASE depth WHEN 0 THEN CAST(node.key AS TEXT) ELSE entry.name || '.' || node.key END, depth + 1, node.position, node.kind, node.value, node.dtype, node.shape, node.strides, node.offset, node.nbytes, node.storage FROM entry JOIN node ON node.parent = entry.value WHERE entry.kind <= 4 AND (node.kind > 4 OR node.value > entry.value) ORDER BY 2 DESC, 3) SELECT name, dtype, shape, strides, offset, nbytes AS size, storage FROM entry WHERE kind = 5",
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
    """The file is of a later version or needs a feature: not damaged (section 2.4)."""


def fail(section: str, message: str) -> NoReturn:
    raise FormatError(f"{message} (section {section})")


def xxh64(data: bytes, seed: int = 0) -> bytes:
    return xxhash.xxh3_64_digest(data, seed)  # canonical form, section 1


def xxh128(data: bytes) -> bytes:
    return xxhash.xxh3_128_digest(data)


def integer(value, what: str, section: str, low: int = 0, high: int = I64_MAX) -> int:
    if type(value) is not int or not low <= value <= high:
        fail(section, f"{what} is {value!a:.40}, not an integer from {low} to {high}")
    return value


def text(value, what: str, section: str, longest: int = MAX_ROW) -> str:
    if type(value) is not str or byte_count(value) > longest:
        fail(section, f"{what} is not a text of at most {longest} bytes")
    return value


def blob(value, what: str, section: str, size: int | None = None) -> bytes:
    if type(value) is not bytes or size not in (None, len(value)):
        fail(section, f"{what} is not a blob{'' if size is None else f' of {size} bytes'}")
    return value


def byte_count(value) -> int:
    """The bytes of a text or blob; other values count as none."""
    return len(value) if type(value) is bytes else len(value.encode()) if type(value) is str else 0


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
    kind: int
    tag: str | None = None
    value: object = None
    dtype: DType | None = None
    tensor: Tensor | None = None
    parent: "Node | None" = field(default=None, repr=False)
    children: list["Node"] = field(default_factory=list, repr=False)

    @property
    def name(self) -> str:
        """The flat name."""
        keys, node = [], self
        while node.parent is not None:
            keys.append(str(node.key))
            node = node.parent
        return ".".join(reversed(keys))


@dataclass(frozen=True)
class Chunk:
    """Section 7: one chunk, which has one part in format 1. `size` counts its logical bytes."""
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

    @property
    def extent(self) -> tuple:
        """What chunks that share an extent must have in common."""
        return self.offset, self.length, self.coding, self.part_hash, self.digest, self.size


@dataclass(frozen=True)
class Storage:
    """Section 7."""
    id: int
    nbytes: int
    digest: bytes
    chunks: list[Chunk] = field(default_factory=list)


class Container:
    """An opened container: everything in its index is read and checked, chunks are read when asked for.

    `limit` bounds the bytes of the index, of a storage and of a tensor that is laid out; `node_limit` the nodes.
    """

    def __init__(self, path: str, limit: int = 4 << 30, node_limit: int = 10_000_000):
        self.path, self.limit, self.node_limit = path, limit, node_limit
        self.file = open(path, "rb")
        self.database = sqlite3.connect(":memory:")
        try:
            self.tail = self._read_ends()
            self.index = self._read_index()
            self._open_index()
            self.dtypes = self._read_dtypes()
            self.storages = self._read_storages()
            self._read_chunks()
            self.state, self.metadata, large = self._read_trees()
            self.extra = self._read_extra(large)
            self.history = self._read_history()
        except BaseException:
            self.close()
            raise
        self.tensors = [node for node in walk(self.state) if node.kind == TENSOR]

    def __enter__(self) -> "Container":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self.file.close()
        self.database.close()

    def read(self, offset: int, size: int) -> bytes:
        data = os.pread(self.file.fileno(), size, offset)
        while len(data) < size:
            more = os.pread(self.file.fileno(), size - len(data), offset + len(data))
            if not more:
                fail("2", "the file became shorter while it was read")
            data += more
        return data

    # Section 2: header, tail and end mark, in the order of section 2.4.

    def _read_ends(self) -> Tail:
        size = os.fstat(self.file.fileno()).st_size
        if self.read(0, min(size, 12)) != HEADER_MAGIC:
            fail("2.1", "not a container: no magic at the start")
        mark = self.read(max(0, size - 25), min(size, 25))
        offset = int.from_bytes(mark[17:], "big")
        if mark[:17] != END_MARK:
            fail("2.3", "cut or overwritten: no end mark where the file ends")
        if offset % PAGE or (size - 25) % PAGE or not 2 * PAGE <= offset <= size - 25 - PAGE:
            fail("2.3", "cut or overwritten: the end mark does not agree with the file's size")

        header, tail = self.read(0, PAGE), self.read(offset - PAGE, PAGE)
        if tail[:12] != TAIL_MAGIC:
            fail("2.2", "the tail has no magic")
        if xxh64(header[:4088]) != header[4088:]:
            fail("2.1", "the header's checksum does not agree")
        if xxh128(tail[:4080]) != tail[4080:]:
            fail("2.2", "the tail's checksum does not agree")
        fields = Tail(*struct.unpack("<12x2I4x5Q16s16s", tail[:96]), file_id=tail[4080:])
        header_major = int.from_bytes(header[12:16], "little")
        if header_major != fields.major:
            fail("2.2", f"the header is of major version {header_major}, the tail of {fields.major}")
        if fields.major != MAJOR:
            raise Unsupported(f"format version {fields.major}.{fields.minor} is not known (section 2.4)")
        if unknown := fields.required & ~KNOWN_REQUIRED:
            bit = (unknown & -unknown).bit_length() - 1
            raise Unsupported(f"needs feature {bit}, of version {fields.major}.{fields.minor} (section 2.4)")

        if any(header[16:4088]) or any(tail[20:24]) or any(tail[96:4080]):
            fail("2", "bytes of the header or tail that must be zero are not")
        if fields.index_offset != offset or offset + fields.index_size + 25 != size:
            fail("2.2", "tail, end mark and size do not agree")
        annex = offset - PAGE - fields.chunks_end
        if fields.chunks_end < PAGE or annex < 0:
            fail("2.2", "the end of the chunk area is not between header and tail")
        if not fields.optional & ~KNOWN_OPTIONAL and annex >= PAGE:
            fail("2.4", "there is an annex longer than alignment needs that no feature claims")
        return fields

    # Section 3: the index.

    def _read_index(self) -> bytes:
        if self.tail.index_size > self.limit:
            fail("10", f"the index has {self.tail.index_size} bytes, above the limit of {self.limit}")
        image = self.read(self.tail.index_offset, self.tail.index_size)
        seed = int.from_bytes(self.tail.content_id[:8], "big")
        for number, start in enumerate(range(0, len(image), PAGE), start=1):
            page = image[start:start + PAGE]
            if xxh64(page[:-8], (seed + number) % (1 << 64)) != page[-8:]:
                fail("3", f"the checksum of index page {number} does not agree")
        for at, value in {**FIRST_PAGE, 28: (len(image) // PAGE).to_bytes(4, "big")}.items():
            if (found := image[at:at + len(value)]) != value:
                fail("3", f"the index has {found.hex()} at byte {at} instead of {value.hex()}")
        return image

    def _open_index(self) -> None:
        self.database.text_factory = bytes.decode  # strict UTF-8
        self.database.execute("PRAGMA trusted_schema = OFF")
        self.database.execute("PRAGMA cell_size_check = ON")
        self.database.deserialize(self.index)
        expected = Counter()
        for statement in SCHEMA:
            _, kind, name = re.split(r"[ (]", statement)[:3]
            expected[kind.lower(), name, name, statement] += 1
        if Counter(self._rows("type, name, tbl_name, sql FROM sqlite_schema")) != expected:
            fail("3", "the schema of the index is not the prescribed one")

    def _rows(self, query: str) -> Iterator[tuple]:
        """The rows of a SELECT; whatever SQLite or a text that is not UTF-8 raises becomes a FormatError."""
        try:
            for row in self.database.execute(f"SELECT {query}"):
                if sum(map(byte_count, row)) > MAX_ROW:
                    fail("3", f"the values of a row have more than {MAX_ROW} bytes")
                yield row
        except sqlite3.Error as error:
            fail("3", f"the index is not a sound SQLite image: {error}")
        except UnicodeDecodeError:
            fail("3", "a text in the index is not valid UTF-8")

    def _table(self, columns: str, table: str, section: str) -> Iterator[tuple]:
        """The rows of a table whose first column is its key; on a crafted image SQLite does not see to that."""
        seen = set()
        for row in self._rows(f"{columns} FROM {table}"):
            if row[0] in seen:
                fail(section, f"{table} has two rows with the key {row[0]!a:.80}")
            seen.add(row[0])
            yield row

    # Section 4: trees, and the large values of section 3.

    def _read_trees(self) -> tuple[Node, Node, dict]:
        """The roots, and those rows of `large` that no node has used."""
        large = {integer(number, "an id of large", "3", 1): value
                 for number, value in self._table("id, value", "large", "3")}
        below = defaultdict(list)  # rows by parent
        rows = self._rows("parent, position, key, kind, tag, dtype, value, storage, shape, strides, offset, nbytes, flags"
                          " FROM node")
        for count, row in enumerate(rows, start=1):
            if count > self.node_limit:
                fail("10", f"more than {self.node_limit} nodes")
            integer(row[1], "a position", "4")
            below[integer(row[0], "a parent", "4")].append(row)

        top = below.pop(0, [])
        if sorted((position, str(key)) for _, position, key, *_ in top) != [(0, "0"), (0, "1")]:
            fail("4", "the roots are not exactly the rows with the keys 0 and 1 and the position 0")
        ids, larges = itertools.count(1), itertools.count(1)
        roots: list[Node] = []
        stack = [(row, None, 0) for row in sorted(top, key=lambda row: str(row[2]), reverse=True)]
        while stack:
            row, parent, depth = stack.pop()
            try:
                node = self._node(parent, *row[2:6], self._value(row[3], row[6], large, larges), *row[7:])
            except FormatError as error:
                raise FormatError(f"node {row[2]!a:.80} of parent {row[0]}: {error}") from None
            (parent.children if parent else roots).append(node)
            if depth > MAX_DEPTH:
                fail("4", f"a node is more than {MAX_DEPTH} levels below its root")
            if node.kind > RECORD:
                continue
            if node.value != (number := next(ids)):
                fail("4", f"an inner node has the id {node.value} where preorder gives {number}")
            found = sorted(below.pop(number, []), key=lambda row: row[1])
            keys = [row[2] for row in found]
            if [row[1] for row in found] != list(range(len(found))):
                fail("4", f"the positions of the children of node {number} have gaps or repeat")
            if len(set(keys)) != len(keys):
                fail("4", f"node {number} has two children with one key")
            if node.kind in (LIST, TUPLE) and keys != list(range(len(keys))):
                fail("4", f"the keys of the children of list {number} are not their positions")
            stack.extend((row, node, depth + 1) for row in reversed(found))
        if below:
            fail("4", f"rows of parent {min(below)} belong to no tree")
        state, metadata = roots
        if type(state.key) is not int or type(metadata.key) is not int:
            fail("4", "the key of a root is not an integer")
        check_metadata(metadata)
        return state, metadata, large

    def _value(self, kind: int, value, large: dict, larges: Iterator[int]):
        """Section 3, large values: the column `value`, or the value it refers to, of which each is used once."""
        integer(kind, "a node's kind", "4", 1, STRINGS)
        if kind > INTEGER and type(value) is int:
            if value != (number := next(larges)):
                fail("3", f"the value refers to row {value} of large where preorder gives {number}")
            value = take_large(value, large)
            if byte_count(value) <= MAX_INLINE:
                fail("3", f"a value of at most {MAX_INLINE} bytes stands in large")
        elif byte_count(value) > MAX_INLINE:
            fail("3", f"a value of more than {MAX_INLINE} bytes does not stand in large")
        return value

    def _node(self, parent, key, kind, tag, dtype, value, storage, *layout) -> Node:
        if type(key) is not int:
            text(key, "the key, if no integer,", "4", MAX_NAME)
        node = Node(key, kind, tag, parent=parent)
        if (tag is not None or kind == RECORD) and (not text(tag, "the tag", "4", MAX_NAME) or kind > TENSOR):
            fail("4", "a tag is empty or stands on a leaf that has none")
        if (dtype is None) == (kind in (TENSOR, SCALAR, ARRAY)):
            fail("4", f"a node of kind {kind} has a dtype too many or none")
        if dtype is not None:
            node.dtype = self.dtypes.get(text(dtype, "the dtype", "4"))
            if node.dtype is None:
                fail("6", f"the dtype {dtype!a:.80} is missing")
        if kind == TENSOR:
            node.tensor = self._tensor(node.dtype, storage, *layout)
        elif any(column is not None for column in (storage, *layout)):
            fail("4", "a column of tensors is not NULL in another node")
        node.value = parse_value(kind, value, node.dtype)
        return node

    def _tensor(self, dtype: DType, storage, shape, strides, offset, nbytes, flags) -> Tensor:
        extents = integer_array(shape, "shape")
        tensor = Tensor(
            dtype, extents, contiguous_strides(extents) if strides is None else integer_array(strides, "strides"),
            strides is None, integer(offset, "offset", "5"), integer(nbytes, "nbytes", "5"),
            integer(flags, "flags", "5", 0, 1), integer(storage, "storage", "5"))
        if tensor.storage not in self.storages:
            fail("5", f"storage {storage} is missing")
        check_layout(tensor, self.storages[tensor.storage])
        return tensor

    # Sections 6 to 8: dtypes, storages and chunks, extra and history.

    def _read_dtypes(self) -> dict[str, DType]:
        dtypes = {}
        for name, elements, size in self._table("name, elements, bytes", "dtype", "6"):
            if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", text(name, "a dtype's name", "6")):
                fail("6", f"{name!a:.80} is not a name for a dtype")
            dtypes[name] = DType(name, integer(elements, "elements", "6", 1, 65_536),
                                 integer(size, "bytes", "6", 1, 1_048_576))
            if DTYPES.get(name, (elements, size)) != (elements, size):
                fail("6", f"the dtype {name} has other figures than prescribed")
        return dtypes

    def _read_storages(self) -> dict[int, Storage]:
        return {integer(number, "a storage's id", "7", 1): Storage(
            number, integer(nbytes, "a storage's nbytes", "7"), blob(digest, "a storage's digest", "7", 16))
            for number, nbytes, digest in self._table("id, nbytes, digest", "storage", "7")}

    def _read_chunks(self) -> None:
        """Section 7: every row of `chunk`, and the digests of the storages, which follow from them."""
        for number, seq, *constants, offset, length, parts, digest in self._rows(
                "storage, seq, source, transform, width, offset, length, parts, digest FROM chunk ORDER BY 1, 2"):
            what = f"chunk {seq!a:.40} of storage {number!a:.40}"
            storage = self.storages.get(integer(number, "a chunk's storage", "7"))
            if storage is None:
                fail("7", f"the storage of {what} is missing")
            size = min(CHUNK, storage.nbytes - integer(seq, "a chunk's seq", "7") * CHUNK)
            if seq != len(storage.chunks) or size <= 0:
                fail("7", f"{what} is out of sequence")
            for value, name, only in zip(constants, ("source", "transform", "width"), (0, 0, 1)):
                integer(value, f"the {name} of {what}", "7", only, only)
            integer(offset, f"the offset of {what}", "7", PAGE, self.tail.chunks_end)
            integer(length, f"the length of {what}", "7", 1, self.tail.chunks_end - offset)
            coding, part_length, part_hash = struct.unpack("<BI8s", blob(parts, f"the value parts of {what}", "7", 13))
            if part_length != length or coding > 1 or (length != size if coding == 0 else length >= size):
                fail("7", f"the part of {what} has coding {coding} and {part_length} bytes for {size} in {length}")
            if coding == 0 and offset % (PAGE if storage.nbytes >= CHUNK else 64):
                fail("7", f"{what} is stored at {offset}, which is not aligned")
            storage.chunks.append(Chunk(number, seq, size, offset, length, coding, part_hash,
                                        blob(digest, f"the digest of {what}", "7", 16)))
        for storage in self.storages.values():
            if len(storage.chunks) != (count := -(-storage.nbytes // CHUNK)):
                fail("7", f"storage {storage.id} has {len(storage.chunks)} chunks instead of {count}")
            digests = b"".join(chunk.digest for chunk in storage.chunks)
            if xxh128(b"NNStore storage1" + struct.pack("<Q", storage.nbytes) + digests) != storage.digest:
                fail("7", f"the digest of storage {storage.id} does not agree with those of its chunks")

    def _read_extra(self, large: dict) -> dict[str, object]:
        """Section 8, with the rest of `large`: a header, and nothing that is not used."""
        extra = {text(key, "a key of extra", "8"): value for key, value in self._table("key, value", "extra", "8")}
        if extra.get("sharing") not in ("known", "unknown"):
            fail("8", "sharing in extra is neither known nor unknown")
        text(extra.get("compression"), "compression in extra", "8")
        if "safetensors.header" in extra:
            number = integer(extra["safetensors.header"], "safetensors.header", "8", 1)
            if number != min(large, default=0):
                fail("3", f"safetensors.header refers to row {number} of large, which is not the next one")
            extra["safetensors.header"] = blob(take_large(number, large), "the row of safetensors.header", "8")
        if large:
            fail("3", f"nothing uses row {min(large)} of large")
        return extra

    def _read_history(self) -> list[tuple]:
        rows = list(self._rows("seq, action, from_version, to_version, by FROM history ORDER BY seq"))
        for number, (seq, action, old, new, by) in enumerate(rows, start=1):
            integer(seq, "the seq of history", "8", number, number)
            text(action, "an action of history", "8")
            text(by, "by in history", "8")
            for version in [new] if old is None else [old, new]:
                if not re.fullmatch(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)", text(version, "a version in history", "8")):
                    fail("8", f"row {number} of history has the version {version!a:.40}")
        if not rows or rows[-1][3] != f"{self.tail.major}.{self.tail.minor}":
            fail("8", "history does not end with the version of the file")
        return rows

    # Section 7: the bytes of chunks and storages; section 5: those of tensors.

    def read_chunk(self, chunk: Chunk) -> bytes:
        """Checks the part's hash, then the frame, then the decoded bytes."""
        data = self.read(chunk.offset, chunk.length)
        if xxh64(data) != chunk.part_hash:
            fail("7", f"the bytes of {chunk.what} are damaged")
        if chunk.coding == 1:
            data = decompress(data, chunk)
        if xxh128(data) != chunk.digest:
            fail("7", f"the digest of {chunk.what} does not agree with its bytes")
        return data

    def read_storage(self, number: int) -> bytes:
        storage = self.storages[number]
        if storage.nbytes > self.limit:
            fail("10", f"storage {number} has {storage.nbytes} bytes, above the limit of {self.limit}")
        return b"".join(map(self.read_chunk, storage.chunks))

    def elements(self, tensor: Tensor, storage: bytes) -> Iterator[memoryview]:
        """The tensor's elements in row-major order, block dtypes by whole blocks."""
        if tensor.empty:
            return
        if tensor.nbytes > self.limit:
            fail("10", f"a tensor has {tensor.nbytes} bytes, above the limit of {self.limit}")
        view, size, elements = memoryview(storage), tensor.dtype.bytes, tensor.dtype.elements
        start = tensor.offset // elements
        if tensor.contiguous:
            yield view[start * size:start * size + tensor.nbytes]
            return
        # From here on everything is counted in blocks; the last dimension of block dtypes is whole ones.
        shape = [*tensor.shape[:-1], tensor.shape[-1] // elements]
        strides = [*(stride // elements for stride in tensor.strides[:-1]), tensor.strides[-1]]
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
        for node in itertools.chain(walk(self.state), walk(self.metadata)):
            if node.parent is not None:
                out.update(struct.pack("<Bq", 1, node.key) if type(node.key) is int else b"\2" + packed(node.key))
            out.update(encode_node(node, numbers))
        for number in numbers:
            out.update(struct.pack("<Q", self.storages[number].nbytes) + self.storages[number].digest)
        return out.digest()

    # Section 10: full verification. Opening has checked pages, rows, layouts, trees and digests of storages.

    def verify(self) -> Iterator[str]:
        """Yields every problem that full verification finds."""
        if xxh128(self.index) != self.tail.index_hash:
            yield "the hash of the index does not agree (section 2.2)"
        try:
            found = [message for (message,) in self._rows("integrity_check FROM pragma_integrity_check")]
        except FormatError as error:
            found = [str(error)]
        if found != ["ok"]:
            yield from (f"SQLite's integrity check: {' '.join(message.split())} (section 10)" for message in found)
        used = {node.dtype for root in (self.state, self.metadata) for node in walk(root)}
        for dtype in self.dtypes.values():
            if dtype not in used:
                yield f"no node uses the dtype {dtype.name} (section 6)"
        if sorted(self.storages) != list(range(1, len(self.storages) + 1)):
            yield "the storages are not numbered from 1 without gaps (section 7)"
        if self.compute_content_id() != self.tail.content_id:
            yield "the content id does not agree (section 9)"
        yield from self._verify_chunks()

    def _verify_chunks(self) -> Iterator[str]:
        extents: dict[int, Chunk] = {}
        for storage in self.storages.values():
            for before, chunk in zip([None, *storage.chunks], storage.chunks):
                if self.extra["compression"] == "none" and (
                        chunk.coding != 0 or before and before.offset + before.length != chunk.offset):
                    yield f"{chunk.what} is not stored behind the one before (section 7)"
                first = extents.setdefault(chunk.offset, chunk)
                if first.extent != chunk.extent:
                    yield f"{chunk.what} and {first.what} overlap or differ (section 7)"
                if first is chunk or first.extent != chunk.extent:
                    try:
                        self.read_chunk(chunk)
                    except FormatError as error:
                        yield str(error)
        end = PAGE
        for _, chunk in sorted(extents.items()):
            if chunk.offset < end:
                yield f"{chunk.what} overlaps the one before it in the file (section 7)"
            elif not self._is_zero(end, chunk.offset):
                yield f"bytes before {chunk.what} that belong to no chunk are not zero (section 7)"
            end = max(end, chunk.offset + chunk.length)
        if end != self.tail.chunks_end:
            yield f"the chunk area ends at {end}, not at {self.tail.chunks_end} (section 2.2)"
        if not self.tail.optional & ~KNOWN_OPTIONAL and not self._is_zero(end, self.tail.index_offset - PAGE):
            yield "the annex is not zero (section 2.4)"

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
            "sharing": self.extra["sharing"],
            "compression": self.extra["compression"],
        }


def take_large(number: int, large: dict) -> str | bytes:
    """Section 3: takes a large value out of those that are left."""
    value = large.pop(number, None)
    if type(value) not in (str, bytes):
        fail("3", f"row {number} of large is missing or neither a text nor a blob")
    return value


def check_metadata(root: Node) -> None:
    """Section 4: a dictionary without tensors, with `nnck.modules` as prescribed."""
    if root.kind != DICTIONARY or any(node.kind == TENSOR for node in walk(root)):
        fail("4", "the metadata tree is not a dictionary, or has a tensor")
    for modules in (child for child in root.children if child.key == "nnck.modules"):
        for node in [modules, *modules.children]:
            if node.kind != DICTIONARY or type(node.key) is not str:
                fail("4", "nnck.modules is not a dictionary of dictionaries with texts as keys")
        for module in modules.children:
            kinds = {child.key: child.kind for child in module.children}
            if (kinds.get("type"), kinds.get("version")) != (STRING, INTEGER):
                fail("4", f"the module {module.key!a:.80} of nnck.modules has no type or version")


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Section 5."""
    *strides, product = itertools.accumulate((max(1, extent) for extent in reversed(shape)), int.__mul__, initial=1)
    if product > I64_MAX:
        fail("5", "the product of the extents does not fit into 63 bits")
    return tuple(reversed(strides))


def integer_array(value, what: str) -> tuple[int, ...]:
    """Section 5: a canonical JSON array of integers that are not negative."""
    if not re.fullmatch(r"\[((0|[1-9][0-9]{0,18})(,(0|[1-9][0-9]{0,18}))*)?\]", text(value, what, "5")):
        fail("5", f"{what} is not a canonical array of integers")
    numbers = tuple(map(int, value[1:-1].split(","))) if value != "[]" else ()
    if len(numbers) > MAX_DIMENSIONS or any(number > I64_MAX for number in numbers):
        fail("5", f"{what} has too many dimensions or too large a number")
    return numbers


def check_layout(tensor: Tensor, storage: Storage) -> None:
    """Section 5: strides that say nothing, bounds, block dtypes, nbytes."""
    elements, size = tensor.dtype.elements, tensor.dtype.bytes
    shape, strides, count = tensor.shape, tensor.strides, math.prod(tensor.shape)
    natural = contiguous_strides(shape)
    if len(strides) != len(shape):
        fail("5", "shape and strides have different lengths")
    if not tensor.contiguous and strides == natural:
        fail("5", "contiguous strides must be NULL")
    if count % elements or tensor.offset % elements:
        fail("5", f"{tensor.dtype.name} needs whole blocks of {elements} elements")
    if count // elements * size != tensor.nbytes:
        fail("5", f"nbytes is {tensor.nbytes} instead of {count // elements * size}")
    if tensor.empty:
        if tensor.offset or not tensor.contiguous:
            fail("5", "an empty tensor must have offset 0 and contiguous strides")
        return
    if any(extent == 1 and stride != usual for extent, stride, usual in zip(shape, strides, natural)):
        fail("5", "the stride of a dimension of extent 1 must be the contiguous one")
    if elements > 1 and not tensor.contiguous:
        if strides[-1] != 1 or shape[-1] % elements:
            fail("5", f"a {tensor.dtype.name} tensor must have whole blocks in its last dimension")
        if any(extent > 1 and stride % elements for extent, stride in zip(shape[:-1], strides)):
            fail("5", f"a stride of a {tensor.dtype.name} tensor is not a whole number of blocks")
    last = tensor.offset + sum((extent - 1) * stride for extent, stride in zip(shape, strides))
    if last >= I64_MAX or -(-(last + 1) // elements) * size > storage.nbytes:
        fail("5", f"the tensor reaches element {last}, outside storage {storage.id} of {storage.nbytes} bytes")


def positions(shape: list[int], strides: list[int], start: int) -> Iterator[int]:
    """The positions of the elements of a layout, in row-major order."""
    if not shape:
        yield start
        return
    for index in range(shape[0]):
        yield from positions(shape[1:], strides[1:], start + index * strides[0])


def decompress(data: bytes, chunk: Chunk) -> bytes:
    """Sections 1 and 7: one zstd frame that is a single segment, without dictionary and checksum, and nothing else."""
    # Frame_Header_Descriptor of RFC 8878: single segment 20 hex, reserved 08, checksum 04, dictionary 03.
    if data[:4] != b"\x28\xb5\x2f\xfd" or len(data) < 5 or data[4] & 0x2F != 0x20:
        fail("7", f"{chunk.what} is not a zstd frame of the prescribed kind")
    try:
        if zstandard.frame_content_size(data) != chunk.size:
            fail("7", f"the frame of {chunk.what} has another content size")
        decoded = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        fail("7", f"the frame of {chunk.what} can't be decoded: {error}")
    if len(decoded) != chunk.size:
        fail("7", f"{chunk.what} decodes to {len(decoded)} bytes instead of {chunk.size}")
    return decoded


def parse_value(kind: int, value, dtype: DType | None):
    """Section 4: the column `value`, checked and as a Python value."""
    what = f"the value of a node of kind {kind}"
    if kind <= RECORD:
        return integer(value, what, "4", 1)
    if kind in (TENSOR, NULL):
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
    elif kind == STRING:
        text(value, what, "4")
    elif kind == STRINGS:
        return parse_strings(blob(value, what, "4"))
    else:
        blob(value, what, "4", 8 if kind == DOUBLE else dtype.bytes if kind == SCALAR else None)
        if dtype and (dtype.elements != 1 or len(value) % dtype.bytes):
            fail("4", f"{what} is not of whole elements, or {dtype.name} has more than one a block")
    return value


def parse_strings(data: bytes) -> list[str]:
    """Section 4, kind 16."""
    count = int.from_bytes(data[:4], "little")
    start = 4 + 4 * count
    if len(data) < start:
        fail("4", "a string array is shorter than its lengths")
    ends = list(itertools.accumulate(struct.unpack_from(f"<{count}I", data, 4), initial=start))
    if ends[-1] != len(data):
        fail("4", "the lengths of a string array do not add up to its size")
    try:
        return [data[start:end].decode() for start, end in itertools.pairwise(ends)]
    except UnicodeDecodeError:
        fail("4", "a string of a string array is not valid UTF-8")


def walk(root: Node) -> Iterator[Node]:
    """The node and everything below it, in preorder."""
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(node.children))


def packed(value: str | bytes) -> bytes:
    """Section 9: *text* and *blob*."""
    data = value.encode() if type(value) is str else value
    return struct.pack("<Q", len(data)) + data


def encode_node(node: Node, numbers: dict[int, int]) -> bytes:
    """Section 9: what stands for a node, without its children. New storages get the next number."""
    out, kind, value = bytes([node.kind]), node.kind, node.value
    if kind <= TENSOR:
        out += b"\0" if node.tag is None else b"\1" + packed(node.tag)
    dtype = packed(node.dtype.name) + struct.pack("<2Q", node.dtype.elements, node.dtype.bytes) if node.dtype else b""
    if kind <= RECORD:
        return out + struct.pack("<Q", len(node.children))
    if kind == TENSOR:
        tensor, n = node.tensor, len(node.tensor.shape)
        number = numbers.setdefault(tensor.storage, len(numbers))
        return out + struct.pack("<Q", number) + dtype + struct.pack(
            f"<Q{2 * n}qqQ", n, *tensor.shape, *tensor.strides, tensor.offset, tensor.flags)
    if kind in (NULL, DOUBLE):
        return out + (value or b"")
    if kind in (BOOLEAN, INTEGER, UNSIGNED):
        return out + struct.pack({BOOLEAN: "<B", INTEGER: "<q", UNSIGNED: "<Q"}[kind], value)
    if kind == STRINGS:
        return out + struct.pack("<Q", len(value)) + b"".join(map(packed, value))
    return out + dtype + packed(value)


def plain(node: Node):
    """A node as a value for JSON; for people, so not every kind can be told from every other."""
    if node.kind in (DICTIONARY, RECORD):
        return {str(child.key): plain(child) for child in node.children}
    if node.kind in (LIST, TUPLE):
        return [plain(child) for child in node.children]
    if node.kind == LARGER and len(node.value) <= 1024:  # longer ones in hexadecimal: Python is slow at decimal
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
        words = [KINDS[node.kind - 1]]
        if node.tag is not None:
            words.append(f"<{json.dumps(node.tag)}>")
        if node.tensor:
            t = node.tensor
            words.append(f"{t.dtype.name} {list(t.shape)} storage {t.storage} offset {t.offset} strides {list(t.strides)} "
                         f"flags {t.flags}")
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
    parser.add_argument("--limit", type=int, default=4 << 30, help="bytes the index, a storage or a tensor may take")
    arguments = parser.parse_args()
    sys.setrecursionlimit(10 * MAX_DEPTH)  # for metadata as deep as section 4 allows
    problems = 0
    try:
        with Container(arguments.file, arguments.limit) as container:
            if arguments.verify:
                for problems, problem in enumerate(container.verify(), start=1):
                    print(f"{arguments.file}: {problem}")
            elif arguments.tree:
                print_tree(container.state, "state")
                print_tree(container.metadata, "metadata")
            else:
                print(json.dumps(container.describe()))
    except (FormatError, OSError) as error:
        print(f"{arguments.file}: {error}", file=sys.stdout if arguments.verify else sys.stderr)
        return 1
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
