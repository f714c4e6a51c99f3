"""Parquet files, where pyarrow is installed (the extra `data`): the first rows of a few groups."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from vramguard.source import MAX_BYTES, ParseError
from vramguard.source.sampling import Column, Rows, has_parquet, narrowed

if TYPE_CHECKING:
    from vramguard.source.sampling import Sample

_MAGIC = b"PAR1"
_MOST_ROWS = 2000
_MOST_COLUMNS = 1000
_MOST_BYTES = 64 << 20  # that a group of rows says it takes, unpacked
_TEXT = 4096  # characters of a value that are looked at


def rows(sample: Sample, path: str) -> Rows:  # noqa: ARG001 - the signature of a format
    """The first rows of a Parquet file; it has no lines. Raises `ParseError` for what is none."""
    data = sample.blocks[0].data
    if not data.startswith(_MAGIC):
        raise ParseError("no Parquet file")
    if not has_parquet():
        return _none("pyarrow is not installed")
    if not sample.whole:
        return _none(f"larger than {MAX_BYTES >> 20} MiB")
    return _read(data)


def _none(reason: str) -> Rows:
    return Rows((), (), (), whole=False, unread=reason)


def _read(data: bytes) -> Rows:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(BytesIO(data))
        groups = _groups(file.metadata)
        names = [field.name for field in file.schema_arrow if _is_plain(field.type)][:_MOST_COLUMNS]
        batch = next(file.iter_batches(_MOST_ROWS, row_groups=groups, columns=names), None) if groups else None
        if batch is not None:
            return _columns(batch, whole=batch.num_rows == file.metadata.num_rows)
    except (pa.ArrowException, OSError, ValueError) as error:  # a text that is none is a ValueError
        raise ParseError(f"no Parquet file: {error}") from error
    return _none("it has no group of rows that is small enough")


def _is_plain(kind: Any) -> bool:  # noqa: ANN401 - pyarrow has no types
    """Whether values of this type are text or numbers: no images, no lists."""
    from pyarrow import types

    tests = (types.is_string, types.is_large_string, types.is_floating, types.is_integer, types.is_boolean)
    return any(test(kind) for test in tests)


def _groups(metadata: Any) -> list[int]:  # noqa: ANN401 - likewise
    """The groups of rows that say of themselves that they fit into memory."""
    sizes = ((number, metadata.row_group(number).total_byte_size) for number in range(metadata.num_row_groups))
    return [number for number, size in sizes if 0 <= size <= _MOST_BYTES]


def _columns(batch: Any, *, whole: bool) -> Rows:  # noqa: ANN401 - likewise
    count = batch.num_rows
    columns = []
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        cells = ["" if value is None else str(value)[:_TEXT] for value in values.to_pylist()]
        columns.append(Column(name, cells, range(count)))
    keys = list(zip(*(column.cells for column in columns), strict=True))
    return Rows(narrowed(columns), [None] * count, keys, whole)
