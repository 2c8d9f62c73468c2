import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { configurationTable, withTable } from './configuration-table.js';

describe('the table of settings in the README', () => {
  it('is the one the schema makes', () => {
    const readme = readFileSync('README.md', 'utf8');
    expect(withTable(readme, configurationTable())).toBe(readme);
  });

  it('describes every setting', () => {
    expect(configurationTable()).not.toMatch(/\|\s*\|$/m);
  });
});
