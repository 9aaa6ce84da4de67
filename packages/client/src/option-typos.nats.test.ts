import { TestCluster } from '@antiphon/test-cluster';
import { describeTypos } from '@antiphon/testing/internal';
import { afterAll, beforeAll } from 'vitest';
import {
  type Client,
  ClusterClient,
  clusterChanges,
  connect,
  dismissRescued,
  executeInCluster,
  listQuarantine,
  listRescued,
  reapplyRescued,
  rescuedChanges,
  retryQuarantine,
  showRescued,
} from './index.js';

let cluster: TestCluster;
let client: ClusterClient;
let shop: Client;

beforeAll(async () => {
  cluster = await TestCluster.start({ schema: 'CREATE TABLE t (id INTEGER PRIMARY KEY)', replicas: 1 });
  client = await ClusterClient.open(address());
  shop = await connect({ cluster: cluster.name, servers: cluster.broker.url ?? '' });
});
afterAll(async () => {
  await shop.close();
  await client.close();
  await cluster.close();
});

function address(): { readonly cluster: string; readonly nats: { readonly servers: readonly string[] } } {
  return { cluster: cluster.name, nats: { servers: [cluster.broker.url ?? ''] } };
}

const { signal } = new AbortController();
const given = { timeoutMs: 1000, signal };

describeTypos({
  ClusterAddress: {
    option: 'replica',
    call: (options: object) => ClusterClient.open({ ...address(), ...options }),
  },
  'Access of ClusterClient.open': {
    option: 'password',
    call: (options: object) => ClusterClient.open({ ...address(), nats: { ...address().nats, ...options } }),
  },
  ConnectOptions: {
    option: 'balance',
    given: { cluster: 'x', servers: 'nats://127.0.0.1:1' },
    call: (options: object) => connect({ cluster: 'x', servers: 'nats://127.0.0.1:1', ...options }),
  },
  BalanceOptions: {
    option: 'policy',
    call: (balance) => connect({ cluster: cluster.name, servers: cluster.broker.url ?? '', balance }),
  },
  'ReadOptions of a client': {
    option: 'consistency',
    call: (options) => shop.query('SELECT 1', [], options),
  },
  'ReadOptions of explain()': { option: 'prefer', call: async (options) => shop.explain(options) },
  'SessionReadOptions of a session': {
    option: 'maxRows',
    call: (options) => shop.session().query('SELECT 1', [], options),
  },
  'ClientStreamOptions of a client': {
    option: 'idleMs',
    call: (options) => shop.stream('SELECT 1', [], options).next(),
  },
  'ClientExecuteOptions of a client': {
    option: 'requestId',
    call: (options) => shop.execute([{ sql: 'SELECT 1' }], options),
  },
  'Statement of a client': {
    option: 'rows',
    call: (options) => shop.execute([{ sql: 'SELECT 1', ...(options as object) }]),
  },
  'Statement of a session': {
    option: 'params',
    call: (options) => shop.session().execute([{ sql: 'SELECT 1', ...(options as object) }]),
  },
  ClusterClientOptions: { option: 'name', call: (options) => ClusterClient.open(address(), options) },
  'the options of members()': { option: 'fresh', call: (options) => client.members(options) },
  'the options of ask()': {
    option: 'timeoutMs',
    call: (options) => client.replica('r1').ask('ping', undefined, options),
  },
  ClusterChangesOptions: {
    option: 'tables',
    given: { from: 'now', onProblem: () => undefined, signal },
    call: (options) => clusterChanges(client, options).next(),
  },
  ClusterExecuteOptions: {
    option: 'requestId',
    given: { timeoutMs: 1000 },
    call: (options) => executeInCluster(client, [{ sql: 'SELECT 1' }], options),
  },
  'AskLimits of listQuarantine': {
    option: 'timeoutMs',
    given,
    call: (options) => listQuarantine(client.replica('r1'), 10, options),
  },
  'AskLimits of retryQuarantine': {
    option: 'timeoutMs',
    given,
    call: (options) => retryQuarantine(client.replica('r1'), undefined, options),
  },
  'AskLimits of listRescued': {
    option: 'timeoutMs',
    given,
    call: (options) => listRescued(client.replica('r1'), 10, options),
  },
  'AskLimits of showRescued': {
    option: 'timeoutMs',
    given,
    call: (options) => showRescued(client.replica('r1'), 1, 10, options),
  },
  'AskLimits of rescuedChanges': {
    option: 'timeoutMs',
    given,
    call: (options) => rescuedChanges(client.replica('r1'), 1, options).next(),
  },
  'AskLimits of reapplyRescued': {
    option: 'timeoutMs',
    given,
    call: (options) => reapplyRescued(client.replica('r1'), 1, { force: false }, options),
  },
  'AskLimits of dismissRescued': {
    option: 'timeoutMs',
    given,
    call: (options) => dismissRescued(client.replica('r1'), 1, options),
  },
});
