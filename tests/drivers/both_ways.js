// What the Node.js scripts share: the two ways to the server, and the comparison of both.
'use strict';

const { inspect } = require('util');

const DIRECT = Number(process.env.DIRECT_PORT);
const GATEWAY = Number(process.env.GATEWAY_PORT);

// More clients than the gateway has connections, each twice: the second time may be cached.
const CLIENTS = 4;
const ROUNDS = 2;

// Each must be refused with 25006 and leave nothing behind.
const WRITES = [
  "INSERT INTO authors (name) VALUES ('refused')",
  'UPDATE books SET price = 0',
  'DELETE FROM loans',
  'TRUNCATE loans',
  'CREATE TABLE refused (a int)',
  'SELECT * INTO refused FROM books',
  'SELECT * FROM books FOR UPDATE',
  "SELECT nextval('tickets')",
  "SELECT add_author('refused')",
];

// Whether anything was written: the same before and after.
const STATE = `SELECT (SELECT count(*) FROM authors), (SELECT count(*) FROM loans),
  (SELECT sum(price) FROM books), (SELECT count(*) FROM pg_class), (SELECT is_called FROM tickets)`;

// BigInt, Buffer, Date, NaN and undefined must not look alike.
const text = (value) => inspect(value, { depth: null, maxArrayLength: null, maxStringLength: null });

// Compares what came back on the two ways; the first difference ends the script.
function check(name, direct, through) {
  const [one, other] = [text(direct), text(through)];
  if (one !== other) {
    let start = 0;
    while (one[start] === other[start]) start += 1;
    start = Math.max(0, start - 200);
    console.log(`DIFFERS ${name}\n  direct:  ${one.slice(start, start + 1200)}\n  gateway: ${other.slice(start, start + 1200)}`);
    process.exit(1);
  }
  console.log(`ok ${name}`);
}

// Does `work(port)` directly, then by several clients at once through the gateway.
async function compare(name, work) {
  const direct = await work(DIRECT);
  const clients = Array.from({ length: CLIENTS }, async () => {
    const rounds = [];
    for (let round = 0; round < ROUNDS; round += 1) rounds.push(await work(GATEWAY));
    return rounds;
  });
  const found = (await Promise.all(clients)).flat();
  check(name, direct, found.find((one) => text(one) !== text(direct)) || direct);
}

function run(main) {
  main().catch((error) => {
    console.log(error);
    process.exit(1);
  });
}

module.exports = { DIRECT, GATEWAY, WRITES, STATE, check, compare, run };
