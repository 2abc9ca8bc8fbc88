"""Statements straight to the driver: SQLAlchemy builds them and knows the types, once; carrying them out is ours.

SQLAlchemy's own way from a statement to its rows takes some 100 us, SQLite a tenth of that. In a storm of alerts this
is the difference between a click that is answered at once and one that waits for Python (docs/performance.md).
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from typing import Any, Final, NoReturn

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Insert,
    Select,
    String,
    Text,
    TypeDecorator,
    bindparam,
    cast,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BindParameter

from bot.journal.trouble import takes_no_write

PerDatabase = Mapping[str, Any]
"""The same in the dialect of each database, by its name."""
Statement = Select[*tuple[Any, ...]] | UpdateBase
Row = tuple[Any, ...]
Convert = Callable[[Any], Any]
NOTHING: Final[Mapping[str, Any]] = {}


def one_of(column: Column[str], name: str) -> PerDatabase:
    """Whether the column is one of a list of texts, which is one parameter, so that the statement stays the same."""
    values = func.json_each(bindparam(name, type_=JSON)).table_valued("value", name="listed").c.value
    return {
        "sqlite": column.in_(select(values)),
        "postgresql": column == func.any(bindparam(name, type_=postgresql.ARRAY(String))),
    }


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A statement in the words of one driver. `binds` are (name, conversion, value when none is given)."""

    sql: str
    binds: tuple[tuple[str, Convert | None, Any], ...]
    positional: bool
    names: tuple[str, ...]
    results: tuple[tuple[int, Convert], ...]

    def parameters(self, given: Mapping[str, Any]) -> Any:
        if self.positional:
            return [
                convert(given.get(name, default)) if convert else given.get(name, default)
                for name, convert, default in self.binds
            ]
        return {
            name: convert(given.get(name, default)) if convert else given.get(name, default)
            for name, convert, default in self.binds
        }

    def many(self, names: Sequence[str], rows: Iterable[Row]) -> list[Any]:
        """The parameters for each row, whose values are in the order of `names`."""
        if not self.positional:
            return [self.parameters(dict(zip(names, row, strict=True))) for row in rows]
        plan = [(names.index(name), convert) for name, convert, _ in self.binds]
        return [[convert(row[place]) if convert else row[place] for place, convert in plan] for row in rows]

    def rows(self, fetched: Iterable[Sequence[Any]]) -> list[Row]:
        if not self.results:
            return [tuple(row) for row in fetched]
        rows: list[Row] = []
        for row in fetched:
            values = list(row)
            for place, convert in self.results:
                values[place] = convert(values[place])
            rows.append(tuple(values))
        return rows


_prepared: dict[tuple[str, Statement, tuple[str, ...]], _Prepared] = {}
"""Every statement is a constant of its module, so this does not grow; an UPDATE has a form for each set of columns."""


@cache
def _in_one(statement: Insert, names: tuple[str, ...]) -> Insert:
    """The same insert for any number of rows, which PostgreSQL takes as one JSON text.

    Row by row, the driver would need 60 us for each, and a round trip for each in a while.
    """
    table = statement.table
    columns = [table.c[name] for name in names]
    rows = func.json_populate_recordset(
        literal_column(f"NULL::{table.name}"), cast(bindparam("rows", type_=Text), JSON)
    )
    return statement.from_select(names, select(*rows.table_valued(*columns, name="given").c))


def _plainly(value: object) -> str:
    """A time as PostgreSQL reads it in JSON."""
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be put into JSON")


def _prepare(statement: Statement, dialect: Dialect, given: tuple[str, ...]) -> _Prepared:
    compiled: Any = statement.compile(dialect=dialect, column_keys=list(given))
    if "POSTCOMPILE" in compiled.string:
        raise ValueError(f"this statement has no fixed form; pass a list as JSON: {compiled.string}")
    positional = bool(compiled.positional)
    used: Sequence[str] = compiled.positiontup if positional else tuple(compiled.binds)
    columns = list(statement.selected_columns) if isinstance(statement, Select) else []
    reading = ((place, _reader(column.type, dialect)) for place, column in enumerate(columns))
    return _Prepared(
        sql=compiled.string,
        binds=tuple((name, *_bind(compiled.binds[name], dialect)) for name in used),
        positional=positional,
        names=tuple(column.key or "" for column in columns),
        results=tuple((place, convert) for place, convert in reading if convert is not None),
    )


def _bind(parameter: BindParameter[Any], dialect: Dialect) -> tuple[Convert | None, Any]:
    convert: Convert | None = parameter.type.dialect_impl(dialect).bind_processor(dialect)
    return convert, parameter.effective_value


def _reader(kind: Any, dialect: Dialect) -> Convert | None:
    convert: Convert | None = kind.dialect_impl(dialect).result_processor(dialect, None)
    return convert


@dataclass(frozen=True, slots=True)
class Salvaged:
    """A row as far as it can be read: `unreadable` says of the first misfit which column it is in; else it is empty."""

    values: Mapping[str, Any]
    unreadable: str = ""


def _salvage(columns: Sequence[ColumnElement[Any]], convert: Mapping[int, Convert], row: Sequence[Any]) -> Salvaged:
    values: dict[str, Any] = {}
    unreadable = ""
    for place, (column, value) in enumerate(zip(columns, row, strict=True)):
        name = column.key or ""
        try:
            values[name] = convert[place](value) if place in convert else value
            fits = _fits(column, values[name])
        except (ValueError, TypeError, AttributeError, RecursionError):  # what converters say of what is none of theirs
            values[name], fits = value, False
        if not fits:
            unreadable = unreadable or f"its {name} is none"
    return Salvaged(values, unreadable)


def _fits(column: ColumnElement[Any], value: object) -> bool:
    """Whether it is what the column is declared to hold. What JSON holds is for its reader to judge."""
    kind = column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type
    if isinstance(kind, JSON):
        return True
    if value is None:
        return not isinstance(column, Column) or bool(column.nullable)
    return isinstance(value, kind.python_type)


class Direct:
    """A connection for prepared statements. Raises what SQLAlchemy raises: DBAPIError and its kinds.

    Begin, commit and the connection's life stay SQLAlchemy's.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._dialect = connection.dialect
        self._driver = connection.connection
        self.database: Final = self._dialect.name

    def all(self, statement: Statement, given: Mapping[str, Any] = NOTHING) -> list[Row]:
        """Every row, in the order of the selected columns."""
        prepared = self._ready(statement, given)
        return prepared.rows(self._execute(prepared.sql, prepared.parameters(given)).fetchall())

    def first(self, statement: Statement, given: Mapping[str, Any] = NOTHING) -> Row | None:
        """The first row, or None."""
        return next(iter(self.all(statement, given)), None)

    def scalar(self, statement: Statement, given: Mapping[str, Any] = NOTHING) -> Any:
        """The first column of the first row; None when there is none."""
        row = self.first(statement, given)
        return None if row is None else row[0]

    def scalars(self, statement: Statement, given: Mapping[str, Any] = NOTHING) -> list[Any]:
        """The first column of every row."""
        return [row[0] for row in self.all(statement, given)]

    def named(self, statement: Statement, given: Mapping[str, Any] = NOTHING) -> list[dict[str, Any]]:
        """Every row by the names of its columns."""
        names = self._ready(statement, given).names
        return [dict(zip(names, row, strict=True)) for row in self.all(statement, given)]

    def salvaged(self, statement: Select[Any], given: Mapping[str, Any] = NOTHING) -> list["Salvaged"]:
        """As `named`, for whoever examines what may have been written past us: every row, whatever its columns hold.

        SQLite keeps any value in any column, and PostgreSQL a JSON of any shape.
        """
        prepared = self._ready(statement, given)
        convert = dict(prepared.results)
        columns = list(statement.selected_columns)
        with self._any_text():
            fetched = self._execute(prepared.sql, prepared.parameters(given)).fetchall()
        return [_salvage(columns, convert, row) for row in fetched]

    @contextmanager
    def _any_text(self) -> Iterator[None]:
        """SQLite's bytes that are no UTF-8 come as what no hash fits, instead of ending the whole query."""
        connection: Any = self._driver.dbapi_connection
        if self.database != "sqlite":
            yield
            return
        before, connection.text_factory = connection.text_factory, partial(str, encoding="utf-8", errors="replace")
        try:
            yield
        finally:
            connection.text_factory = before

    def run(self, statement: Statement, given: Mapping[str, Any] = NOTHING) -> int:
        """Carries a change out; gives the number of rows it touched."""
        prepared = self._ready(statement, given)
        count: int = self._execute(prepared.sql, prepared.parameters(given)).rowcount
        return count

    def run_many(self, statement: Statement, names: tuple[str, ...], rows: Sequence[Row]) -> None:
        """The same change with each of these rows, whose values are in the order of `names`."""
        if not rows:
            return
        if self.database == "postgresql" and isinstance(statement, Insert):
            given = [dict(zip(names, row, strict=True)) for row in rows]
            self.run(_in_one(statement, names), {"rows": json.dumps(given, default=_plainly)})
            return
        prepared = self._ready(statement, names)
        parameters = prepared.many(names, rows)
        cursor = self._driver.cursor()
        try:
            cursor.executemany(prepared.sql, parameters)
        except Exception as error:  # noqa: BLE001 - told apart there
            self._failed(error, prepared.sql)

    def alone(self, name: str) -> None:
        """Until the end of this transaction, nobody else is between here and there under this name.

        SQLite has only one writer anyway.
        """
        if self.database == "postgresql":
            self._execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (name,))

    def together(self, name: str) -> None:
        """Until the end of this transaction, nobody is `alone` under this name; others who are together may be."""
        if self.database == "postgresql":
            self._execute("SELECT pg_advisory_xact_lock_shared(hashtextextended(%s, 0))", (name,))

    def raw(self, sql: str, parameters: Mapping[str, Any]) -> Any:
        """The first column of the first row of a query in the driver's own words, for what is not SQLAlchemy's."""
        return self._execute(sql, parameters).fetchone()[0]

    def say(self, sql: str) -> None:
        """A statement without parameters, as it is: SAVEPOINT and its like."""
        self._execute(sql, ())

    def _ready(self, statement: Statement, given: Iterable[str]) -> _Prepared:
        # Which columns are meant matters to a change; a query takes its parameters by name.
        shape = () if isinstance(statement, Select) else tuple(given)
        key = (f"{self.database}+{self._dialect.driver}", statement, shape)
        found = _prepared.get(key)
        if found is None:
            found = _prepared[key] = _prepare(statement, self._dialect, shape)
        return found

    def _execute(self, sql: str, parameters: Any) -> Any:
        cursor = self._driver.cursor()
        try:
            cursor.execute(sql, parameters)
        except Exception as error:  # noqa: BLE001 - told apart there
            self._failed(error, sql)
        return cursor

    def _failed(self, error: Exception, sql: str) -> NoReturn:
        """As SQLAlchemy's own way would: the driver's error by its kind, a lost connection given up.

        With it go all others that were begun before: the server that cut this one has cut them too, as a rule. So do
        those to a server that takes no write: an address with `target_session_attrs` may lead to another by now, and a
        session keeps what it was begun with.
        """
        base = self._dialect.loaded_dbapi.Error
        if not isinstance(error, base):
            raise error
        lost = takes_no_write(error) or self._dialect.is_disconnect(error, self._driver.dbapi_connection, None)
        if lost:
            self._connection.engine.pool._invalidate(self._driver, error, _checkin=False)
            self._connection.invalidate(error)
        raise DBAPIError.instance(
            sql, None, error, base, hide_parameters=True, connection_invalidated=lost, dialect=self._dialect
        ) from error
