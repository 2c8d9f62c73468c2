/** What an engine changes on the machine beside its own folder, and how to undo it. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const SYSCTLS = ['net/ipv4/ip_forward', 'net/ipv6/conf/all/forwarding', 'net/ipv6/conf/default/forwarding'];
const FIREWALLS = ['iptables', 'ip6tables'];
const TABLES = ['filter', 'nat'];
const BRIDGE = /^(docker0|br-[0-9a-f]{12})$/;
/** Rules of an engine, and those it makes for a published port to be reached from its own container. */
const ENGINE_RULE =
  /DOCKER|docker0|br-[0-9a-f]{12}|^-A POSTROUTING -s (\S+)\/32 -d \1\/32 .*--dport \d+ -j MASQUERADE$/;

/** Before the engine starts; can be kept as JSON. */
export function snapshot() {
  return {
    links: links(),
    sysctls: Object.fromEntries(SYSCTLS.filter(hasSysctl).map((name) => [name, readSysctl(name)])),
    rules: Object.fromEntries(
      FIREWALLS.flatMap((tool) =>
        TABLES.map((table) => [`${tool} ${table}`, listRules(tool, table)]).filter(([, rules]) => rules),
      ),
    ),
  };
}

/** Two engines would share chains and addresses. @returns what of another engine there is, or undefined */
export function traceOfEngine({ links, rules }) {
  const bridge = links.find((name) => BRIDGE.test(name));
  if (bridge) return `the network ${bridge} of another engine is there`;
  const chain = Object.values(rules)
    .flat()
    .find((rule) => rule.startsWith('-N DOCKER'));
  return chain && `the firewall has a chain of another engine (${chain.slice(3)})`;
}

/** @returns what could not be undone */
export function restore(before) {
  const left = [];
  const attempt = (command, ...args) => {
    if (run(command, ...args) === undefined) left.push(`${command} ${args.join(' ')}`);
  };
  for (const [place, old] of Object.entries(before.rules)) {
    const [tool, table] = place.split(' ');
    const added = (listRules(tool, table) ?? []).filter((rule) => !old.includes(rule));
    const chains = added.filter((rule) => rule.startsWith('-N DOCKER')).map((rule) => rule.slice(3));
    for (const rule of added.filter((rule) => rule.startsWith('-A') && ENGINE_RULE.test(rule)))
      attempt(tool, '-w', '-t', table, '-D', ...rule.split(' ').slice(1));
    for (const chain of chains) attempt(tool, '-w', '-t', table, '-X', chain);
    // An engine that turns forwarding on shuts it for everybody else.
    for (const policy of old.filter((rule) => rule.startsWith('-P')))
      if (!listRules(tool, table)?.includes(policy)) attempt(tool, '-w', '-t', table, ...policy.split(' '));
  }
  for (const name of links()) {
    if (BRIDGE.test(name) && !before.links.includes(name)) attempt('ip', 'link', 'delete', name);
  }
  for (const [name, value] of Object.entries(before.sysctls))
    if (readSysctl(name) !== value) writeFileSync(sysctl(name), value);
  return left;
}

/** Whatever is mounted below the folder, the innermost first. @returns what is still mounted */
export function unmountBelow(folder) {
  for (const mount of mountsBelow(folder).toReversed())
    if (run('umount', mount) === undefined) run('umount', '--lazy', mount);
  return mountsBelow(folder);
}

function mountsBelow(folder) {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => (line.split(' ')[1] ?? '').replaceAll('\\040', ' '))
    .filter((mount) => mount.startsWith(`${folder}/`));
}

/** Processes that work for the engine in the folder: by their command line, or as part of one of its containers. */
export function processesOf(folder) {
  const ids = containersOf(folder);
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return false;
    try {
      if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`${folder}/`)) return true;
      const groups = readFileSync(`/proc/${pid}/cgroup`, 'utf8');
      return ids.some((id) => groups.includes(id));
    } catch {
      return false; // it just ended
    }
  });
}

/** The control groups of its containers, which an engine that was killed leaves, and the one above them. */
export function removeControlGroups(folder) {
  const root = '/sys/fs/cgroup';
  const containers = containersOf(folder).map((id) => join('docker', id));
  for (const group of [root, ...readdirSync(root).map((name) => join(root, name))]) {
    for (const made of [...containers, 'docker']) {
      try {
        rmdirSync(join(group, made));
      } catch {
        // None there, or not empty and so somebody's.
      }
    }
  }
}

function containersOf(folder) {
  const containers = join(folder, 'root/containers');
  return existsSync(containers) ? readdirSync(containers) : [];
}

function links() {
  return readdirSync('/sys/class/net');
}

/** As `iptables -S` prints them; undefined where the tool or the table is missing. */
function listRules(tool, table) {
  return run(tool, '-w', '-t', table, '-S')
    ?.split('\n')
    .map((line) => line.trim())
    .filter(Boolean);
}

function run(command, ...args) {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return undefined;
  }
}

const sysctl = (name) => `/proc/sys/${name}`;
const hasSysctl = (name) => existsSync(sysctl(name));
const readSysctl = (name) => readFileSync(sysctl(name), 'utf8');
