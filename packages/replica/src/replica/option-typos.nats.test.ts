import { describeTypos } from '@antiphon/testing/internal';
import { afterAll, beforeAll } from 'vitest';
import { createReplica, problemsOf, startReplica, verifyCluster } from '../index.js';
import { ClusterFixture, type FixturePorts, type SqliteReplica } from '../testing/cluster-fixture.js';
import { sqlite } from '@antiphon/sqlite';

let cluster: ClusterFixture;
let a: SqliteReplica;
let ports: FixturePorts;

beforeAll(async () => {
  cluster = await ClusterFixture.start();
  cluster.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER)');
  a = await cluster.replica('a');
  ports = await cluster.ports();
});
afterAll(() => cluster[Symbol.asyncDispose]());

const DELETE = 'DELETE FROM t';
const start = (over: object): Promise<unknown> => cluster.replica('b', over);

function asked(): Omit<FixturePorts, 'log'> {
  const { log: _log, ...asked } = ports;
  return asked;
}

describeTypos({
  CreateReplicaOptions: { option: 'tables', call: start },
  'CreateReplicaOptions of createReplica, without the fixture': {
    option: 'servers',
    call: (options) => createReplica(options),
  },
  'CreateReplicaOptions of createReplica alone': { option: 'streamReplicas', call: start },
  'NatsLogin of createReplica': { option: 'password', call: start },
  'NatsAccess of createReplica': { option: 'inboxPrefix', call: start },
  'NatsTls of createReplica': { option: 'cert', call: (tls) => start({ tls }) },
  'ReplicaOptions of startReplica': {
    option: 'onLifecycle',
    call: (options: object) =>
      startReplica({ ...ports, id: 'b', store: sqlite({ file: 'b.db' }), ...options }),
  },
  'ReplicaPorts of startReplica': {
    option: 'registry',
    call: (options: object) =>
      startReplica({ ...ports, id: 'b', store: sqlite({ file: 'b.db' }), ...options }),
  },
  Topology: {
    option: 'primary',
    given: { mode: 'primary-replica' },
    call: (topology) => start({ topology }),
  },
  'UpdateOptions, SyncUpdate': {
    option: 'minInSync',
    given: { mode: 'sync' },
    call: (update) => start({ update }),
  },
  AsyncUpdate: { option: 'intervalMs', given: { mode: 'async' }, call: (update) => start({ update }) },
  PublishOptions: {
    option: 'stream',
    given: { subject: 'shop.{table}' },
    call: (publish) => start({ publish }),
  },
  'PublishRetention of PublishOptions': {
    option: 'maxAgeMs',
    call: (retention) => start({ publish: { subject: 'shop.{table}', retention } }),
  },
  ReadOptions: { option: 'weight', call: (reads) => start({ reads }) },
  'ReplicaLimits, AgreedLimits': { option: 'beatMs', call: (limits) => start({ limits }) },
  'WriteOptions of transaction': { option: 'acks', call: (options) => a.transaction(() => 1, options) },
  'ExecuteOptions of execute': {
    option: 'timeoutMs',
    call: (options) => a.execute([{ sql: DELETE }], options),
  },
  Statement: { option: 'params', given: { sql: DELETE }, call: (statement) => a.execute([statement]) },
  QueryOptions: { option: 'maxRows', call: (options) => a.query('SELECT 1', [], options) },
  StreamOptions: { option: 'timeoutMs', call: (options) => a.stream('SELECT 1', [], options) },
  TracingOptions: { option: 'sql', call: (tracing) => start({ tracing }) },
  ChangesOptions: { option: 'tables', call: (options) => a.changes(options) },
  SubscribeOptions: { option: 'tables', call: (options) => a.subscribe('mailer', options) },
  EventsOptions: { option: 'signal', call: (options) => a.events(options) },
  'HealthOptions of healthcheck': { option: 'maxLagSeconds', call: (options) => a.healthcheck(options) },
  CaughtUpOptions: { option: 'signal', call: (options) => a.caughtUp(options) },
  OutcomeOptions: { option: 'timeoutMs', call: (options) => a.outcome('a:1', options) },
  RemoveMemberOptions: { option: 'force', call: (options) => a.removeMember('b', options) },
  LeaveOptions: { option: 'force', call: (options) => a.leave(options) },
  RecaptureOptions: { option: 'dryRun', call: (options) => a.recapture('t', options) },
  'QuarantineQuery of list': { option: 'afterId', call: (query) => a.quarantine.list(query) },
  'QuarantineQuery of retry': { option: 'afterId', call: (query) => a.quarantine.retry(query) },
  'QuarantineQuery of discard': { option: 'seq', call: (query) => a.quarantine.discard(query) },
  RescueQuery: { option: 'afterId', call: (query) => a.rescue.list(query) },
  'RescuePage of show': { option: 'after', call: (page) => a.rescue.show(1, page) },
  ReapplyOptions: { option: 'force', call: (options) => a.rescue.reapply(1, options) },
  SwitchOverOptions: { option: 'timeoutMs', call: (options) => a.switchOver('b', options) },
  TakeOverOptions: { option: 'timeoutMs', call: (options) => a.takeOver(options) },
  VerifyOptions: { option: 'attempts', call: (options: object) => verifyCluster({ ...asked(), ...options }) },
  HealthOptions: { option: 'maxLagSeconds', call: (options) => problemsOf(a.status(), options) },
});
