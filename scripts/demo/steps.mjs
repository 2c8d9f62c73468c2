const MEBIBYTE = 1024 * 1024;

/** Times the steps of the demonstration and sets them out as a table. */
export class Steps {
  #rows = [];

  /** @param {number} bytes how many the step moves */
  async run(step, bytes, how, work) {
    const began = performance.now();
    await work();
    const seconds = (performance.now() - began) / 1000;
    this.#rows.push([
      step,
      bytes.toLocaleString('en'),
      seconds.toFixed(2),
      (bytes / MEBIBYTE / seconds).toFixed(0),
      how,
    ]);
  }

  table() {
    const rows = [['step', 'bytes', 'seconds', 'MiB/s', 'by'], ...this.#rows];
    const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
    const isNumber = (column) => column > 0 && column < 4;
    const lines = rows.map((row) =>
      row
        .map((cell, column) =>
          isNumber(column) ? cell.padStart(widths[column]) : cell.padEnd(widths[column]),
        )
        .join('  ')
        .trimEnd(),
    );
    return ['', ...lines, ''].map((line) => `  ${line}`.trimEnd()).join('\n');
  }
}
