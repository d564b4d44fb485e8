// Answers SQL on behalf of the Go tests, so that what we write is read back by
// a program that shares no code with us.
//
// Each line on stdin is a request, {"sql": "..."}; each gets one line on
// stdout, in order: {"columns": [...], "rows": [[...], ...]} with every value
// as text or null, or {"error": "..."}. Of several statements in one request,
// all run and the last one answers. The first line of all, before any request,
// is {"ready": "<DuckDB version>"}, or {"missing": "<why>"} and the script ends.
//
// One connection to one in-memory database serves every request, so tables and
// settings stay.

import { createInterface } from 'node:readline';

const say = (answer) => process.stdout.write(JSON.stringify(answer) + '\n');

let duckdb;
try {
  duckdb = await import('@duckdb/node-api');
} catch (err) {
  // Not installed, or installed without the binary of this platform.
  say({ missing: String(err.message).split('\n')[0] });
  process.exit(1);
}

const db = await duckdb.DuckDBInstance.create(':memory:', {
  threads: '2',
  // A test must not depend on the network, and DuckDB would otherwise try to
  // fetch an extension for a name it does not know. JSON, Parquet and ICU are
  // part of the binary.
  autoinstall_known_extensions: 'false',
  autoload_known_extensions: 'false',
});
const connection = await db.connect();
await connection.run("SET TimeZone = 'UTC'");

async function answer(sql) {
  const statements = await connection.extractStatements(sql);
  if (statements.count === 0) {
    throw new Error('no statement in the request');
  }
  let reader;
  for (let i = 0; i < statements.count; i++) {
    const prepared = await statements.prepare(i);
    reader = await prepared.runAndReadAll();
  }
  const rows = reader.getRows().map((row) => row.map((v) => (v === null ? null : String(v))));
  return { columns: reader.columnNames(), rows };
}

say({ ready: duckdb.version() });

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  try {
    say(await answer(JSON.parse(line).sql));
  } catch (err) {
    say({ error: String(err.message) });
  }
}
