// node-postgres: unnamed and named statements, its pool, results in text and in binary.
'use strict';

const { Client, Pool } = require('pg');

const { DIRECT, GATEWAY, WRITES, STATE, check, compare, run } = require('./both_ways.js');

async function connected(port, work, options = {}) {
  const client = new Client({ host: '127.0.0.1', port, connectionTimeoutMillis: 10000, ...options });
  const notices = [];
  client.on('notice', (notice) => notices.push([notice.code, notice.message]));
  await client.connect();
  try {
    return { found: await work(client), notices };
  } finally {
    await client.end();
  }
}

const plain = (result) => Array.isArray(result) ? result.map(plain) : {
  command: result.command, rowCount: result.rowCount, rows: result.rows,
  fields: result.fields.map((f) => [f.name, f.tableID, f.columnID, f.dataTypeID, f.dataTypeSize, f.dataTypeModifier, f.format]),
};

async function outcome(promise) {
  try {
    return plain(await promise);
  } catch (error) {
    return [error.code, error.severity, error.message, error.detail, error.position];
  }
}

const CHECKS = {
  kinds: (port) => connected(port, async (client) => [
    plain(await client.query('SELECT * FROM kinds ORDER BY id')),
    plain(await client.query({ text: 'SELECT * FROM kinds WHERE id > $1 ORDER BY id', values: [0], rowMode: 'array' })),
    plain(await client.query({ text: 'SELECT id, a_small, a_big, a_text, a_bytea, a_bool FROM kinds ORDER BY id', values: [], binary: true })),
  ]),
  parameters: (port) => connected(port, async (client) => {
    const seen = [];
    for (const id of [1, 2, 3, 1]) {
      seen.push(plain(await client.query('SELECT title, price, $2::text, $3::jsonb, $4::int[] FROM books WHERE id = $1',
        [id, "it's", { a: [id, null] }, [1, null, 3]])));
      seen.push(plain(await client.query('SELECT $1::bytea, $2::timestamptz', [Buffer.from([0, 255, id]), new Date(0)])));
    }
    return seen;
  }),
  named: (port) => connected(port, async (client) => {
    const seen = [];
    for (let n = 1; n < 12; n += 1) {
      seen.push(plain(await client.query({ name: `by id ${n % 3}`, text: `SELECT ${n % 3}, title FROM books WHERE id = $1`, values: [n] })));
    }
    seen.push(await outcome(client.query({ name: 'bad', text: 'SELECT absent FROM books' })));
    seen.push(await outcome(client.query({ name: 'bad', text: 'SELECT 1 / $1::int', values: [0] })));
    seen.push(await outcome(client.query({ name: 'bad', text: 'SELECT 1 / $1::int', values: [1] })));
    return seen;
  }),
  portals: (port) => connected(port, async (client) => {
    // `rows` fetches the portal in parts, all of them.
    return plain(await client.query({ text: 'SELECT n FROM generate_series(1, $1::int) AS n', values: [50], rows: 7 }));
  }),
  'several statements': (port) => connected(port, async (client) => [
    plain(await client.query('SELECT 1 AS one; SELECT title FROM books ORDER BY id LIMIT 2; SHOW work_mem')),
    await outcome(client.query('SELECT 1; SELECT 1 / 0; SELECT 2')),
    plain(await client.query('')),
    plain(await client.query('SELECT 1')),
  ]),
  'queued at once': (port) => connected(port, async (client) => Promise.all(
    Array.from({ length: 20 }, (_, n) => outcome(client.query('SELECT 100 / ($1::int % 7) AS n', [n]))))),
  transactions: (port) => connected(port, async (client) => {
    const seen = [];
    for (const sql of ['BEGIN', 'SELECT count(*) FROM books', 'SAVEPOINT a', 'SELECT 1 / 0', 'SELECT 1', 'ROLLBACK TO a',
      'SELECT max(id) FROM books', 'COMMIT', 'BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE', 'SHOW transaction_isolation',
      'ROLLBACK', 'ROLLBACK', 'BEGIN', 'BEGIN', 'SELECT absent', 'COMMIT', 'SELECT 1']) {
      seen.push(await outcome(client.query(sql)));
    }
    return seen;
  }),
  settings: (port) => connected(port, async (client) => {
    const seen = [plain(await client.query('SHOW work_mem')), plain(await client.query('SHOW statement_timeout'))];
    await client.query("SET TIME ZONE 'Asia/Tokyo'");
    seen.push(plain(await client.query('SELECT a_stamptz::text FROM kinds ORDER BY id')));
    seen.push(await outcome(client.query('SELECT pg_sleep(10)')));
    return seen;
  }, { options: '-c work_mem=7MB', statement_timeout: 200, application_name: 'node' }),
  pool: async (port) => {
    const pool = new Pool({ host: '127.0.0.1', port, max: 3 });
    const found = await Promise.all(Array.from({ length: 40 }, async (_, n) => {
      const client = await pool.connect();
      try {
        await client.query('BEGIN');
        const { rows } = await client.query('SELECT id, title FROM books WHERE id = $1', [1 + n % 40]);
        await client.query('COMMIT');
        return rows;
      } finally {
        client.release();
      }
    }));
    await pool.end();
    return found;
  },
};

async function main() {
  for (const [name, work] of Object.entries(CHECKS)) await compare(name, work);
  const ca = require('fs').readFileSync(process.env.GATEWAY_CA);
  const shelf = (client) => client.query('TABLE shelf').then(plain);
  check('TLS', await connected(DIRECT, shelf), await connected(GATEWAY, shelf, { host: 'localhost', ssl: { ca } }));

  const state = () => connected(DIRECT, (client) => client.query(STATE).then(plain));
  const before = await state();
  const refused = await connected(GATEWAY, async (client) => {
    const codes = [];
    for (const sql of WRITES) {
      codes.push((await outcome(client.query(sql)))[0]);
      codes.push((await outcome(client.query({ name: sql.slice(0, 20), text: sql })))[0]);
    }
    codes.push((await client.query("SELECT 'still here' AS x")).rows[0].x);
    return codes;
  });
  check('writes refused', [...WRITES.flatMap(() => ['25006', '25006']), 'still here'], refused.found);
  check('nothing written', before, await state());
}

run(main);
