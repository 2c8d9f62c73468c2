import { PolicySyntaxError } from './policy-syntax-error.js';

/** Half-open range of UTF-16 units in the text. */
export interface TextRange {
  start: number;
  end: number;
}

export type JsonNode = TextRange &
  (
    | { type: 'object'; members: ReadonlyMap<string, JsonNode> }
    | { type: 'array'; items: readonly JsonNode[] }
    | { type: 'string'; value: string }
    /** As written: a number keeps its digits. */
    | { type: 'number' | 'boolean' | 'null'; value: string }
  );

/** Policy, statement, condition, operator, values: a policy has five levels. The rest is an attack or a mistake. */
const MAX_DEPTH = 8;

/**
 * Reads JSON with the place of every value, and refuses what `JSON.parse` lets pass in silence: two members of one name,
 * of which readers take the first or the last as they please.
 * @throws PolicySyntaxError
 */
export function readPolicyJson(text: string): JsonNode {
  try {
    JSON.parse(text);
  } catch {
    throw PolicySyntaxError.grammar('The text is not valid JSON.');
  }
  return new Reader(text).read();
}

/** Walks a text that is known to be JSON. */
class Reader {
  private at = 0;

  constructor(private readonly text: string) {}

  read(): JsonNode {
    return this.value(0);
  }

  private value(depth: number): JsonNode {
    if (depth > MAX_DEPTH) throw PolicySyntaxError.grammar('The text is nested too deeply.');
    this.skipSpace();
    switch (this.text[this.at]) {
      case '{':
        return this.object(depth);
      case '[':
        return this.array(depth);
      case '"':
        return this.string();
      default:
        return this.scalar();
    }
  }

  private object(depth: number): JsonNode {
    const start = this.at++;
    const members = new Map<string, JsonNode>();
    while (!this.closes('}')) {
      const name = this.string().value;
      this.skipSpace();
      this.at++; // the colon
      if (members.has(name)) throw PolicySyntaxError.grammar(`The member ${quoted(name)} is there twice.`);
      members.set(name, this.value(depth + 1));
    }
    return { type: 'object', members, start, end: this.at };
  }

  private array(depth: number): JsonNode {
    const start = this.at++;
    const items: JsonNode[] = [];
    while (!this.closes(']')) items.push(this.value(depth + 1));
    return { type: 'array', items, start, end: this.at };
  }

  /** Steps over what stands before the next element, and over the bracket when there is none. */
  private closes(bracket: string): boolean {
    this.skipSpace();
    if (this.text[this.at] === ',') {
      this.at++;
      this.skipSpace();
    }
    if (this.text[this.at] !== bracket) return false;
    this.at++;
    return true;
  }

  private string(): Extract<JsonNode, { type: 'string' }> {
    const start = this.at++;
    while (this.text[this.at] !== '"') this.at += this.text[this.at] === '\\' ? 2 : 1;
    this.at++;
    const value = JSON.parse(this.text.slice(start, this.at)) as string;
    return { type: 'string', value, start, end: this.at };
  }

  private scalar(): JsonNode {
    const start = this.at;
    while (/[-+.0-9A-Za-z]/.test(this.text[this.at] ?? '')) this.at++;
    const value = this.text.slice(start, this.at);
    const type = value === 'null' ? 'null' : value === 'true' || value === 'false' ? 'boolean' : 'number';
    return { type, value, start, end: this.at };
  }

  private skipSpace(): void {
    while (/[ \t\r\n]/.test(this.text[this.at] ?? '')) this.at++;
  }
}

/** A name out of somebody's document, short enough for a message. */
export function quoted(name: string): string {
  return JSON.stringify(name.length > 128 ? `${name.slice(0, 128)}…` : name);
}
