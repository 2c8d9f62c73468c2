/** A shape of the API model with what it demands of a value. Bounds are inclusive. */
export type Shape =
  | { type: 'structure'; required: readonly string[]; members: Readonly<Record<string, string>> }
  | { type: 'list'; member: string; min?: number; max?: number }
  | { type: 'map'; key: string; value: string; min?: number; max?: number }
  | StringShape
  | { type: 'integer' | 'long' | 'float' | 'double'; min?: number; max?: number }
  | { type: 'blob'; min?: number; max?: number }
  | { type: 'boolean' | 'timestamp' };

/** Lengths count characters as ECR does, in UTF-16 code units. */
export interface StringShape {
  type: 'string';
  min?: number;
  max?: number;
  /** Java syntax; the whole value has to match. */
  pattern?: string;
  enum?: readonly string[];
}
