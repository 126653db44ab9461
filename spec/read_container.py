#!/usr/bin/env python3
"""Reads and verifies NNStore containers; written from FORMAT.md alone.

It is meant to be read beside the specification and to check other programs' files, so it is simple and strict
rather than fast: opening a container reads and checks its whole index. Errors name the section of FORMAT.md.
It needs Python 3.11 and the packages `zstandard` and `xxhash`.

    read_container.py FILE             one JSON object that describes the container
    read_container.py --tree FILE      the state tree and the metadata tree, a node a line
    read_container.py --verify FILE    full verification: nothing if sound, else a problem a line and exit status 1
"""

import argparse
import contextlib
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

import xxhash
import zstandard

xxh64, xxh128 = xxhash.xxh3_64_digest, xxhash.xxh3_128_digest  # in canonical form (section 1)
PAGE = 4096
CHUNK = 1 << 20
I64_MAX = (1 << 63) - 1
MAJORS = (1, 2)
KNOWN_REQUIRED, KNOWN_OPTIONAL = 0, 3  # masks of feature bits
REFERENCED, INDEX_COPY = 1, 2  # the optional ones
HEADER_MAGIC, TAIL_MAGIC, END_MARK = b"\x89NNStore\r\n\x1a\n", b"\x89NNStail\r\n\x1a\n", b"Start-Of-SQLite3-"
COPY_MAGIC, COPY_GROUP = b"\x89NNScopy\r\n\x1a\n", 16 * PAGE
MAX_DEPTH, MAX_DIMENSIONS = 200, 64
MAX_SIZE = 1 << 60  # bytes of a storage, and what a tensor has and reaches, in elements and bytes
MAX_NAME, MAX_VALUE = 1 << 20, 999_000_000  # bytes of a key or tag, and of a value
MAX_INLINE = 512  # bytes of a value in `node`; longer ones stand in `large`

KINDS = ("dictionary list tuple record tensor null boolean integer unsigned larger double string bytes scalar array "
         "strings").split()
DICTIONARY, LIST, TUPLE, RECORD, TENSOR, NULL, BOOLEAN, INTEGER = range(1, 9)
UNSIGNED, LARGER, DOUBLE, STRING, BYTES, SCALAR, ARRAY, STRINGS = range(9, 17)

# Section 3: what the first page has at these offsets, besides its number of pages.
FIRST_PAGE = {
    0: b"SQLite format 3\0" + bytes.fromhex("1000 0101 08 402020"), 32: bytes(8), 44: b"\0\0\0\4", 52: bytes(4),
    56: b"\0\0\0\1", 64: bytes(4), 68: b"NNCK", 72: bytes(20),
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
    "F64": (1, 8), "F32": (1, 4), "F16": (1, 2), "BF16": (1, 2), "F8_E4M3": (1, 1), "F8_E5M2": (1, 1),
    "F8_E4M3FNUZ": (1, 1), "F8_E5M2FNUZ": (1, 1), "F8_E8M0": (1, 1), "F6_E2M3": (4, 3), "F6_E3M2": (4, 3),
    "F4": (2, 1), "I64": (1, 8), "I32": (1, 4), "I16": (1, 2), "I8": (1, 1), "U64": (1, 8), "U32": (1, 4),
    "U16": (1, 2), "U8": (1, 1), "BOOL": (1, 1), "C128": (1, 16), "C64": (1, 8),
}


class FormatError(Exception):
    """A rule of the specification is broken; the text names it."""


class Unsupported(FormatError):
    """The file is of a later version or needs a feature: not damaged (section 2.4)."""


def require(condition: object, section: str, message: str) -> None:
    if not condition:
        raise FormatError(f"{message} (section {section})")


def byte_count(value) -> int:
    """The bytes of a text or blob; other values count as none."""
    return len(value) if type(value) is bytes else len(value.encode()) if type(value) is str else 0


def integer(value, what: str, section: str, low: int = 0, high: int = I64_MAX) -> int:
    sound = type(value) is int and low <= value <= high
    require(sound, section, f"{what} is not an integer from {low} to {high}")
    return value


def text(value, what: str, section: str, longest: int = MAX_VALUE) -> str:
    require(type(value) is str and byte_count(value) <= longest, section, f"{what} is no text of up to {longest} bytes")
    return value


def blob(value, what: str, section: str, size: int | None = None) -> bytes:
    sound = type(value) is bytes and size in (None, len(value))
    require(sound, section, f"{what} is not a blob{'' if size is None else f' of {size} bytes'}")
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

    @property
    def version(self) -> str:
        return f"{self.major}.{self.minor}"


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


@dataclass(eq=False)
class Node:
    """Section 4. `value` is a Python value for scalars, the stored bytes for kinds 10, 11, 14 and 15."""
    key: int | str
    kind: int
    tag: str | None
    value: object
    dtype: DType | None
    tensor: Tensor | None
    parent: "Node | None" = field(repr=False)
    depth: int
    children: list["Node"] = field(default_factory=list, repr=False)

    @property
    def name(self) -> str:
        """The flat name."""
        keys, node = [], self
        while node.parent is not None:
            keys.append(str(node.key))
            node = node.parent
        return ".".join(reversed(keys))


STORED, FRAME, CONSTANT = 0, 1, 2  # codings of parts


@dataclass(frozen=True)
class Part:
    """Section 7: a part of a chunk. `decoded` and `encoded` count its bytes before and after encoding."""
    coding: int
    length: int
    hash: bytes
    decoded: int

    @property
    def encoded(self) -> int:
        return 0 if self.coding == CONSTANT else self.length


@dataclass(frozen=True)
class Chunk:
    """Section 7: one chunk. `size` counts its logical bytes."""
    storage: int
    seq: int
    size: int
    offset: int
    length: int
    transform: int
    width: int
    parts: tuple[Part, ...]
    digest: bytes

    @property
    def is_stored(self) -> bool:
        return self.transform == 0 and self.parts[0].coding == STORED

    @property
    def what(self) -> str:
        return f"chunk {self.seq} of storage {self.storage}"

    @property
    def extent(self) -> tuple:
        """With what has to be equal in chunks that share it."""
        parts = tuple((part.coding, part.length, part.hash) for part in self.parts)
        return self.offset, self.length, self.transform, self.width, parts, self.digest, self.size


@dataclass(frozen=True)
class Storage:
    """Section 7."""
    id: int
    nbytes: int
    digest: bytes
    chunks: list[Chunk] = field(default_factory=list)


def decode_frame(data: bytes, size: int, what: str, section: str) -> bytes:
    """Section 1. In the frame's descriptor 20 hex is single segment, 08 reserved, 04 checksum, 03 dictionary."""
    prescribed = data[:4] == b"\x28\xb5\x2f\xfd" and len(data) > 4 and data[4] & 0x2F == 0x20
    require(prescribed, section, f"{what} is not a zstd frame of the prescribed form")
    try:
        require(zstandard.frame_content_size(data) == size, section, f"{what} has another content size")
        decoded = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise FormatError(f"{what} can't be decoded: {error} (section {section})") from None
    require(len(decoded) == size, section, f"{what} decodes to {len(decoded)} bytes instead of {size}")
    return decoded


class Container(contextlib.ExitStack):
    """An opened container, to be closed: its whole index is read and checked, chunks are read when asked for.

    `limit` bounds the bytes of the index, of a storage and of a tensor that is laid out, `node_limit` the nodes.
    """

    def __init__(self, path: str, limit: int = 4 << 30, node_limit: int = 10_000_000):
        super().__init__()
        self.path, self.limit, self.node_limit = path, limit, node_limit
        self.file = self.enter_context(open(path, "rb"))
        self.database = self.enter_context(contextlib.closing(sqlite3.connect(":memory:")))
        try:
            self.tail = self._read_ends()
            self.index = self._read_index()
            self._open_index()
            self.dtypes = dict(self._read_dtypes())
            self.storages = dict(self._read_storages())
            self._read_chunks()
            self.large, self.large_used = dict(self._rows("id, value FROM large")), 0
            self.state, self.metadata = self._read_trees()
            self.extra = self._read_extra()
            self.history = self._read_history()
        except BaseException:
            self.close()
            raise
        self.tensors = [node for node in walk(self.state) if node.tensor]

    def read(self, offset: int, size: int) -> bytes:
        self.file.seek(offset)
        data = self.file.read(size)
        require(len(data) == size, "2", "the file became shorter while it was read")
        return data

    # Section 2: header, tail and end mark, in the order of section 2.4.

    def _read_ends(self) -> Tail:
        size = os.fstat(self.file.fileno()).st_size
        require(self.read(0, min(size, 12)) == HEADER_MAGIC, "2.1", "not a container: no magic at the start")
        mark = self.read(max(0, size - 25), min(size, 25))
        require(mark[:17] == END_MARK, "2.3", "cut or overwritten: no end mark where the file ends")
        offset = int.from_bytes(mark[17:], "big")
        agrees = offset % PAGE == (size - 25) % PAGE == 0 and 2 * PAGE <= offset <= size - 25 - PAGE
        require(agrees, "2.3", "cut or overwritten: the end mark does not agree with the file's size")

        header, tail = self.read(0, PAGE), self.read(offset - PAGE, PAGE)
        require(tail[:12] == TAIL_MAGIC, "2.2", "the tail has no magic")
        require(xxh64(header[:4088]) == header[4088:], "2.1", "the header's checksum does not agree")
        require(xxh128(tail[:4080]) == tail[4080:], "2.2", "the tail's checksum does not agree")
        fields = Tail(*struct.unpack("<12x2I4x5Q16s16s", tail[:96]), file_id=tail[4080:])
        require(header[12:16] == tail[12:16], "2.2", "header and tail are of different major versions")
        if fields.major not in MAJORS:
            raise Unsupported(f"format version {fields.version} is not known (section 2.4)")
        if unknown := fields.required & ~KNOWN_REQUIRED:
            bit = (unknown & -unknown).bit_length() - 1
            raise Unsupported(f"needs feature {bit}, of version {fields.version} (section 2.4)")

        zero = not any(header[16:4088] + tail[20:24] + tail[96:4080])
        require(zero, "2", "bytes of the header or tail that must be zero are not")
        agree = fields.index_offset == offset and offset + fields.index_size + 25 == size
        require(agree, "2.2", "tail, end mark and size do not agree")
        annex = offset - PAGE - fields.chunks_end
        require(fields.chunks_end >= PAGE and annex >= 0, "2.2", "the chunk area does not end between header and tail")
        claimed = fields.optional & ~REFERENCED
        require(claimed or annex < PAGE, "2.4", "no feature claims the annex, but it is longer than alignment needs")
        return fields

    # Section 3: the index.

    def _read_index(self) -> bytes:
        size, seed = self.tail.index_size, int.from_bytes(self.tail.content_id[:8], "big")
        require(size <= self.limit, "10", f"the index has {size} bytes, above the limit of {self.limit}")
        image = self.read(self.tail.index_offset, size)
        for number, start in enumerate(range(0, size, PAGE), start=1):
            page = image[start:start + PAGE]
            sound = xxh64(page[:-8], (seed + number) % (1 << 64)) == page[-8:]
            require(sound, "3", f"the checksum of index page {number} does not agree")
        for at, value in {**FIRST_PAGE, 28: (size // PAGE).to_bytes(4, "big"),
                          60: self.tail.major.to_bytes(4, "big")}.items():
            require(image.startswith(value, at), "3", f"byte {at} of the index does not begin the bytes {value.hex()}")
        return image

    def _open_index(self) -> None:
        self.database.text_factory = bytes.decode  # strict UTF-8
        self.database.execute("PRAGMA trusted_schema = OFF")
        self.database.execute("PRAGMA cell_size_check = ON")
        self.database.deserialize(self.index)
        found = Counter(self._rows("type, name, tbl_name, sql FROM sqlite_schema"))
        words = [(sql, *re.split(r"[ (]", sql)[1:3]) for sql in SCHEMA]
        expected = Counter((kind.lower(), name, name, sql) for sql, kind, name in words)
        require(found == expected, "3", "the schema of the index is not the prescribed one")

    def _rows(self, query: str) -> Iterator[tuple]:
        """The rows of a SELECT; whatever SQLite or a text that is not UTF-8 raises becomes a FormatError."""
        try:
            for row in self.database.execute(f"SELECT {query}"):
                size = max(map(byte_count, row))
                require(size <= MAX_VALUE, "3", f"a value has {size} bytes")
                yield row
        except (sqlite3.Error, UnicodeDecodeError) as error:
            require(False, "3", f"the index is no sound SQLite image with UTF-8 texts: {str(error)!a:.200}")

    def _take_large(self, number: int) -> str | bytes:
        """Large values are numbered in the order of their use, and each is used once."""
        self.large_used += 1
        require(number == self.large_used, "3", f"row {number} of large is used where {self.large_used} is next")
        value = self.large.pop(number, None)
        require(type(value) in (str, bytes), "3", f"row {number} of large is missing, or neither a text nor a blob")
        return value

    # Section 4: trees; section 5: tensors.

    def _read_trees(self) -> tuple[Node, Node]:
        rows = defaultdict(list)  # by parent
        for count, row in enumerate(self._rows("parent, position, key, * FROM node"), start=1):
            require(count <= self.node_limit, "10", f"more than {self.node_limit} nodes")
            integer(row[1], "a position", "4")
            rows[integer(row[0], "a parent", "4")].append(row[1:3] + row[6:])
        top = rows.pop(0, [])
        names = sorted(f"{key!a} at {position}" for position, key, *_ in top)
        require(names == ["0 at 0", "1 at 0"], "4", "the roots are not exactly the keys 0 and 1 with the position 0")

        roots: list[Node] = []
        ids = itertools.count(1)
        stack = [(row, None) for row in sorted(top, key=lambda row: row[1], reverse=True)]
        while stack:
            row, parent = stack.pop()
            try:
                node = self._node(parent, *row[1:])
            except FormatError as error:
                raise FormatError(f"node {row[1]!a:.80}, child of {parent.value if parent else 0}: {error}") from None
            (parent.children if parent else roots).append(node)
            if node.kind > RECORD:
                continue
            number = next(ids)
            require(node.value == number, "4", f"an inner node has the id {node.value} where preorder gives {number}")
            below = sorted(rows.pop(number, []), key=lambda row: row[0])
            places, keys = [row[0] for row in below], [row[1] for row in below]
            require(places == list(range(len(below))), "4", f"the positions below node {number} have gaps or repeat")
            require(len(set(keys)) == len(keys), "4", f"node {number} has two children with one key")
            require(node.kind not in (LIST, TUPLE) or keys == places, "4", f"list {number} has wrong keys")
            require(not below or node.depth < MAX_DEPTH, "4", f"node {number} has children below the level {MAX_DEPTH}")
            stack.extend((row, node) for row in reversed(below))
        require(not rows, "4", f"rows of parent {min(rows, default=0)} belong to no tree")
        check_metadata(roots[1])
        return roots[0], roots[1]

    def _node(self, parent, key, kind, tag, value, storage, dtype, *layout) -> Node:
        if type(key) is not int:
            text(key, "the key, if no integer,", "4", MAX_NAME)
        integer(kind, "the kind", "4", 1, STRINGS)
        if tag is not None or kind == RECORD:
            require(text(tag, "the tag", "4", MAX_NAME) and kind <= TENSOR, "4", "an empty tag, or one on a leaf")
        typed = kind in (TENSOR, SCALAR, ARRAY)
        require((dtype is not None) == typed, "4", f"a node of kind {kind} has a dtype too many or none")
        found = self.dtypes.get(text(dtype, "the dtype", "4")) if typed else None
        require(found or not typed, "6", "the dtype is missing")
        require(kind == TENSOR or {storage, *layout} == {None}, "4", "a column of tensors is not NULL in another node")
        tensor = self._tensor(found, storage, *layout) if kind == TENSOR else None
        if kind > INTEGER and type(value) is int:
            value = self._take_large(value)
            require(byte_count(value) > MAX_INLINE, "3", f"a value of at most {MAX_INLINE} bytes is in large")
        else:
            require(byte_count(value) <= MAX_INLINE, "3", f"a value of more than {MAX_INLINE} bytes is not in large")
        value = parse_value(kind, value, found)
        return Node(key, kind, tag, value, found, tensor, parent, parent.depth + 1 if parent else 0)

    def _tensor(self, dtype: DType, storage, shape, strides, offset, nbytes, flags) -> Tensor:
        extents = integer_array(shape, "shape")
        require(integer(storage, "storage", "5") in self.storages, "5", f"storage {storage} is missing")
        tensor = Tensor(
            dtype, extents, contiguous_strides(extents) if strides is None else integer_array(strides, "strides"),
            strides is None, integer(offset, "offset", "5"), integer(nbytes, "nbytes", "5"),
            integer(flags, "flags", "5", 0, 1), storage)
        check_layout(tensor, self.storages[storage].nbytes)
        return tensor

    # Sections 6 to 8: dtypes, storages and chunks, extra and history.

    def _read_dtypes(self) -> Iterator[tuple[str, DType]]:
        for name, elements, size in self._rows("name, elements, bytes FROM dtype"):
            named = re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", text(name, "a dtype's name", "6"))
            require(named, "6", f"{name!a:.80} is not a name for a dtype")
            integer(elements, f"the elements of {name}", "6", 1, 65_536)
            integer(size, f"the bytes of {name}", "6", 1, 1_048_576)
            usual = DTYPES.get(name, (elements, size))
            require(usual == (elements, size), "6", f"the dtype {name} has other figures than prescribed")
            yield name, DType(name, elements, size)

    def _read_storages(self) -> Iterator[tuple[int, Storage]]:
        for number, nbytes, digest in self._rows("id, nbytes, digest FROM storage"):
            yield integer(number, "a storage's id", "7", 1), Storage(
                number, integer(nbytes, "a storage's nbytes", "7", high=MAX_SIZE), blob(digest, "a storage's digest", "7", 16))

    def _read_chunks(self) -> None:
        """Every row of `chunk`, and the digests of the storages, which follow from them."""
        for number, seq, source, transform, width, offset, length, parts, digest in self._rows(
                "storage, seq, source, transform, width, offset, length, parts, digest FROM chunk ORDER BY 1, 2"):
            storage = self.storages.get(integer(number, "a chunk's storage", "7"))
            what = f"chunk {integer(seq, 'the seq of a chunk', '7')} of storage {number}"
            require(storage and seq == len(storage.chunks), "7", f"{what} is out of sequence or has no storage")
            size = min(CHUNK, storage.nbytes - seq * CHUNK)
            require(size > 0, "7", f"{what} is beyond the storage's end")
            for value in (source, transform, width, offset, length):
                integer(value, f"a column of {what}", "7")
            known = (transform, width) == (0, 1) or self.tail.major >= 2 and transform in (1, 2) and width in (2, 4, 8)
            require(source == 0 and known and width <= size, "7", f"{what} has another source, transform or width")
            sizes = [size // width] * width + ([size % width] if size % width else [])
            packed = blob(parts, f"parts of {what}", "7", 13 * len(sizes))
            chunk = Chunk(number, seq, size, offset, length, transform, width, tuple(
                Part(*fields, decoded) for fields, decoded in zip(struct.iter_unpack("<BI8s", packed), sizes)),
                blob(digest, f"the digest of {what}", "7", 16))
            for index, part in enumerate(chunk.parts):
                self._check_part(part, f"part {index} of {what}", is_remainder=transform > 0 and index == width)
            require(length == sum(part.encoded for part in chunk.parts), "7", f"the parts of {what} do not fill its extent")
            placed = PAGE <= offset and offset + length <= self.tail.chunks_end if length else offset == 0
            require(placed, "7", f"{what} lies outside the chunk area")
            aligned = not chunk.is_stored or offset % (PAGE if storage.nbytes >= CHUNK else 64) == 0
            require(aligned, "7", f"{what} is stored at {offset}, which is not aligned")
            require(chunk.is_stored or length < size, "7", f"{what} takes {length} bytes for {size}")
            storage.chunks.append(chunk)
        for storage in self.storages.values():
            count = -(-storage.nbytes // CHUNK)
            require(len(storage.chunks) == count, "7", f"storage {storage.id} does not have {count} chunks")
            digests = b"".join(chunk.digest for chunk in storage.chunks)
            digest = xxh128(b"NNStore storage1" + struct.pack("<Q", storage.nbytes) + digests)
            require(digest == storage.digest, "7", f"the digest of storage {storage.id} is not that of its chunks")

    def _check_part(self, part: Part, what: str, is_remainder: bool) -> None:
        fits = {STORED: part.length == part.decoded, FRAME: 0 < part.length < part.decoded,
                CONSTANT: self.tail.major >= 2 and part.length <= 255 and part.hash == xxh64(b"")}
        require(fits.get(part.coding), "7", f"{what} has coding {part.coding} and length {part.length} for {part.decoded}")
        require(not is_remainder or part.coding == STORED, "7", f"{what} is a remainder that is not stored")

    def _read_extra(self) -> dict[str, object]:
        """Section 8, and with it the end of `large`: nothing that is not used."""
        extra = {text(key, "a key of extra", "8"): value for key, value in self._rows("key, value FROM extra")}
        require(extra.get("sharing") in ("known", "unknown"), "8", "sharing in extra is neither known nor unknown")
        text(extra.get("compression"), "compression in extra", "8")
        if "safetensors.header" in extra:
            number = integer(extra["safetensors.header"], "safetensors.header", "8")
            blob(self.large.get(number), "the row of safetensors.header in large", "8")
        # What no node has taken belongs to facts, known or not.
        unused = self.large.keys() - {value for value in extra.values() if type(value) is int}
        require(not unused, "3", f"{len(unused)} rows of large are used by nothing")
        return extra

    def _read_history(self) -> list[tuple]:
        rows = list(self._rows("seq, action, from_version, to_version, by FROM history ORDER BY seq"))
        for number, (seq, action, old, new, by) in enumerate(rows, start=1):
            integer(seq, "the next seq of history", "8", number, number)
            for value in (action, by):
                text(value, "a column of history", "8")
            for version in [new] if old is None else [old, new]:
                sound = re.fullmatch(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)", text(version, "a version in history", "8"))
                require(sound, "8", f"row {number} of history has a version that is not MAJOR.MINOR")
        require(rows and rows[-1][3] == self.tail.version, "8", "history does not end with the version of the file")
        return rows

    # Section 7: the bytes of chunks and storages; section 5: those of tensors.

    def read_chunk(self, chunk: Chunk) -> bytes:
        """Checks and decodes each part, joins the planes, and checks the logical bytes."""
        position, parts = chunk.offset, []
        for part in chunk.parts:
            parts.append(self._read_part(part, position, chunk))
            position += part.encoded
        data = join(parts[:chunk.width], chunk.width, rotation(chunk)) + b"".join(parts[chunk.width:])
        require(xxh128(data) == chunk.digest, "7", f"the digest of {chunk.what} does not agree with its bytes")
        return data

    def _read_part(self, part: Part, position: int, chunk: Chunk) -> bytes:
        if part.coding == CONSTANT:
            return bytes([part.length]) * part.decoded
        data = self.read(position, part.encoded)
        require(xxh64(data) == part.hash, "7", f"the bytes of {chunk.what} are damaged")
        if part.coding == FRAME:
            data = decode_frame(data, part.decoded, f"the frame of {chunk.what}", "7")
        return data

    def read_storage(self, number: int) -> bytes:
        storage = self.storages[number]
        require(storage.nbytes <= self.limit, "10", f"storage {number} has {storage.nbytes} bytes, above the limit")
        return b"".join(map(self.read_chunk, storage.chunks))

    def elements(self, tensor: Tensor, storage: bytes) -> Iterator[memoryview]:
        """The tensor's elements in row-major order, in runs; everything is counted in whole blocks."""
        require(tensor.nbytes <= self.limit, "10", f"a tensor has {tensor.nbytes} bytes, above the limit")
        size, elements = tensor.dtype.bytes, tensor.dtype.elements
        if tensor.contiguous:
            shape, strides = (tensor.nbytes // size,), (1,)
        else:
            shape = (*tensor.shape[:-1], tensor.shape[-1] // elements)
            strides = (*(stride // elements for stride in tensor.strides[:-1]), tensor.strides[-1])
        for start, count in runs(shape, strides, tensor.offset // elements):
            yield memoryview(storage)[start * size:(start + count) * size]

    # Section 9: the content id.

    def compute_content_id(self) -> bytes:
        numbers: dict[int, int] = {}
        out = xxhash.xxh3_128(b"NNStore content1")
        for node in itertools.chain(walk(self.state), walk(self.metadata)):
            if node.parent:
                out.update(struct.pack("<Bq", 1, node.key) if type(node.key) is int else b"\2" + packed(node.key))
            out.update(encode_node(node, numbers))
        for storage in map(self.storages.get, numbers):
            out.update(struct.pack("<Q", storage.nbytes) + storage.digest)
        return out.digest()

    # Section 11: full verification. Opening has checked pages, rows, layouts, trees and digests of storages.

    def verify(self) -> Iterator[str]:
        """Yields every problem that full verification finds."""
        if xxh128(self.index) != self.tail.index_hash:
            yield "the hash of the index does not agree (section 2.2)"
        try:
            found = [message for (message,) in self._rows("integrity_check FROM pragma_integrity_check")]
        except FormatError as error:
            found = [str(error)]
        if found != ["ok"]:
            yield from (f"SQLite's integrity check: {' '.join(message.split())} (section 11)" for message in found)
        used = {node.dtype for node in itertools.chain(walk(self.state), walk(self.metadata))}
        for dtype in set(self.dtypes.values()) - used:
            yield f"no node uses the dtype {dtype.name} (section 6)"
        if sorted(self.storages) != list(range(1, len(self.storages) + 1)):
            yield "the storages are not numbered from 1 without gaps (section 7)"
        if self.compute_content_id() != self.tail.content_id:
            yield "the content id does not agree (section 9)"
        yield from self._verify_chunks()

    def _verify_chunks(self) -> Iterator[str]:
        extents: dict[tuple, Chunk] = {}  # one of each set of chunks that share theirs
        for storage in self.storages.values():
            for before, chunk in zip([None, *storage.chunks], storage.chunks):
                extents.setdefault(chunk.extent, chunk)
                if self.extra["compression"] == "none" and (
                        not chunk.is_stored or before and before.offset + before.length != chunk.offset):
                    yield f"{chunk.what} is not stored behind the one before (section 7)"
        end = PAGE
        for _, chunk in sorted(extents.items()):
            try:
                self.read_chunk(chunk)
            except FormatError as error:
                yield str(error)
            if not chunk.length:
                continue
            if chunk.offset < end:
                yield f"{chunk.what} overlaps the one before it in the file (section 7)"
            elif not self._is_zero(end, chunk.offset):
                yield f"bytes before {chunk.what} that belong to no chunk are not zero (section 7)"
            end = max(end, chunk.offset + chunk.length)
        if end != self.tail.chunks_end:
            yield f"the chunk area ends at {end}, not at {self.tail.chunks_end} (section 2.2)"
        used = self.tail.chunks_end
        if self.tail.optional & INDEX_COPY:
            try:
                used = self._verify_index_copy()
            except FormatError as error:
                yield str(error)
                return
        if not self.tail.optional & ~KNOWN_OPTIONAL and not self._is_zero(used, self.tail.index_offset - PAGE):
            yield "the annex is not zero (section 2.4)"

    def _verify_index_copy(self) -> int:
        """Section 2.5. Returns where the copy ends."""
        start, limit = -self.tail.chunks_end // PAGE * -PAGE, self.tail.index_offset - PAGE
        require(self._is_zero(self.tail.chunks_end, start), "2.5", "bytes before the copy of the index are not zero")
        groups = -(-self.tail.index_size // COPY_GROUP)
        size = 128 + 12 * groups
        require(start + size + 16 <= limit, "2.5", "there is no room for the copy of the index")
        record, digest = self.read(start, size), self.read(start + size, 16)
        magic, zero, offset, length, fields = struct.unpack_from("<12sIQQ96s", record)
        require(magic == COPY_MAGIC and zero == 0 and offset == start, "2.5", "no copy of the index begins the annex")
        require(fields == self.read(limit, 96), "2.5", "the copy of the index is of another one")
        require(xxh128(record) == digest, "2.5", "the digest of the copy of the index does not agree")
        at = start + size + 16
        for group in range(groups):
            pages = self.index[group * COPY_GROUP:(group + 1) * COPY_GROUP]
            count, checksum = struct.unpack_from("<I8s", record, 128 + 12 * group)
            require(1 <= count <= len(pages) and at + count <= limit, "2.5", f"group {group} of the copy does not fit")
            encoded = self.read(at, count)
            require(xxh64(encoded) == checksum, "2.5", f"the checksum of group {group} of the copy does not agree")
            same = encoded
            if count < len(pages):
                same = decode_frame(encoded, len(pages), f"group {group} of the copy", "2.5")
            require(same == pages, "2.5", f"group {group} of the copy has other pages than the index")
            at += count
        require(at == start + length, "2.5", "the copy of the index has another size than it says")
        if not self.tail.optional & ~KNOWN_OPTIONAL:
            require(limit == -at // PAGE * -PAGE, "2.4", "the annex is longer than the copy of the index needs")
        return at

    def _is_zero(self, start: int, end: int) -> bool:
        return not any(self.read(at, min(CHUNK, end - at)).strip(b"\0") for at in range(start, end, CHUNK))

    def describe(self) -> dict:
        """What the command line prints."""
        groups = defaultdict(list)  # by storage, so that one at a time is in memory
        for node in self.tensors:
            groups[node.tensor.storage].append(node)
        hashes: dict[Node, str] = {}
        for number, nodes in groups.items():
            data = self.read_storage(number)
            for node in nodes:
                sha = hashlib.sha256()
                for run in self.elements(node.tensor, data):
                    sha.update(run)
                hashes[node] = sha.hexdigest()
        aliases = (sorted(node.name for node in nodes if 0 not in node.tensor.shape) for nodes in groups.values())
        return {
            "file": self.path, "version": self.tail.version,
            "content_id": self.tail.content_id.hex(), "file_id": self.tail.file_id.hex(),
            "metadata": plain(self.metadata),
            "tensors": [{
                "name": node.name, "dtype": tensor.dtype.name, "shape": tensor.shape, "strides": tensor.strides,
                "offset": tensor.offset, "storage": tensor.storage, "nbytes": tensor.nbytes, "sha256": hashes[node],
            } for node in self.tensors if (tensor := node.tensor)],
            "aliases": sorted(names for names in aliases if len(names) > 1),
            "sharing": self.extra["sharing"], "compression": self.extra["compression"],
        }


def rotation(chunk: Chunk) -> int:
    """Section 7: by how many bits elements were rotated to the left."""
    return 0 if chunk.transform != 2 else 4 if chunk.width == 8 else 1


def join(planes: list[bytes], width: int, bits: int) -> bytes:
    """Section 7: elements of planes, the most significant bytes first, rotated back to the right."""
    data = bytearray(len(planes[0]) * width)
    for index, plane in enumerate(planes):
        data[width - 1 - index::width] = plane
    if bits:
        # All elements at once, as one large number: its low bits go to the top of each element.
        size = len(planes[0])
        low = int.from_bytes(((1 << bits) - 1).to_bytes(width, "little") * size, "little")
        number = int.from_bytes(data, "little")
        data = ((number & ~low) >> bits | (number & low) << (8 * width - bits)).to_bytes(len(data), "little")
    return bytes(data)


def walk(root: Node) -> Iterator[Node]:
    """The node and everything below it, in preorder."""
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(node.children))


def check_metadata(root: Node) -> None:
    """Section 4: a dictionary without tensors."""
    sound = root.kind == DICTIONARY and not any(node.tensor for node in walk(root))
    require(sound, "4", "the metadata tree is not a dictionary, or has a tensor")


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Section 5."""
    *strides, product = itertools.accumulate((max(1, extent) for extent in reversed(shape)), int.__mul__, initial=1)
    require(product <= MAX_SIZE, "5", "the product of the extents is more than 2^60")
    return tuple(reversed(strides))


def integer_array(value, what: str) -> tuple[int, ...]:
    """Section 5: a canonical JSON array of integers that are not negative."""
    canonical = re.fullmatch(r"\[((0|[1-9][0-9]{0,18})(,(0|[1-9][0-9]{0,18}))*)?\]", text(value, what, "5"))
    require(canonical, "5", f"{what} is not a canonical array of integers")
    numbers = tuple(map(int, value[1:-1].split(","))) if value != "[]" else ()
    sound = len(numbers) <= MAX_DIMENSIONS and max(numbers, default=0) <= I64_MAX
    require(sound, "5", f"{what} has too many dimensions or too large a number")
    return numbers


def check_layout(tensor: Tensor, available: int) -> None:
    """Section 5: strides that say nothing, bounds, block dtypes, nbytes."""
    name, elements, size = tensor.dtype.name, tensor.dtype.elements, tensor.dtype.bytes
    shape, strides, count = tensor.shape, tensor.strides, math.prod(tensor.shape)
    natural = contiguous_strides(shape)
    require(len(strides) == len(shape), "5", "shape and strides have different lengths")
    require(tensor.contiguous or strides != natural, "5", "contiguous strides must be NULL")
    blocks, rest = divmod(count, elements)
    require(not rest and tensor.offset % elements == 0, "5", f"{name} needs whole blocks of {elements} elements")
    require(blocks * size == tensor.nbytes, "5", f"nbytes is {tensor.nbytes} instead of {blocks * size}")
    require(tensor.nbytes <= MAX_SIZE, "5", f"nbytes is {tensor.nbytes}, more than 2^60")
    if count == 0:
        require(tensor.contiguous and not tensor.offset, "5", "an empty tensor has an offset or strides")
        return
    dimensions = list(zip(shape, strides, natural))
    sound = all(extent > 1 or stride == usual for extent, stride, usual in dimensions)
    require(sound, "5", "the stride of a dimension of extent 1 must be the contiguous one")
    if elements > 1 and not tensor.contiguous:
        sound = strides[-1] == 1 and shape[-1] % elements == 0
        require(sound, "5", f"a {name} tensor must have whole blocks in its last dimension")
        sound = all(extent == 1 or stride % elements == 0 for extent, stride, _ in dimensions[:-1])
        require(sound, "5", f"a stride of a {name} tensor is not a whole number of blocks")
    last = tensor.offset + sum((extent - 1) * stride for extent, stride, _ in dimensions)
    end = -(-(last + 1) // elements) * size
    inside = last < MAX_SIZE and end <= min(MAX_SIZE, available)
    require(inside, "5", f"the tensor reaches element {last}, outside its storage of {available} bytes")


def runs(shape: tuple[int, ...], strides: tuple[int, ...], start: int) -> Iterator[tuple[int, int]]:
    """A layout in row-major order, as adjacent elements: the position of the first and the number."""
    if strides == contiguous_strides(shape):
        yield start, math.prod(shape)
        return
    for index in range(shape[0]):
        yield from runs(shape[1:], strides[1:], start + index * strides[0])


def parse_value(kind: int, value, dtype: DType | None):
    """Section 4: the column `value`, checked and as a Python value."""
    what = f"the value of a node of kind {kind}"
    if kind in (TENSOR, NULL):
        require(value is None, "4", f"{what} is not NULL")
        return None
    if kind <= INTEGER:
        low, high = {BOOLEAN: (0, 1), INTEGER: (-I64_MAX - 1, I64_MAX)}.get(kind, (1, I64_MAX))
        number = integer(value, what, "4", low, high)
        return bool(number) if kind == BOOLEAN else number
    if kind == STRING:
        return text(value, what, "4")
    blob(value, what, "4", {UNSIGNED: 8, DOUBLE: 8, SCALAR: dtype and dtype.bytes}.get(kind))
    if kind == UNSIGNED:
        return integer(int.from_bytes(value, "little"), what, "4", 1 << 63, (1 << 64) - 1)
    if kind == LARGER:
        number = int.from_bytes(value, "little", signed=True)
        shortest = len(value) == (number if number >= 0 else ~number).bit_length() // 8 + 1
        needed = not -(1 << 63) <= number < 1 << 64
        require(shortest and needed, "4", f"{what} is not as short as possible, or fits another kind")
    if dtype:
        require(dtype.elements == 1, "4", f"the dtype {dtype.name} of a typed value has more than one element a block")
        require(len(value) % dtype.bytes == 0, "4", f"{what} does not have whole elements")
    if kind != STRINGS:
        return value
    count = int.from_bytes(value[:4], "little")
    require(len(value) >= 4 + 4 * count, "4", "a string array is shorter than its lengths")
    ends = list(itertools.accumulate(struct.unpack_from(f"<{count}I", value, 4), initial=4 + 4 * count))
    require(ends[-1] == len(value), "4", "the lengths of a string array do not add up to its size")
    try:
        return [value[start:end].decode() for start, end in itertools.pairwise(ends)]
    except UnicodeDecodeError:
        raise FormatError("a string of a string array is not valid UTF-8 (section 4)") from None


def packed(value: str | bytes) -> bytes:
    """Section 9: *text* and *blob*."""
    data = value.encode() if type(value) is str else value
    return struct.pack("<Q", len(data)) + data


def encode_node(node: Node, numbers: dict[int, int]) -> bytes:
    """Section 9: what stands for a node, without its children. New storages get the next number."""
    out, kind, value, tensor = bytes([node.kind]), node.kind, node.value, node.tensor
    if kind <= TENSOR:
        out += b"\0" if node.tag is None else b"\1" + packed(node.tag)
    if tensor:
        out += struct.pack("<Q", numbers.setdefault(tensor.storage, len(numbers)))
    if node.dtype:
        out += packed(node.dtype.name) + struct.pack("<2Q", node.dtype.elements, node.dtype.bytes)
    if tensor:
        n = len(tensor.shape)
        return out + struct.pack(f"<Q{2 * n}qqQ", n, *tensor.shape, *tensor.strides, tensor.offset, tensor.flags)
    if kind <= RECORD:
        return out + struct.pack("<Q", len(node.children))
    if kind in (NULL, DOUBLE):
        return out + (value or b"")
    if kind in (BOOLEAN, INTEGER, UNSIGNED):
        return out + struct.pack({BOOLEAN: "<B", INTEGER: "<q", UNSIGNED: "<Q"}[kind], value)
    if kind == STRINGS:
        return out + struct.pack("<Q", len(value)) + b"".join(map(packed, value))
    return out + packed(value)


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
    for node in walk(root):
        words = [KINDS[node.kind - 1]] + ([f"<{json.dumps(node.tag)}>"] if node.tag else [])
        if node.dtype:
            words.append(node.dtype.name)
        if t := node.tensor:
            layout = f"offset {t.offset} strides {list(t.strides)} flags {t.flags}"
            words.append(f"{list(t.shape)} storage {t.storage} {layout}")
        elif node.kind > TENSOR:
            value = json.dumps(plain(node))
            words.append(value if len(value) <= 200 else f"{value[:200]}... ({len(value)} characters)")
        print(f"{'  ' * node.depth}{json.dumps(node.key) if node.depth else title}: {' '.join(words)}")


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
        problems = 1
        print(f"{arguments.file}: {error}", file=sys.stdout if arguments.verify else sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
