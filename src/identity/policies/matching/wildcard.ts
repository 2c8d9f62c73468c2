/** `*`: any characters, or none. */
export const ANY = 0;
/** `?`: exactly one UTF-16 unit. */
export const ONE = 1;

/** A piece of text that stands for itself, or a wildcard. */
export type WildcardToken = string | typeof ANY | typeof ONE;

/** Text between two `*`; where it has a `?`, `ones` says at which of its units. */
interface Run {
  text: string;
  ones: ReadonlySet<number> | null;
}

/**
 * A pattern of `*` and `?` over whole texts, case-sensitive. Each run between two `*` is searched once from where the one
 * before ended, and nothing is ever tried again: time grows at most with the product of the two lengths, whatever either of
 * them says.
 */
export class Wildcard {
  private constructor(
    private readonly first: Run,
    private readonly middle: readonly Run[],
    /** Null when there is no `*`: the first run is the whole text. */
    private readonly last: Run | null,
  ) {}

  /** @param pattern every `*` and `?` in it is a wildcard */
  static parse(pattern: string): Wildcard {
    return Wildcard.of(wildcardTokens(pattern));
  }

  static of(tokens: readonly WildcardToken[]): Wildcard {
    const runs: Run[] = [];
    let text = '';
    let ones: Set<number> | null = null;
    for (const token of tokens) {
      if (token === ANY) {
        runs.push({ text, ones });
        text = '';
        ones = null;
      } else if (token === ONE) {
        (ones ??= new Set()).add(text.length);
        text += '?';
      } else {
        text += token;
      }
    }
    runs.push({ text, ones });
    const [first, ...rest] = runs as [Run, ...Run[]];
    const last = rest.pop() ?? null;
    return new Wildcard(
      first,
      rest.filter((run) => run.text !== ''),
      last,
    );
  }

  matches(text: string): boolean {
    if (this.last === null) return text.length === this.first.text.length && fits(this.first, text, 0);
    const end = text.length - this.last.text.length;
    let at = this.first.text.length;
    if (end < at || !fits(this.first, text, 0) || !fits(this.last, text, end)) return false;
    for (const run of this.middle) {
      const found = find(run, text, at, end - run.text.length);
      if (found < 0) return false;
      at = found + run.text.length;
    }
    return true;
  }
}

/** Splits a pattern in which every `*` and `?` is a wildcard. */
export function wildcardTokens(pattern: string): WildcardToken[] {
  const parts = pattern.split(/([*?])/);
  return parts.filter((part) => part !== '').map((part) => (part === '*' ? ANY : part === '?' ? ONE : part));
}

function fits(run: Run, text: string, at: number): boolean {
  if (run.ones === null) return text.startsWith(run.text, at);
  for (let unit = 0; unit < run.text.length; unit++) {
    if (!run.ones.has(unit) && text[at + unit] !== run.text[unit]) return false;
  }
  return true;
}

/** @returns where the run first fits at `from` or later and not after `to`, or -1 */
function find(run: Run, text: string, from: number, to: number): number {
  if (run.ones === null) {
    const at = text.indexOf(run.text, from);
    return at > to ? -1 : at;
  }
  for (let at = from; at <= to; at++) if (fits(run, text, at)) return at;
  return -1;
}
