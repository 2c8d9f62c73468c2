/** Loaded into the service before itself: writes every statement that goes to PostgreSQL to a file, one JSON text a line. */
import { appendFileSync } from 'node:fs';
import pg from 'pg';

const file = process.env.BENCH_STATEMENTS_FILE;
// oxlint-disable-next-line typescript/unbound-method -- called on its own connection below
const { query } = pg.Client.prototype;

pg.Client.prototype.query = function counted(first, ...rest) {
  // A prepared statement is known by its name; a submittable of pg-cursor and the like by what it says itself.
  const text = typeof first === 'string' ? first : (first?.text ?? first?.name ?? String(first));
  appendFileSync(file, `${JSON.stringify(text)}\n`);
  return query.call(this, first, ...rest);
};
