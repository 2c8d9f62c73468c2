import { describe, expect, it } from '@jest/globals';
import { cutPage } from './page.js';

describe('cutPage', () => {
  const keyOf = (item: number): string => `key ${item}`;

  it.each([[[]], [[1]], [[1, 2]]])('makes the last page of %j', (rows: number[]) => {
    expect(cutPage(rows, 2, keyOf)).toEqual({ items: rows });
    expect(cutPage(rows, 2, keyOf)).not.toHaveProperty('next');
  });

  it('goes on behind the last item it shows, when there is one more', () => {
    expect(cutPage([1, 2, 3], 2, keyOf)).toEqual({ items: [1, 2], next: 'key 2' });
  });
});
