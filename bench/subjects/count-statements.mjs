/** Loaded into the service before itself: writes every statement that goes to PostgreSQL to a file, one JSON text a line. */
import { appendFileSync } from 'node:fs';
import pg from 'pg';

const file = process.env.BENCH_STATEMENTS_FILE;
const { prototype } = pg.Client;
const original = Object.getOwnPropertyDescriptor(prototype, 'query').value;

prototype.query = function counted(first, ...rest) {
  // A prepared statement is known by its name where its text is not sent again.
  const text = typeof first === 'string' ? first : (first?.text ?? first?.name ?? String(first));
  appendFileSync(file, `${JSON.stringify(text)}\n`);
  return original.call(this, first, ...rest);
};
