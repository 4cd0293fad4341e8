"""Django over psycopg2: `inspectdb`, its ORM, server-side cursors in and out of blocks, its checks."""

import io
import os
import sys
import types
import warnings

import django
from django.conf import settings
from django.contrib.postgres.aggregates import ArrayAgg
from django.contrib.postgres.fields import ArrayField
from django.core.management import call_command
from django.db import Error, connections, models, transaction
from django.db.models import Avg, Count, F, Func, Max, OuterRef, Prefetch, Q, Subquery, Sum, Value, Window
from django.db.models.functions import Lower, Rank, TruncMonth

from common import DIRECT, GATEWAY, STATE, WRITES, check, compare


def database(port, **more):
    return {"ENGINE": "django.db.backends.postgresql", "HOST": os.environ["PGHOST"], "PORT": port,
            "USER": os.environ["PGUSER"], "PASSWORD": os.environ["PGPASSWORD"],
            "NAME": os.environ["PGDATABASE"], **more}


def databases():
    """Each kind of connection on both ways: `plain-5432`, `snapshot-5432`, …"""
    found = {"default": {}}
    for port in (DIRECT, GATEWAY):
        found[f"plain-{port}"] = database(port)
        found[f"snapshot-{port}"] = database(port, OPTIONS={"isolation_level": 2, "options": "-c work_mem=7MB"})
        found[f"manual-{port}"] = database(port, AUTOCOMMIT=False)
        found[f"few-{port}"] = database(port, DISABLE_SERVER_SIDE_CURSORS=True, CONN_MAX_AGE=60, TIME_ZONE="Asia/Tokyo")
    return found


# The application that the models below are of.
sys.modules["drivers"] = types.ModuleType("drivers")
sys.modules["drivers"].__path__ = [os.path.dirname(__file__)]
settings.configure(DATABASES=databases(), USE_TZ=True, TIME_ZONE="UTC", INSTALLED_APPS=["django.contrib.postgres", "drivers"])
django.setup()


class Author(models.Model):
    name = models.TextField(unique=True)
    born = models.DateField(null=True)
    country = models.CharField(max_length=2, null=True)

    class Meta:
        app_label, managed, db_table = "drivers", False, "authors"


class Book(models.Model):
    author = models.ForeignKey(Author, models.CASCADE, related_name="books")
    title = models.CharField(max_length=80)
    price = models.DecimalField(max_digits=8, decimal_places=2, null=True)
    tags = ArrayField(models.TextField())
    details = models.JSONField(null=True)

    class Meta:
        app_label, managed, db_table = "drivers", False, "books"


class Loan(models.Model):
    book = models.OneToOneField(Book, models.DO_NOTHING, primary_key=True)
    day = models.DateField()
    reader = models.TextField()

    class Meta:
        app_label, managed, db_table = "drivers", False, "loans"


def on(alias, work):
    """What `work(connection)` gives on the way that leads to `port`; the thread's connection ends with it."""
    def run(port):
        connection = connections[f"{alias}-{port}"]
        try:
            return work(connection)
        finally:
            connection.close()
    return run


def inspected(connection):
    """The models that it writes for the tables there are, and what it asked for that."""
    out, errors = io.StringIO(), io.StringIO()
    call_command("inspectdb", database=connection.alias, include_views=True, include_partitions=True,
                 stdout=out, stderr=errors)
    seen = [out.getvalue(), errors.getvalue()]
    with connection.cursor() as cursor:
        ask = connection.introspection
        for table in ask.get_table_list(cursor):
            seen += [table, ask.get_table_description(cursor, table.name), ask.get_sequences(cursor, table.name),
                     ask.get_relations(cursor, table.name), ask.get_key_columns(cursor, table.name),
                     ask.get_primary_key_column(cursor, table.name), ask.get_constraints(cursor, table.name)]
    features = connection.features
    return seen + [features.supports_transactions, features.is_postgresql_13, connection.pg_version]


def read(connection):
    books = Book.objects.using(connection.alias).order_by("id")
    authors = Author.objects.using(connection.alias).order_by("id")
    return [
        list(books.values_list()), list(books.select_related("author").values_list("title", "author__name")),
        [(a.name, [b.title for b in a.books.all()]) for a in
         authors.prefetch_related(Prefetch("books", Book.objects.order_by("-price")))],
        books.filter(Q(tags__contains=["t1"]) | Q(details__pages__gt=200), title__icontains="TITLE").count(),
        list(books.filter(details__names__1=None).values_list("details__pages", flat=True)),
        list(authors.annotate(n=Count("books"), worth=Sum("books__price"), ids=ArrayAgg("books__id", ordering="books__id"))
             .values_list("name", "n", "worth", "ids")),
        books.aggregate(Avg("price"), Max("id"), total=Sum(F("price") * 2)),
        list(books.annotate(place=Window(Rank(), [F("author")], F("price").desc()), low=Lower("title")).values_list("place", "low")),
        list(authors.annotate(last=Subquery(Book.objects.filter(author=OuterRef("pk")).order_by("-id").values("title")[:1]))
             .values_list("name", "last")),
        list(Loan.objects.using(connection.alias).annotate(month=TruncMonth("day")).values("month").annotate(n=Count("*")).order_by("month")),
        books.get(pk=7).author.name, books.first().title, books.last().title, books.exists(), books.none().count(),
        books.in_bulk([1, 2, 3])[2].title, list(books.dates("author__born", "year")),
        [b.title for b in Book.objects.using(connection.alias).raw("SELECT * FROM books WHERE id > %s ORDER BY id", [35])],
        books.filter(id=1).union(books.filter(id=2)).order_by("id").values_list("title", flat=True)[1],
        books.filter(pk__lt=3).annotate(v=Func(Value("a"), function="upper", output_field=models.TextField())).values("v")[0],
        "Seq Scan" in books.filter(price__gt=1).order_by().explain(analyze=True, verbose=True),
    ]


def iterated(connection):
    """In autocommit mode its cursors are WITH HOLD; in a block they are not. Two may be open at once."""
    books = Book.objects.using(connection.alias).order_by("id")
    seen = [[b.title for b in books.iterator(chunk_size=7)]]
    rows = books.values_list("id", "title").iterator(chunk_size=5)
    seen += [next(rows), books.count(), list(books.filter(id__gt=30).values_list("id").iterator(chunk_size=2)), list(rows)]
    with transaction.atomic(using=connection.alias):
        rows = books.iterator(chunk_size=3)
        seen += [next(rows).title, Author.objects.using(connection.alias).count(), [b.id for b in rows]]
    # One that is not read to its end.
    rows = books.iterator(chunk_size=4)
    seen.append(next(rows).title)
    rows.close()
    return seen + [books.count()]


def failure(work):
    try:
        work()
        return "no error"
    except Error as error:
        return (type(error).__name__, getattr(error.__cause__, "pgcode", None))


def blocks(connection):
    books = Book.objects.using(connection.alias)
    seen = []

    def bad():
        with transaction.atomic(using=connection.alias):
            list(books.extra(where=["1 / 0 > 0"]))

    with transaction.atomic(using=connection.alias):
        seen += [books.count(), failure(bad), books.count(), connection.in_atomic_block, connection.needs_rollback]
        point = transaction.savepoint(using=connection.alias)
        seen.append(failure(lambda: books.raw("SELECT absent FROM books")[0]))
        transaction.savepoint_rollback(point, using=connection.alias)
        seen.append(books.filter(id__lt=4).count())
        transaction.set_rollback(True, using=connection.alias)
    hooked = []
    with transaction.atomic(using=connection.alias, durable=True):
        transaction.on_commit(lambda: hooked.append(books.count()), using=connection.alias)
    return seen + hooked + [failure(bad), connection.is_usable()]


def session(connection):
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('transaction_isolation'), current_setting('TimeZone'), "
                       "current_setting('work_mem'), a_stamptz FROM kinds WHERE id = 1")
        seen = [cursor.fetchall(), connection.get_autocommit()]
        cursor.callproc("twice", [21])
        seen.append(cursor.fetchone())
        with transaction.atomic(using=connection.alias) if connection.get_autocommit() else io.StringIO():
            cursor.copy_expert("COPY (SELECT * FROM shelf ORDER BY 1) TO STDOUT CSV", sink := io.StringIO())
            seen.append(sink.getvalue())
        if not connection.get_autocommit():
            connection.rollback()
            seen.append(Book.objects.using(connection.alias).count())
            connection.commit()
    seen.append([b.id for b in Book.objects.using(connection.alias).order_by("id").iterator(chunk_size=9)])
    return seen


def managed(connection):
    """What its commands ask when nothing is to be done."""
    out = io.StringIO()
    call_command("check", databases=[connection.alias], stdout=out)
    call_command("showmigrations", database=connection.alias, stdout=out)
    return out.getvalue()


def refusals(connection):
    books = Book.objects.using(connection.alias)
    tries = [lambda: Author.objects.using(connection.alias).create(name="refused"), lambda: books.update(price=0),
             lambda: books.filter(id=1).delete(), lambda: books.get(pk=1).save(using=connection.alias),
             lambda: Author.objects.using(connection.alias).bulk_create([Author(name="a"), Author(name="b")]),
             lambda: Author.objects.using(connection.alias).get_or_create(name="refused")]

    def locked():
        with transaction.atomic(using=connection.alias):
            list(books.select_for_update())

    def raw(sql):
        with connection.cursor() as cursor:
            cursor.execute(sql)

    found = [failure(work) for work in [*tries, locked]] + [failure(lambda: raw(sql)) for sql in WRITES]
    return found + [len(tries) + 1, books.count()]


def state(connection):
    with connection.cursor() as cursor:
        cursor.execute(STATE)
        return cursor.fetchall()


def main():
    # Of columns that it has no field for.
    warnings.simplefilter("ignore")
    for work in (inspected, read, iterated, blocks, session, managed):
        compare(work.__name__, on("plain", work))
    for alias in ("snapshot", "manual", "few"):
        compare(f"session, {alias}", on(alias, session))
    for alias in ("snapshot", "few"):
        compare(f"iterated, {alias}", on(alias, iterated))

    before = on("plain", state)(DIRECT)
    *found, tries, books = on("plain", refusals)(GATEWAY)
    check("writes refused", [("InternalError", "25006")] * (tries + len(WRITES)), found)
    check("reads go on", 40, books)
    check("nothing written", before, on("plain", state)(DIRECT))


main()
