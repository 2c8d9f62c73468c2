const EVERY_MS = 2_000;

/** For people who wait: a line on stderr every two seconds at most, and none in between. */
export function progress<State>(line: (state: State) => string): (state: State) => void {
  let next = performance.now() + EVERY_MS;
  return (state) => {
    if (performance.now() < next) return;
    next = performance.now() + EVERY_MS;
    process.stderr.write(`${line(state)}\n`);
  };
}

/** The first ones, and how many more there are. */
export function firstOf(most: number, lines: string[]): string[] {
  return lines.length <= most ? lines : [...lines.slice(0, most), `… and ${lines.length - most} more`];
}
