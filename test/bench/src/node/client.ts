import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, ClusterClient, connect } from '@antiphon/client';
import { ChangeFollower } from './change-follower.js';
import type { ClientProtocol } from './protocol.js';
import { runReads } from './read-load.js';
import { routingCost } from './routing-cost.js';
import { serve } from './serve.js';

/** An application without a database of its own, in a process of its own. */
const POLL_MS = 20;

let client: Client | undefined;
let direct: ClusterClient | undefined;
let changes: ChangeFollower | undefined;

function connected<T>(connection: T | undefined): T {
  if (connection === undefined) throw new Error('connect was not called');
  return connection;
}

const methods: ClientProtocol = {
  async connect({ cluster, servers }) {
    client = await connect({ cluster, servers });
    direct = await ClusterClient.open({ cluster, nats: { servers: [servers] } });
  },

  async sees({ replicas }) {
    while (connected(client).explain().replicas.length !== replicas) await sleep(POLL_MS);
  },

  read(load) {
    return runReads({ client: connected(client), direct: connected(direct) }, load);
  },

  routing({ reads, replicas }) {
    return routingCost(reads, replicas);
  },

  async subscribe({ stream }) {
    changes = await ChangeFollower.start(connected(direct).nats, stream);
  },

  received({ seq, timeoutMs }) {
    return connected(changes).received(seq, timeoutMs);
  },

  arrived({ id, timeoutMs }) {
    return connected(changes).arrived(id, timeoutMs);
  },

  async unsubscribe({ stream }) {
    changes?.stop();
    const manager = await connected(direct).nats.connection.jetstreamManager();
    await manager.streams.delete(stream);
  },

  async stop() {
    changes?.stop();
    await client?.close();
    await direct?.close();
  },
};

serve(methods as unknown as Parameters<typeof serve>[0]);
