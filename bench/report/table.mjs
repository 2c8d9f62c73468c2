/** @returns {string} a table that reads well as text and as Markdown; numbers stand right */
export function table(head, rows) {
  const all = [head, ...rows];
  const width = (column) => Math.max(3, ...all.map((row) => [...row[column]].length));
  const widths = head.map((_, column) => width(column));
  const right = head.map(
    (_, column) => rows.length > 0 && rows.every((row) => /^[-–≤≥\d.,()% ]*$/.test(row[column])),
  );
  const pad = (cell, column) => {
    const space = ' '.repeat(widths[column] - [...cell].length);
    return right[column] ? space + cell : cell + space;
  };
  const line = (row) => `| ${row.map(pad).join(' | ')} |`;
  const rule = widths.map((wide, column) => (right[column] ? `${'-'.repeat(wide - 1)}:` : '-'.repeat(wide)));
  return [line(head), `| ${rule.join(' | ')} |`, ...rows.map(line)].join('\n');
}
