import type { ServerDescription } from '@antiphon/nats';
import type { ReplicaStatus } from '@antiphon/replica';
import { AntiphonError } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { splitSentence, warn } from './check.js';
import { nodeCheck } from './local-checks.js';
import { leftOutCheck, replicaChecks, withoutRepetition } from './replica-checks.js';
import { serverChecks } from './server-checks.js';
import { syncChecks } from './sync-checks.js';

const STATUS = {
  id: 'eu-1',
  version: '0.1.0',
  role: 'peer',
  lifecycle: 'following',
  lag: { entries: 0, seconds: 0 },
  alarms: [],
  waitingFor: [],
  quarantined: 0,
  conflicts: 0,
  nowMs: 1000,
} as unknown as ReplicaStatus;

it('every finding that is not ok says what to do', () => {
  const stalled = {
    ...STATUS,
    id: 'eu-2',
    version: '0.2.0',
    stalled: { code: 'LOG_REPLACED' as const, message: 'the log is another one', sinceMs: 1 },
  };
  const late = { ...STATUS, id: 'eu-3', lag: { entries: 9, seconds: 60 }, nowMs: 9000, quarantined: 2 };
  const away = { id: 'eu-4', error: new AntiphonError('NO_ACTOR', 'away') };
  const answers = [STATUS, stalled, late].map((status) => ({ id: status.id, status }));
  const checks = replicaChecks([...answers, away], 1000);
  expect(checks.map(({ name, grade }) => `${name} ${grade}`)).toEqual([
    'eu-1 ok',
    'eu-2 fail',
    'eu-3 warn',
    'eu-3 warn',
    'eu-3 warn',
    'eu-4 fail',
    'versions warn',
  ]);
  for (const { grade, advice } of checks) expect(advice === undefined).toBe(grade === 'ok');
});

it('a primary that is away is told from others: first another one takes over', () => {
  const epoch = { number: 3, primary: 'eu-4', seq: 9 };
  const answers = [{ id: 'eu-1', status: { ...STATUS, epoch } }];
  const away = ['eu-4', 'eu-5'].map((id) => ({ id, error: new AntiphonError('NO_ACTOR', 'away') }));
  const [, primary, other] = replicaChecks([...answers, ...away], 1000);
  expect(primary?.message).toMatch(/It is the primary\.$/);
  expect(primary?.advice).toMatch(/`antiphon failover ID`, and then `antiphon member remove eu-4`/);
  expect(other?.advice).not.toMatch(/failover/);
});

it('a replica that is there and does not answer is not to be started', () => {
  const epoch = { number: 3, primary: 'eu-4', seq: 9 };
  const answers = [{ id: 'eu-1', status: { ...STATUS, epoch } }];
  const busy = ['eu-4', 'eu-5'].map((id) => ({ id, error: new AntiphonError('TIMEOUT', 'busy') }));
  const [, primary, other] = replicaChecks([...answers, ...busy], 1000);
  expect(primary).toMatchObject({ grade: 'fail', message: 'eu-4 is there, and does not answer (TIMEOUT).' });
  expect(primary?.advice).toMatch(/^See its log: a long write .* run `antiphon failover ID`\.$/);
  expect(other?.advice).toMatch(/has just gone\.$/);
});

it('a replica that holds fails once, with what refuses it', () => {
  const message = 'This database does not take transaction a:7 of the log: no such table: audit.';
  const holding = { code: 'APPLY_REFUSED', seq: 12, message, sinceMs: 1, attempts: 3 };
  const alarms = [{ name: 'apply', message, section: 'alarm-apply', sinceMs: 1, count: 3 }];
  const checks = replicaChecks([{ id: 'eu-1', status: { ...STATUS, holding, alarms } }], 1000);
  const about = checks.filter((check) => check.message.includes('no such table'));
  expect(about).toMatchObject([{ grade: 'fail', name: 'eu-1' }]);
});

it('a replica that holds for a changed schema is told what to change, not to try again', () => {
  const message =
    'Trigger tr on t no longer works (no such table: main.log). Put back what it needs, or drop it.';
  const holding = { code: 'SCHEMA_DRIFT', message, sinceMs: 1, attempts: 1 };
  const [check] = replicaChecks([{ id: 'eu-1', status: { ...STATUS, holding } }], 1000);
  expect(check).toMatchObject({ grade: 'fail', advice: 'Put back what it needs, or drop it.' });
});

it('a replica whose table is gone is told all that is to be done', () => {
  const message =
    'Entry 3 of the log cannot be applied here, nor anything after it: A table was changed: table t is gone. ' +
    'Nothing was applied. Create it again, then follow `antiphon recapture t`. Rows that are missing count as deleted.';
  const holding = { code: 'SCHEMA_DRIFT', message, sinceMs: 1, attempts: 1 };
  const [check] = replicaChecks([{ id: 'eu-1', status: { ...STATUS, holding } }], 1000);
  expect(check?.message).toMatch(/table t is gone\.$/);
  expect(check?.advice).toMatch(/^Nothing was applied\. Create it again, .*Rows that are missing/);
});

it('what of a file its replica says as well is said once', () => {
  const left = { type: 'table', name: 'nokey', reason: 'it has no primary key', unexpected: false } as const;
  const file = [leftOutCheck('database', left), warn('database', 'something else', 'Do it.')];
  const members = [leftOutCheck('eu-1', left, 'eu-1: '), leftOutCheck('eu-2', left, 'eu-2: ')];
  expect(withoutRepetition(file, members, 'eu-1').map(({ message }) => message)).toEqual([
    'something else',
    'eu-1: the table nokey is not replicated: it has no primary key.',
    'eu-2: the table nokey is not replicated: it has no primary key.',
  ]);
  expect(withoutRepetition(file, members, 'eu-3')).toHaveLength(4);
});

it('what is left out is said once, and what an alarm has said is not', () => {
  const leftOut = [
    { type: 'table', name: 'nokey', reason: 'it has no primary key', unexpected: false },
    { type: 'trigger', name: 'tr', reason: 'it is on t', unexpected: true },
    { type: 'table', name: 'links', reason: 'it has no primary key', unexpected: false, isData: true },
  ] as const;
  const checks = replicaChecks([{ id: 'eu-1', status: { ...STATUS, leftOut } }], 1000);
  expect(checks.map(({ grade, message }) => `${grade} ${message}`)).toContain(
    'ok eu-1: the table nokey is not replicated: it has no primary key.',
  );
  expect(checks).toContainEqual(
    expect.objectContaining({
      grade: 'warn',
      advice: expect.stringMatching(/on no other replica/) as string,
    }),
  );
  expect(checks.some(({ message }) => message.includes('trigger tr'))).toBe(false);
});

it('a server without JetStream fails', () => {
  const warnings = ['JetStream is off. Start nats-server with -js.'];
  const server = {
    servers: 'nats://x',
    serverName: '',
    version: '2.9.10',
    rttMs: 1,
    jetstream: undefined,
    log: undefined,
    clock: undefined,
    warnings,
  };
  expect(serverChecks(server).some(({ name }) => name === 'log')).toBe(false);
  expect(serverChecks(server)).toContainEqual({
    name: 'server',
    grade: 'fail',
    message: 'JetStream is off.',
    advice: 'Start nats-server with -js.',
  });
});

it('a cluster without a log fails: nothing runs there', () => {
  const jetstream = { storageBytes: 0, maxStorageBytes: -1, streams: 0, consumers: 0 };
  const server = { servers: 'x', serverName: '', version: '2.9.10', rttMs: 1, warnings: [], log: undefined };
  const checks = serverChecks({ ...server, jetstream } as unknown as Parameters<typeof serverChecks>[0]);
  expect(checks).toContainEqual({
    ...{ name: 'log', grade: 'fail', message: 'The cluster has no log here yet.' },
    advice: 'Start its first replica: `antiphon run --config antiphon.yaml`.',
  });
});

it('clocks that agree are 0 ms apart, never -0', () => {
  const clock = { differenceMs: -0.2, uncertaintyMs: 1 };
  const server = { servers: 'x', serverName: '', version: '2.9.10', rttMs: 1, warnings: [] };
  const checks = serverChecks({ ...server, jetstream: undefined, log: undefined, clock });
  expect(checks.map(({ message }) => message).join()).toContain("clock is 0 ms from this machine's");
});

it('I6: a synchronous cluster is told what a shortfall and a power cut mean', () => {
  const checked = (sync: object, grade: string): string[] => {
    const base = {
      inSync: ['eu-1', 'eu-2'],
      known: ['eu-1', 'eu-2'],
      minInSync: 2,
      needed: 2,
      onShortfall: 'reject',
      acks: 'all',
      recordSeq: 3,
    };
    const status = { ...STATUS, sync: { ...base, ...sync } } as unknown as ReplicaStatus;
    const log = { durability: { grade } } as unknown as NonNullable<ServerDescription['log']>;
    return syncChecks([status], log).map((check) => `${check.name} ${check.grade}`);
  };
  expect(checked({}, 'fsync')).toEqual(['sync ok']);
  expect(checked({}, 'periodic-fsync')).toEqual(['sync ok', 'sync durability ok']);
  expect(checked({ acks: 'logged' }, 'periodic-fsync')).toEqual(['sync ok', 'sync durability warn']);
  expect(checked({ inSync: ['eu-1'] }, 'fsync')).toEqual(['sync fail']);
  expect(checked({ inSync: ['eu-1'], onShortfall: 'degrade' }, 'fsync')).toEqual(['sync warn']);
  expect(syncChecks([STATUS], undefined)).toEqual([]);
});

it('splits what is wrong from what to do', () => {
  expect(splitSentence('Disk 2.9 is full. Make room.')).toEqual({
    message: 'Disk 2.9 is full.',
    advice: 'Make room.',
  });
  // What comes after a colon says why, not what to do.
  expect(splitSentence('It is kept: JetStream refused it: too many bytes (10077). Raise max_bytes.')).toEqual(
    {
      message: 'It is kept: JetStream refused it: too many bytes (10077).',
      advice: 'Raise max_bytes.',
    },
  );
  expect(splitSentence('It waits: The connection is new', 'Wait.')).toEqual({
    message: 'It waits: The connection is new',
    advice: 'Wait.',
  });
  expect(splitSentence('one thing only')).toMatchObject({ message: 'one thing only' });
});

it('Node.js must be recent', () => {
  expect([nodeCheck('20.19.0').grade, nodeCheck('22.19.0').grade]).toEqual(['fail', 'ok']);
});

describe('how much JetStream may store', () => {
  const MB = 1_000_000;
  const counts = { streams: 1, maxStreams: -1, consumers: 0, maxConsumers: -1 };
  const said = (jetstream: object): string => {
    const facts = { ...counts, storageBytes: 3 * MB, maxStorageBytes: -1, ...jetstream };
    const server = { version: '2.15.0', servers: 'nats://x', rttMs: 1, warnings: [], jetstream: facts };
    const checks = serverChecks(server as unknown as Parameters<typeof serverChecks>[0]);
    return checks.find(({ name }) => name === 'jetstream')?.message ?? '';
  };
  const serverHas = (storageBytes: number, maxStorageBytes: number): object => ({
    server: { storageBytes: storageBytes * MB, maxStorageBytes: maxStorageBytes * MB },
  });

  it('names the limit of the server where the account has none', () => {
    expect(said({})).toMatch(/3\.0 MB used, no limit for this account, .* max_file_store .*`--monitor`/);
    expect(said(serverHas(3, 50))).toMatch(/3\.0 MB used, of 50\.0 MB .*\(max_file_store\)$/);
    expect(said(serverHas(9, 50))).toMatch(/of 50\.0 MB .*, of which 9\.0 MB are used by all accounts$/);
  });

  it('names the limit that is reached first', () => {
    const account = { maxStorageBytes: 20 * MB };
    expect(said(account)).toMatch(/of 20\.0 MB that this account may store$/);
    expect(said({ ...account, ...serverHas(3, 50) })).toMatch(/of 20\.0 MB that this account/);
    expect(said({ ...account, ...serverHas(45, 50) })).toMatch(/of 50\.0 MB that the server/);
  });

  it('names the limit of the stream of the log', () => {
    const log = {
      stream: 'S',
      firstSeq: 1,
      lastSeq: 2,
      bytes: MB,
      replicas: 1,
      durability: { grade: 'memory' },
    };
    const logLine = (maxBytes: number): string => {
      const server = { version: '2.15.0', servers: 'nats://x', rttMs: 1, warnings: [], jetstream: counts };
      const facts = { ...server, log: { ...log, maxBytes } };
      const checks = serverChecks(facts as unknown as Parameters<typeof serverChecks>[0]);
      return checks.find(({ name }) => name === 'log')?.message ?? '';
    };
    expect(logLine(-1)).toBe('S: entries 1 to 2, 1.0 MB, one copy');
    expect(logLine(5 * MB)).toBe('S: entries 1 to 2, 1.0 MB of 5.0 MB (max_bytes), one copy');
  });
});
