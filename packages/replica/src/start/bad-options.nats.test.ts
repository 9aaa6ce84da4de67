import { sqlite } from '@antiphon/sqlite';
import { expect, it } from 'vitest';
import { createReplica, problemsOf } from '../index.js';
import { ClusterFixture } from '../testing/cluster-fixture.js';

/** As JavaScript calls it. */
type Loose = Record<string, (...args: readonly unknown[]) => Promise<unknown>>;

it('what is misspelt or not valid is BAD_OPTION, which names it, wherever JavaScript gives it', async () => {
  await using fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v)');
  const replica = await fixture.replica('a');
  const a = replica as unknown as Loose;
  const refused = async (work: Promise<unknown>, message: RegExp): Promise<void> => {
    const error: unknown = await work.then(
      (value) => value,
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ name: 'AntiphonError', code: 'BAD_OPTION' });
    expect((error as Error).message).toMatch(message);
  };
  const create = createReplica as unknown as (options?: unknown) => Promise<unknown>;
  const rest = { cluster: 'shop', id: 'b', servers: fixture.server.url };
  const store = sqlite({ file: fixture.file('b') });
  await refused(create(), /createReplica\(\) lacks `cluster`, `id`, `servers`, `store`/);
  await refused(create(null), /lacks/);
  await refused(create(rest), /lacks `store`/);
  await refused(create({ ...rest, store: {} }), /`store` is not a store/);
  await refused(create({ ...rest, store, tables: 't' }), /`tables`.*list of names.*'auto'/);
  await refused(create({ ...rest, store, tables: [] }), /`tables` is empty\. .*list of names.*'auto'/);
  await refused(create({ ...rest, store, tables: [5] }), /`tables` is not valid/);
  await refused(
    create({ ...rest, store, update: { mode: 'async', intervalMs: '5' } }),
    /`update.intervalMs` is "5"/,
  );
  await refused(create({ ...rest, store, localTriggers: 't' }), /`localTriggers`.*Give a list of names/);
  await refused(create({ ...rest, store, logger: 'x' }), /`logger`.*debug, info, warn and error/);
  await refused(create({ ...rest, store, onLifecycle: 'x' }), /`onLifecycle`.*Give a function/);
  await refused(create({ ...rest, store, onProgress: 5 }), /`onProgress`.*Give a function/);
  await refused(
    create({ ...rest, store, update: { mode: 'sync', minInSync: '2' } }),
    /`update.minInSync` is "2"/,
  );
  await refused(create({ ...rest, store, limits: { beatMs: '5' } }), /`limits.beatMs` is "5"/);
  await refused(create({ ...rest, store, servers: 5 }), /`servers`.*Give an address/);
  await refused(create({ ...rest, store, servers: [5] }), /`servers`/);
  await refused(create({ ...rest, store, creds: 5 }), /`creds`.*Give a text/);
  await refused(create({ ...rest, store, user: 5, password: {} }), /`user`.*Give a text/);
  await refused(create({ ...rest, store, tabels: ['t'] }), /"tabels"\. Did you mean "tables"\?/);
  await refused(create({ ...rest, store, signal: {} }), /`signal`/);
  await refused(create({ ...rest, store, limits: { pollms: 1 } }), /limits has no option "pollms".*pollMs/);
  await refused(create({ ...rest, store, update: { acks: 'all' } }), /`update\.acks` has no meaning/);
  expect(() => sqlite({ flie: 'x' } as never)).toThrow(/"flie"\. Did you mean "file"\?/);
  expect(() => sqlite(undefined as never)).toThrow(/lacks `file`/);
  expect(() => sqlite({ file: 'x', synchronous: 'FULL' } as never)).toThrow(/Give "normal" or "full"/);
  expect(() => sqlite({ file: 'x', busyTimeoutMs: '5' } as never)).toThrow(/`busyTimeoutMs`/);
  expect(() => sqlite({ file: 'x', busyTimeoutMs: 1.5 })).toThrow(/`busyTimeoutMs`.*is 1\.5.*whole number/);

  const nothing = (): void => undefined;
  await refused(a['transaction']!(nothing, { foo: 1 }), /A write has no option "foo"/);
  await refused(a['transaction']!(nothing, null), /null/);
  await refused(a['transaction']!(nothing, { signal: {} }), /Give an AbortSignal/);
  await refused(a['transaction']!('text'), /needs a function/);
  await refused(a['execute']!('text'), /`statements` is not valid/);
  await refused(a['execute']!([{ sql: 'SELECT 1', parms: [] }]), /"parms"\. Did you mean "params"\?/);
  await refused(a['execute']!([null]), /The options of a statement are null/);
  await refused(a['execute']!([{ sql: 'SELECT 1' }], { ack: 'all' }), /"ack"\. Did you mean "acks"\?/);
  await refused(a['query']!('SELECT 1', [], { consistancy: 'strong' }), /"consistancy".*consistency/);
  await refused(a['query']!('SELECT 1', [], null), /null/);
  await refused(a['query']!(undefined), /SQL as text/);
  await refused(a['query']!('SELECT 1', null), /`params` is null\. Give a list/);
  await refused(a['query']!('SELECT ?', 'x'), /`params` is "x"\. Give a list/);
  for (const [option, value] of Object.entries({
    ...{ timeoutMs: '5', maxRows: '5', consistency: 'any ', integers: 'Number' },
  }))
    await refused(
      a['query']!('SELECT 1', [], { [option]: value }),
      new RegExp(`\`${option}\` is "${value}"\\.`),
    );
  await refused(a['caughtUp']!({ timeoutMs: '5' }), /`timeoutMs` is "5"/);
  expect(() => replica.healthcheck({ maxLagSeconds: '5' as never })).toThrow(/`maxLagSeconds` is "5"/);
  expect(() => replica.subscribe('s', { leaseMs: '5' as never })).toThrow(/`leaseMs` is "5"/);
  // @ts-expect-error as JavaScript calls it
  expect(() => problemsOf()).toThrow(/problemsOf\(\) needs the status of a replica/);
  await refused(replica.subscribe('s').ack('x' as never), /ack\(\) needs a change of.*\{ cursor \}/);
  await refused(a['execute']!(['DELETE FROM t']), /Give a list of \{ sql, params \}/);
  await refused(a['outcome']!(null), /`id` of outcome\(\) must be the id of a write/);
  await refused(a['outcome']!({ origin: 'a' }), /`id` of outcome\(\) must be/);
  await refused(a['outcome']!('a:1', { timeout: 1 }), /"timeout"\. Did you mean "timeoutMs"\?/);
  await refused(a['caughtUp']!({ timeout: 1 }), /"timeout"/);
  await refused(a['caughtUp']!(null), /null/);
  await refused(a['recapture']!('t', { dryrun: true }), /"dryrun"\. Did you mean "dryRun"\?/);
  await refused(a['recapture']!(), /needs the name of a table/);
  await refused(a['removeMember']!(), /^undefined is not a valid replica id/);
  await refused(a['removeMember']!('b', { forced: true }), /"forced"\. Did you mean "force"\?/);
  for (const options of [
    { table: ['t'] },
    { tables: 't' },
    { tables: [] },
    { tables: [5] },
    null,
    { signal: 1 },
  ])
    expect(() => replica.changes(options as never)).toThrow(/changes\(\)/);
  expect(replica.status().lifecycle).toBe('following');
});
