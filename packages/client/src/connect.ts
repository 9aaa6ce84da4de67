import {
  AntiphonError,
  assertClusterName,
  checkRequired,
  type ClusterDocument,
  type OptionNames,
  systemClock,
} from '@antiphon/core';
import type { NatsAccess } from '@antiphon/nats';
import type { TracingOptions } from '@antiphon/replica';
import { parseTracing } from '@antiphon/replica/internal';
import { type BalanceOptions, parseBalance } from './balance/balance-options.js';
import { ReadRouter } from './balance/read-router.js';
import { ReplicaTable } from './balance/replica-table.js';
import { Client } from './client.js';
import { ClusterClient } from './cluster-client.js';
import { clusterDocument } from './cluster-document.js';

/** Which cluster, and how its reads are spread. */
export interface ConnectOptions extends NatsAccess {
  /** The name of the cluster. */
  readonly cluster: string;
  /** How reads are spread over the replicas. */
  readonly balance?: BalanceOptions;
  /**
   * What goes into OpenTelemetry spans, where an SDK is registered in this process.
   * @defaultValue { sql: true }
   */
  readonly tracing?: TracingOptions;
  /**
   * The name of the connection, as NATS shows it.
   * @defaultValue `antiphon client CLUSTER`
   */
  readonly name?: string;
}

/** Their names. */
export const CONNECT_OPTIONS: OptionNames<ConnectOptions> = {
  ...{ cluster: true, servers: true, balance: true, tracing: true, name: true },
  ...{ user: true, password: true, token: true, nkey: true, creds: true, tls: true, inboxPrefix: true },
};
const BEAT_TIMEOUT_MS = 1500;

/**
 * Connects an application that has no database of its own: it writes where the primary is, and
 * reads from all replicas.
 *
 * @throws AntiphonError BAD_OPTION, LOG_UNAVAILABLE when no server answers, ACCESS_DENIED when it
 *   refuses the login, NO_ACTOR when there is no such cluster
 * @example
 * await using shop = await connect({ cluster: 'shop', servers: 'nats://localhost:4222' });
 * await shop.execute([{ sql: 'INSERT INTO orders VALUES (?, ?)', params: [newId(), 'A-7'] }]);
 * const rows = await shop.query('SELECT * FROM orders');
 */
export async function connect(options: ConnectOptions): Promise<Client> {
  checkRequired(options, CONNECT_OPTIONS, 'connect()', ['cluster', 'servers']);
  const { cluster, balance, tracing: wanted, name, ...access } = options;
  assertClusterName(cluster);
  const settings = parseBalance(balance);
  const tracing = parseTracing(wanted);
  const servers = typeof access.servers === 'string' ? [access.servers] : access.servers;
  const address = { cluster, nats: { ...access, servers: servers ?? [] } };
  const client = await ClusterClient.open(address, name === undefined ? {} : { name });
  try {
    const clock = systemClock();
    const document = await documentOf(client);
    const table = new ReplicaTable(
      {
        bus: client.nats.bus(),
        cluster,
        members: async () => (await client.members({ fresh: true })).map(({ id }) => id),
        beatOf: (id) => client.replica(id).ask('beat', undefined, { timeoutMs: BEAT_TIMEOUT_MS }),
      },
      clock,
    );
    await table.start();
    const router = new ReadRouter(table, settings, clock);
    return new Client({ cluster: client, document, table, router, settings, tracing });
  } catch (thrown) {
    await client.close();
    throw thrown;
  }
}

/** What the cluster has agreed on. Throws NO_ACTOR when there is no such cluster. */
async function documentOf(client: ClusterClient): Promise<ClusterDocument> {
  await client.members();
  const document = await clusterDocument(client);
  if (document !== undefined) return document;
  const message = `Cluster ${client.cluster} has no record of what it has agreed on. Start its first replica.`;
  throw new AntiphonError('NO_ACTOR', message, { context: { cluster: client.cluster } });
}
