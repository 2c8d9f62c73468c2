import { describe, expect, it } from '@jest/globals';
import { readFile } from 'node:fs/promises';
import { AppModule } from '../../src/app.module.js';
import { controllersOf, coverageOf, coveragePage } from '../../src/protocols/coverage.js';

describe('docs/coverage.md', () => {
  it('says what the controllers answer; `npm run coverage:write` brings it up to date', async () => {
    const page = await readFile(new URL('../../docs/coverage.md', import.meta.url), 'utf8');
    expect(page).toBe(coveragePage(coverageOf(controllersOf(AppModule))));
  });
});
