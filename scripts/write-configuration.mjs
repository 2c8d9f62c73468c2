/** Writes the table of settings into README.md from the schema of the built service: `npm run configuration:write`. */
import { readFileSync, writeFileSync } from 'node:fs';
import { configurationTable, withTable } from '../dist/config/configuration-table.js';

const readme = new URL('../README.md', import.meta.url);
writeFileSync(readme, withTable(readFileSync(readme, 'utf8'), configurationTable()));
