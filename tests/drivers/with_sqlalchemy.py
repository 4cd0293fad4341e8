"""SQLAlchemy over psycopg2 and asyncpg: reflection, ORM sessions, isolation levels, its pool."""

import asyncio
import os
import urllib.parse
import warnings

import sqlalchemy
from sqlalchemy import Column, Date, ForeignKey, Integer, MetaData, Numeric, Text, bindparam, func, inspect, select, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session, declarative_base, joinedload, relationship, selectinload

from common import DIRECT, GATEWAY, STATE, WRITES, check, compare


def engine(port, driver="psycopg2", create=sqlalchemy.create_engine, **more):
    password = urllib.parse.quote(os.environ["PGPASSWORD"])
    url = f"postgresql+{driver}://{os.environ['PGUSER']}:{password}@127.0.0.1:{port}/{os.environ['PGDATABASE']}"
    return create(url, **{"pool_pre_ping": True, "pool_size": 1, **more})


def reflection(port):
    """All that Superset and its like ask of a database before its first chart."""
    here = engine(port)
    inspector = inspect(here)
    seen = [inspector.get_schema_names(), inspector.default_schema_name, inspector.get_view_names("library"),
            inspector.get_enums("library"), inspector.get_foreign_table_names(),
            [inspector.get_view_definition(view, "library") for view in ("shelf", "snapshot")]]
    for table in sorted(inspector.get_table_names("library")):
        for ask in (inspector.get_columns, inspector.get_pk_constraint, inspector.get_foreign_keys,
                    inspector.get_indexes, inspector.get_unique_constraints, inspector.get_check_constraints,
                    inspector.get_table_comment, inspector.get_table_oid):
            seen.append((table, ask.__name__, ask(table, schema="library")))
    metadata = MetaData(schema="library")
    metadata.reflect(here, views=True)
    seen.append([(name, [(c.name, str(c.type), c.nullable, str(c.server_default and c.server_default.arg)
                          if hasattr(c.server_default, "arg") else None) for c in table.columns])
                 for name, table in sorted(metadata.tables.items())])
    system = MetaData()
    system.reflect(here, schema="information_schema", only=["tables", "columns"], views=True)
    seen.append(sorted(system.tables))
    seen.append([here.dialect.server_version_info, here.dialect.has_table(here.connect(), "books", schema="library")])
    here.dispose()
    # Types print themselves with what makes them up, not with where they live.
    return str(seen)


Base = declarative_base()


class Author(Base):
    __tablename__ = "authors"
    id = Column(Integer, primary_key=True)
    name = Column(Text)
    born = Column(Date)
    books = relationship("Book", back_populates="author")


class Book(Base):
    __tablename__ = "books"
    id = Column(Integer, primary_key=True)
    author_id = Column(ForeignKey(Author.id))
    title = Column(Text)
    price = Column(Numeric)
    tags = Column(ARRAY(Text))
    details = Column(JSONB)
    author = relationship(Author, back_populates="books")


def session(port):
    here = engine(port)
    author, book = Author, Book
    seen = []
    with Session(here) as orm:
        for load in (joinedload, selectinload):
            found = orm.execute(select(author).options(load(author.books)).order_by(author.id))
            seen += [(a.name, a.born, sorted((b.id, b.title, b.price, b.details, b.tags) for b in a.books))
                     for a in found.unique().scalars()]
        seen.append(orm.get(book, 7).author.name)
        seen += orm.execute(select(book.author_id, func.sum(book.price), func.array_agg(book.id))
                            .where(book.id.in_([1, 2, 3, 9])).group_by(book.author_id).order_by(book.author_id)).all()
        with orm.begin_nested():
            seen.append(orm.query(book).filter(book.title.like("%1%")).count())
        orm.rollback()
        stream = orm.execute(select(book.id).order_by(book.id).execution_options(yield_per=6, stream_results=True))
        seen += stream.scalars().all()
        rows = orm.execute(text("SELECT * FROM kinds WHERE id > :least ORDER BY id").bindparams(bindparam("least", 1)))
        # Its dates are beyond Python's: the columns are enough.
        seen.append(list(rows.keys()))
    here.dispose()
    return [tuple(row) if hasattr(row, "_mapping") else row for row in seen]


def isolation(port):
    here = engine(port)
    seen = []
    for level in ("AUTOCOMMIT", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"):
        with here.connect().execution_options(isolation_level=level) as connection:
            seen.append(connection.get_isolation_level())
            for _ in range(3):
                seen.append(connection.execute(text("SELECT count(*), current_setting('transaction_isolation') "
                                                    "FROM books")).all())
            with connection.begin_nested() if connection.in_transaction() else connection.begin():
                seen.append(connection.scalar(text("SELECT max(id) FROM books")))
    engines = [engine(port, isolation_level=level) for level in ("AUTOCOMMIT", "REPEATABLE READ")]
    for other in [*engines, here]:
        with other.connect() as connection:
            seen.append(connection.scalar(text("SHOW transaction_isolation")))
        other.dispose()
    return [str(row) for row in seen]


def pooled(port):
    """Connections go back to its pool, and are tried before they come out of it."""
    here = engine(port, pool_size=2, max_overflow=0)
    seen = []
    for n in range(12):
        with here.connect() as connection:
            if n % 3 == 0:
                connection.execute(text("SET work_mem = '7MB'"))
            seen.append(connection.execute(text("SELECT title FROM books WHERE id = :id"), {"id": 1 + n}).all())
            seen.append(connection.scalar(text("SHOW work_mem")))
    here.dispose()
    return [str(row) for row in seen]


def failures(port, statements):
    here = engine(port)
    seen = []
    with here.connect() as connection:
        for sql in statements:
            try:
                connection.execute(text(sql))
                seen.append("no error")
            except sqlalchemy.exc.DBAPIError as error:
                seen.append((error.orig.pgcode, type(error).__name__, error.connection_invalidated))
            if connection.in_transaction():
                connection.get_transaction().rollback()
        seen.append(connection.scalar(text("SELECT 'still here'")))
    here.dispose()
    return seen


def over_asyncpg(port):
    async def work():
        here = engine(port, "asyncpg", create_async_engine, connect_args={"ssl": False})
        async with here.connect() as connection:
            seen = [await connection.run_sync(lambda sync: str(inspect(sync).get_columns("books", schema="library")))]
            for n in range(5):
                found = await connection.execute(text("SELECT id, title FROM books WHERE id > :id ORDER BY id"), {"id": n})
                seen.append(found.all())
            async with connection.begin_nested():
                stream = await connection.stream(text("SELECT n FROM generate_series(1, 200) AS n"))
                seen.append([row async for row in stream])
            try:
                await connection.execute(text("SELECT * FROM absent"))
            except sqlalchemy.exc.DBAPIError as error:
                seen.append(error.orig.pgcode)
        await here.dispose()
        return [str(row) for row in seen]
    return asyncio.run(work())


def state(port):
    with engine(port).connect() as connection:
        return connection.execute(text(STATE)).all()


def main():
    # Of types and indexes that it does not know.
    warnings.simplefilter("ignore")
    for work in (reflection, session, isolation, pooled, over_asyncpg):
        compare(work.__name__, work)
    compare("errors", lambda port: failures(port, ["SELECT 1 / 0", "SELECT * FROM absent", "SELECT 'x'::integer"]))
    before = state(DIRECT)
    # A colon in front of a name is a parameter to SQLAlchemy; none of these has one.
    check("writes refused", [("25006", "InternalError", False)] * len(WRITES) + ["still here"],
          failures(GATEWAY, WRITES))
    check("nothing written", before, state(DIRECT))


main()
