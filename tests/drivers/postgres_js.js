// postgres.js: tagged queries, pipelined of its own accord, cursors by Execute's row limit, its pool.
'use strict';

const { randomUUID } = require('crypto');
const { readFileSync } = require('fs');
const postgres = require('postgres');

const { DIRECT, GATEWAY, WRITES, STATE, check, compare, run } = require('./both_ways.js');

// What `work` gives on a pool of its own, and the notices meanwhile.
async function connected(port, work, options = {}) {
  const notices = [];
  const sql = postgres({
    host: '127.0.0.1', port, max: 1, connect_timeout: 10, ssl: false, ...options,
    onnotice: (notice) => notices.push([notice.code, notice.message]),
  });
  try {
    return { found: await work(sql), notices };
  } finally {
    await sql.end({ timeout: 10 });
  }
}

const plain = (result) => ({
  command: result.command, count: result.count, rows: [...result],
  columns: result.columns && result.columns.map((c) => [c.name, c.type, c.table, c.number]),
  statement: result.statement && [result.statement.string, result.statement.types],
});

async function outcome(promise) {
  try {
    return plain(await promise);
  } catch (error) {
    return [error.code, error.severity, error.message, error.detail, error.position];
  }
}

async function kinds(sql) {
  const seen = [];
  for (const id of [0, 1, 2, 0]) {
    seen.push(plain(await sql`SELECT * FROM kinds WHERE id > ${id} ORDER BY id`));
    seen.push(plain(await sql`SELECT id, ints, texts, a_range, a_mood FROM kinds WHERE ints = ${sql.array([1, null, 3], 1007)} OR id = ${id}`));
  }
  seen.push(plain(await sql`SELECT * FROM books WHERE id IN ${sql([1, 2, 3])} AND tags @> ${['t1']} ORDER BY ${sql('id')}`));
  seen.push(plain(await sql`SELECT ${sql(['title', 'price'])} FROM ${sql('library.books')} WHERE ${true ? sql`id < ${4}` : sql``} ORDER BY id`));
  seen.push(plain(await sql`SELECT ${sql.json({ a: [1, null] })}::jsonb, ${Buffer.from([0, 255])}::bytea, ${new Date(0)}::timestamptz, ${null}::text`));
  seen.push([...await sql`SELECT id, title FROM books ORDER BY id`.values()], [...await sql`SELECT a_bytea, a_text FROM kinds ORDER BY id`.raw()]);
  return seen;
}

const CHECKS = {
  kinds: (port) => connected(port, kinds),
  'kinds, unprepared': (port) => connected(port, kinds, { prepare: false }),
  'kinds, without its look at the types': (port) => connected(port, (sql) => sql`SELECT * FROM kinds ORDER BY id`.then(plain), { fetch_types: false }),
  // Of rows that there are: what is divided while a plan is made depends on who made it before.
  pipelined: (port) => connected(port, async (sql) => Promise.all(
    Array.from({ length: 150 }, (_, n) => outcome(sql`SELECT ${n % 10}::int AS n, 100 / ${n % 7}::int AS part, title FROM books WHERE id = ${1 + n % 40}`)))),
  'pipelined in a block': (port) => connected(port, (sql) => sql.begin('read only', (block) => Promise.all(
    Array.from({ length: 40 }, (_, n) => outcome(block`SELECT ${n}::int AS n, count(*) FROM books`))))),
  simple: (port) => connected(port, async (sql) => [
    (await sql`SELECT 1 AS one; SELECT title FROM books ORDER BY id LIMIT 2; SHOW work_mem`.simple()).map(plain),
    plain(await sql.unsafe('SELECT $1::int + 1 AS n', [3])), plain(await sql.unsafe('SELECT 1', [], { prepare: true })),
    await outcome(sql.unsafe('SELECT 1; SELECT 1 / 0; SELECT 2')), plain(await sql`SELECT 1`),
  ]),
  cursors: (port) => connected(port, async (sql) => {
    const seen = [];
    await sql`SELECT id, title FROM books ORDER BY id`.cursor(7, (rows) => { seen.push([...rows]); });
    for await (const rows of sql`SELECT n FROM generate_series(1, ${50}) AS n`.cursor(12)) seen.push([...rows]);
    // Left before its end.
    for await (const rows of sql`SELECT n FROM generate_series(1, ${50}) AS n`.cursor(5)) {
      seen.push([...rows]);
      if (seen.length > 14) break;
    }
    await sql`SELECT id FROM authors ORDER BY id`.cursor(2, (rows) => { seen.push([...rows]); return sql.CLOSE; });
    await sql`SELECT id, name FROM authors ORDER BY id`.forEach((row) => { seen.push(row); });
    await sql.begin(async (block) => {
      for await (const rows of block`SELECT id FROM books ORDER BY id`.cursor(15)) seen.push([...rows]);
      seen.push(plain(await block`SELECT count(*) FROM books`));
    });
    return seen;
  }),
  described: (port) => connected(port, async (sql) => {
    const { string, types, columns } = await sql`SELECT id, title FROM books WHERE id = ${1} AND price < ${'2'}::numeric`.describe();
    return [string, types, columns.map((c) => [c.name, c.type]), plain(await sql`SELECT 2 AS two`)];
  }),
  transactions: (port) => connected(port, async (sql) => {
    const seen = [];
    seen.push(await sql.begin('ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE', async (block) => [
      plain(await block`SHOW transaction_isolation`),
      await block.savepoint((inner) => inner`SELECT 1 / ${0}::int`).catch((error) => error.code),
      await block.savepoint('named', async (inner) => plain(await inner`SELECT max(id) FROM books`)),
    ]));
    seen.push(await sql.begin((block) => [block`SELECT 1 AS a`, block`SELECT 2 AS b`]).then((all) => all.map(plain)));
    seen.push(await sql.begin(async (block) => { await block`SELECT absent`; }).catch((error) => error.code));
    seen.push(plain(await sql`SELECT 'still here' AS x`));
    return seen;
  }),
  reserved: (port) => connected(port, async (sql) => {
    const own = await sql.reserve();
    await own`SET work_mem = '7MB'`;
    const seen = [plain(await own`SHOW work_mem`), plain(await own`SELECT set_config('TimeZone', 'Asia/Tokyo', false)`),
      plain(await own`SELECT a_stamptz::text FROM kinds ORDER BY id`)];
    own.release();
    return seen;
  }, { connection: { application_name: 'postgres.js', search_path: 'library,pg_catalog', statement_timeout: 20000 } }),
  COPY: (port) => connected(port, async (sql) => {
    const seen = [];
    for (const query of [sql`COPY books TO STDOUT`, sql`COPY (SELECT * FROM kinds) TO STDOUT WITH (FORMAT csv, HEADER)`]) {
      for await (const chunk of await query.readable()) seen.push(chunk.toString());
    }
    return [seen.join(''), plain(await sql`SELECT 'behind COPY' AS x`)];
  }),
  cancelled: (port) => connected(port, async (sql) => {
    // Its cancel goes out once, and has no effect on a server that does not run the statement yet.
    const text = `SELECT pg_sleep(30) AS "${randomUUID()}"`;
    const query = sql.unsafe(text, [], { prepare: true });
    const ended = outcome(query);
    await connected(DIRECT, async (direct) => {
      const asleep = () => direct`SELECT 1 FROM pg_stat_activity WHERE query = ${text} AND wait_event = 'PgSleep'`;
      const deadline = Date.now() + 20000;
      while ((await asleep()).count === 0 && Date.now() < deadline);
    });
    query.cancel();
    return [await ended, plain(await sql`SELECT 'still here' AS x`)];
  }),
  errors: (port) => connected(port, async (sql) => {
    const seen = [];
    for (const bad of ['SELECT 1 / 0', 'SELECT * FROM absent', "SELECT 'x'::int", "SELECT 'a'::mood", 'SELECT 1 +']) {
      seen.push(await outcome(sql.unsafe(bad)), await outcome(sql.unsafe(bad, [], { prepare: true })));
    }
    seen.push(await outcome(sql`SELECT ${'x'}::text::int`), plain(await sql`SELECT 'still here' AS x`));
    return seen;
  }),
  pool: (port) => connected(port, async (sql) => Promise.all(Array.from({ length: 60 }, (_, n) => (n % 3
    ? sql`SELECT id, title FROM books WHERE id = ${1 + n % 40}`.then(plain)
    : sql.begin((block) => block`SELECT ${n}::int AS n`.then(plain))))), { max: 5, idle_timeout: 5, max_lifetime: 60 }),
  // It makes types for the elements of arrays that it was told of by the catalog.
  'types of its own': (port) => connected(port, async (sql) => [plain(await sql`SELECT ${sql.typed([1, 2], 1007)}, ${sql.typed.twice(4)}::int AS eight`)],
    { types: { twice: { to: 23, from: [23], serialize: (n) => String(n * 2), parse: (n) => `<${n}>` } } }),
};

async function main() {
  for (const [name, work] of Object.entries(CHECKS)) await compare(name, work);
  const ca = readFileSync(process.env.GATEWAY_CA);
  const shelf = (sql) => sql`TABLE shelf`.then(plain);
  check('TLS', await connected(DIRECT, shelf), await connected(GATEWAY, shelf, { host: 'localhost', ssl: { ca } }));

  const state = () => connected(DIRECT, (sql) => sql.unsafe(STATE).then(plain));
  const before = await state();
  const refused = await connected(GATEWAY, async (sql) => {
    const codes = [];
    for (const write of WRITES) {
      codes.push((await outcome(sql.unsafe(write)))[0], (await outcome(sql.unsafe(write, [], { prepare: true })))[0]);
      codes.push(await sql.begin(async (block) => { await block.unsafe(write); }).catch((error) => error.code));
    }
    codes.push((await outcome(sql`INSERT INTO authors ${sql([{ name: 'refused' }, { name: 'too' }])}`))[0]);
    codes.push(await sql.listen('refused', () => {}).catch((error) => error.code));
    codes.push((await sql`SELECT 'still here' AS x`)[0].x);
    return codes;
  });
  check('writes refused', [...WRITES.flatMap(() => ['25006', '25006', '25006']), '25006', '25006', 'still here'], refused.found);
  check('nothing written', before, await state());
}

run(main);
