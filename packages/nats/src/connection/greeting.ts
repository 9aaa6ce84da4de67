import { probeServer } from '../server/server-probe.js';

const DEFAULT_PORT = 4222;

/**
 * Does any of these servers greet as NATS does? Asked before the client dials: it never hangs up on a server that
 * accepts and says nothing, and its words for "nothing listens there" differ from system to system.
 */
export async function anyServerGreets(servers: readonly URL[], timeoutMs: number): Promise<boolean> {
  const probes = servers.map(async ({ hostname, port }) => {
    const host = hostname.replace(/^\[(.*)\]$/, '$1');
    const info = await probeServer(host, port === '' ? DEFAULT_PORT : Number(port), timeoutMs);
    if (info === undefined) throw new Error('no greeting');
  });
  return Promise.any(probes).then(
    () => true,
    () => false,
  );
}
