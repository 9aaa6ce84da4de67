import { ClusterClient, type ClusterAddress } from '@antiphon/client';
import { showServers } from '@antiphon/nats/internal';
import type { Terminal } from '../output/terminal.js';

/** A connection that the server's own tools show as this program's. */
export async function openCluster(
  target: ClusterAddress,
  terminal: Pick<Terminal, 'waitingFor'>,
): Promise<ClusterClient> {
  const { cluster, nats } = target;
  terminal.waitingFor(`NATS at ${showServers(nats.servers)} to answer`);
  const client = await ClusterClient.open(target, { name: `antiphon cli ${cluster}` });
  terminal.waitingFor(`the replicas of ${cluster} to answer`);
  return client;
}
