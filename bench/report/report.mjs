import { verdict } from '../claims.mjs';
import { median, range } from '../statistics.mjs';
import { table } from './table.mjs';

const MEBIBYTE = 1024 * 1024;
const GIBIBYTE = 1024 * MEBIBYTE;

const VERDICTS = { pass: 'pass', aim: 'pass, aim reached', miss: '**miss**', 'not measured': 'not measured' };

/** The table that is checked. */
export function claimsTable(outcomes) {
  const claims = outcomes.flatMap(({ claims }) => claims).toSorted((a, b) => a.row - b.row);
  return table(
    ['row', 'what', 'measured', 'rounds', 'at least', 'aim', 'verdict'],
    claims.map((one) => {
      const limit = one.atMost === undefined ? `${one.atLeast}` : `≤ ${one.atMost}`;
      const unit = one.unit ? ` ${one.unit}` : '';
      return [
        String(one.row),
        one.what,
        one.missing ? '–' : `${number(one.value)}${unit}`,
        one.range ? `${number(one.range[0])}–${number(one.range[1])}` : '',
        `${limit}${unit}`,
        typeof one.aim === 'number' ? number(one.aim) : (one.aim ?? ''),
        VERDICTS[verdict(one)],
      ];
    }),
  );
}

/** What each subject did, and what it took for that. */
export function seriesTables(outcomes) {
  return outcomes
    .filter(({ series = [], notes = [] }) => series.length + notes.length > 0)
    .map(({ title, series = [], notes = [] }) =>
      [
        `### ${title}`,
        ...(series.length > 0 ? [seriesTable(series)] : []),
        ...storeCosts(series),
        ...notes,
      ].join('\n\n'),
    )
    .join('\n\n');
}

function seriesTable(series) {
  const columns = [
    ['subject', ({ name }) => name],
    ['median', ({ values, unit }) => `${number(median(values))} ${unit}`],
    ['min–max', ({ values }) => range(values).map(number).join('–')],
    ['p50 ms', ({ p50 }) => p50 && number(median(p50))],
    ['p99 ms', ({ p99 }) => p99 && number(median(p99))],
    ['CPU s/GiB', (one) => one.bytes > 0 && one.cpu > 0 && number((one.cpu / one.bytes) * GIBIBYTE)],
    ['CPU ms/request', (one) => one.requests > 0 && one.cpu > 0 && number((one.cpu / one.requests) * 1000)],
    [
      'MinIO s/GiB',
      (one) => one.bytes > 0 && one.storeCpu > 0 && number((one.storeCpu / one.bytes) * GIBIBYTE),
    ],
    [
      'MinIO ms/request',
      (one) => one.requests > 0 && one.storeCpu > 0 && number((one.storeCpu / one.requests) * 1000),
    ],
    ['client CPU', ({ clientCpu, seconds }) => `${((clientCpu / seconds) * 100).toFixed(0)} %`],
    ['peak RSS MiB', ({ peakMemory }) => peakMemory && (peakMemory / MEBIBYTE).toFixed(0)],
    [
      'its children MiB',
      ({ childrenMemory }) => childrenMemory > 0 && (childrenMemory / MEBIBYTE).toFixed(0),
    ],
  ];
  const shown = columns.filter(([, cell]) => series.some(cell));
  return table(
    shown.map(([name]) => name),
    series.map((one) => shown.map(([, cell]) => cell(one) || '')),
  );
}

function storeCosts(series) {
  const costs = series.filter(({ storeCost }) => storeCost);
  if (costs.length === 0) return [];
  const rows = costs.map(({ name, storeCost }) => [
    name,
    number(storeCost.requestsPerGibibyte),
    storeCost.receivedPerByte.toFixed(4),
    storeCost.sentPerByte.toFixed(4),
    Object.entries(storeCost.requests)
      .toSorted(([, a], [, b]) => b - a)
      .map(([api, count]) => `${api} ${count}`)
      .join(', '),
  ]);
  return [
    table(
      ['at MinIO', 'requests/GiB', 'bytes in per byte', 'bytes out per byte', 'requests in all rounds'],
      rows,
    ),
  ];
}

/** Three digits that mean something. */
export function number(value) {
  if (!Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  if (size >= 100) return value.toFixed(0);
  return size >= 10 ? value.toFixed(1) : value.toFixed(2);
}
