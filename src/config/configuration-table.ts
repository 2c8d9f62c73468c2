import { environment } from './config.js';

const BEGIN = '<!-- configuration: written by npm run configuration:write -->';
const END = '<!-- end of configuration -->';

/** All settings as a Markdown table, from the schema that validates them. */
export function configurationTable(): string {
  const rows = Object.entries(environment.shape).map(([name, setting]) => {
    const fallback = setting.safeParse(undefined);
    const shown = fallback.success && fallback.data !== undefined ? `\`${String(fallback.data)}\`` : '–';
    return `| \`${name}\` | ${shown} | ${setting.description ?? ''} |`;
  });
  return ['| variable | default | meaning |', '| --- | --- | --- |', ...rows].join('\n');
}

/** @returns the page with its table replaced @throws when the page has no place for one */
export function withTable(page: string, table: string): string {
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin === -1 || end < begin) throw new Error('The page has no markers around its configuration table');
  return `${page.slice(0, begin)}${BEGIN}\n\n${table}\n\n${page.slice(end)}`;
}
