import { jest } from '@jest/globals';
import pg from 'pg';

interface Node {
  'Node Type': string;
  'Relation Name'?: string;
  'Index Name'?: string;
  'Actual Rows'?: number;
  'Actual Loops'?: number;
  'Rows Removed by Filter'?: number;
  'Rows Removed by Index Recheck'?: number;
  'Rows Removed by Join Filter'?: number;
  'Shared Hit Blocks'?: number;
  'Shared Read Blocks'?: number;
  Plans?: Node[];
}

/** How PostgreSQL executed one statement, the nested ones of triggers and foreign keys included. */
export interface ExecutedPlan {
  text: string;
  /** Tables that were read from one end to the other. */
  scanned: string[];
  /** Rows of tables and entries of indexes that were looked at, whether they were wanted or not. */
  touched: number;
  /** Pages that were looked at. */
  pages: number;
  raw: Node;
}

/** Every connection to this database from now on tells the plan of everything it executes. @param url of a superuser */
export async function explainEverything(url: string): Promise<void> {
  const settings = {
    session_preload_libraries: 'auto_explain',
    'auto_explain.log_min_duration': '0',
    'auto_explain.log_analyze': 'on',
    'auto_explain.log_buffers': 'on',
    'auto_explain.log_timing': 'off',
    'auto_explain.log_nested_statements': 'on',
    'auto_explain.log_parameter_max_length': '0',
    'auto_explain.log_format': 'json',
    'auto_explain.log_level': 'notice',
  };
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const database = new URL(url).pathname.slice(1);
    for (const [name, value] of Object.entries(settings))
      await client.query(`ALTER DATABASE ${database} SET ${name} = '${value}'`);
  } finally {
    await client.end();
  }
}

/** Plans of all statements that go from this process to PostgreSQL meanwhile, by whatever library. */
export async function plansDuring(work: () => Promise<unknown>): Promise<ExecutedPlan[]> {
  const emitted = jest.spyOn(pg.Client.prototype, 'emit');
  try {
    await work();
    const notices = emitted.mock.calls.filter(([event]) => (event as string) === 'notice');
    return notices.flatMap(([, notice]: unknown[]) => planOf(notice as { message?: string }));
  } finally {
    emitted.mockRestore();
  }
}

function planOf({ message = '' }: { message?: string }): ExecutedPlan[] {
  if (!/^duration: .* plan:/.test(message)) return [];
  const { 'Query Text': text, Plan: raw } = JSON.parse(message.slice(message.indexOf('{'))) as {
    'Query Text': string;
    Plan: Node;
  };
  const nodes = [...walk(raw)];
  return [
    {
      text,
      scanned: nodes
        .filter((node) => node['Node Type'] === 'Seq Scan' && node['Actual Loops'] !== 0)
        .map((node) => node['Relation Name']!),
      touched: nodes.reduce((sum, node) => sum + touchedBy(node), 0),
      pages: (raw['Shared Hit Blocks'] ?? 0) + (raw['Shared Read Blocks'] ?? 0),
      raw,
    },
  ];
}

function* walk(node: Node): Generator<Node> {
  yield node;
  for (const child of node.Plans ?? []) yield* walk(child);
}

function touchedBy(node: Node): number {
  const loops = node['Actual Loops'] ?? 0;
  // A join that compares each row with all of the other side.
  const compared = (node['Rows Removed by Join Filter'] ?? 0) * loops;
  if (
    !node['Node Type'].endsWith('Scan') ||
    /^(CTE|Function|Values|Subquery|WorkTable|Named Tuplestore) Scan$/.test(node['Node Type'])
  )
    return Math.round(compared);
  const each =
    (node['Actual Rows'] ?? 0) +
    (node['Rows Removed by Filter'] ?? 0) +
    (node['Rows Removed by Index Recheck'] ?? 0);
  return Math.round(each * loops);
}
