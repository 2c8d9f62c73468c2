export default function teardown() {
  return globalThis.stopTestServers?.();
}
