/** Writes docs/coverage.md from the controllers of the built service: `npm run build && npm run coverage:write`. */
import { writeFileSync } from 'node:fs';
import { AppModule } from '../dist/app.module.js';
import { controllersOf, coverageOf, coveragePage } from '../dist/protocols/coverage.js';

writeFileSync(
  new URL('../docs/coverage.md', import.meta.url),
  coveragePage(coverageOf(controllersOf(AppModule))),
);
