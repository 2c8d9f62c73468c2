/** As SimulateCustomPolicy tells where a statement stands: lines and columns from 1. */
export interface TextPosition {
  line: number;
  column: number;
}

/** @param offset in UTF-16 units; the end of a statement is the offset behind its brace */
export function textPosition(text: string, offset: number): TextPosition {
  const before = text.slice(0, offset);
  const lines = before.split('\n');
  return { line: lines.length, column: lines.at(-1)!.length + 1 };
}
