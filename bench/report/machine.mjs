import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem, type } from 'node:os';
import { join } from 'node:path';
import { findTool } from '../../scripts/tools.mjs';

const ROOT = join(import.meta.dirname, '../..');

/** @returns {[what: string, value: string][]} what the figures depend on */
export function machine() {
  const [{ model }] = cpus();
  return [
    ['Processor', `${model.trim()}, ${cpus().length} cores`],
    ['Memory', `${(totalmem() / 1024 ** 3).toFixed(1)} GiB`],
    ['Kernel', `${type()} ${release()}`],
    ['Temporary folder', fileSystem()],
    ['Stowage', commit()],
    ['Node', process.version],
    ['MinIO', version('minio', ['--version'], /version (\S+)/)],
    ['distribution', version('registry', ['--version'], /(v\S+)/)],
    ['zot', process.env.ZOT_BIN ? firstLine(process.env.ZOT_BIN, ['--version']) : 'not here (ZOT_BIN)'],
  ];
}

function commit() {
  const git = (...args) => execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' }).trim();
  try {
    const changed = git(
      'status',
      '--porcelain',
      '--untracked-files=no',
      '--',
      'src',
      'prisma',
      'package-lock.json',
    );
    return `${git('rev-parse', '--short=12', 'HEAD')}${changed ? ' with changes' : ''}`;
  } catch {
    return JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).version;
  }
}

function version(tool, args, pattern) {
  const path = findTool(tool);
  if (!path) return 'not here';
  const line = firstLine(path, args);
  return pattern.exec(line)?.[1] ?? line;
}

function firstLine(path, args) {
  const { stdout, stderr } = spawnSync(path, args, { encoding: 'utf8' });
  return `${stdout}${stderr}`.trim().split('\n')[0];
}

function fileSystem() {
  const { stdout } = spawnSync('df', ['--output=fstype,source', process.env.TMPDIR ?? '/tmp'], {
    encoding: 'utf8',
  });
  return stdout.trim().split('\n').at(-1).trim().replace(/\s+/g, ' on ');
}
