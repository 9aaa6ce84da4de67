import { type Topology } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { afterEach, expect, it } from 'vitest';
import { ClusterFixture } from '../testing/cluster-fixture.js';

let fixture: ClusterFixture;
afterEach(() => fixture[Symbol.asyncDispose]());

const topology: Topology = { mode: 'primary-replica', primary: 'a' };
const slow = {
  topology,
  failover: { mode: 'manual' },
  update: { mode: 'async', intervalMs: 3_600_000 },
} as const;

it('I10: names rows that something wrote past the capture, until somebody has decided', async () => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', `CREATE TABLE t (id TEXT PRIMARY KEY, v); INSERT INTO t VALUES ('x', 1), ('y', 1)`);
  const logged: string[] = [];
  const ignore = (): void => undefined;
  const error = (_: object, message: string): void => void logged.push(message);
  const logger = { trace: ignore, debug: ignore, info: ignore, warn: ignore, error };
  const a = await fixture.replica('a', { ...slow, logger });
  const b = await fixture.replica('b', slow);
  await b.caughtUp();
  await a.execute([{ sql: 'UPDATE t SET v = v + 1' }]);
  await fixture.sqlWhenFree(
    'a',
    `UPDATE _antiphon_state SET applying = 1; UPDATE t SET v = 99 WHERE id = 'x'; UPDATE _antiphon_state SET applying = 0`,
  );
  await b.takeOver();
  await eventually('a follows', () => a.status().lifecycle === 'following');
  const says = expect.stringMatching(
    /without its triggers.* these rows were not .*: t 'x'\. .*`antiphon verify`/,
  ) as string;
  expect(a.status().alarms).toContainEqual(expect.objectContaining({ name: 'capture', message: says }));
  expect(logged).toContainEqual(says);
  expect(a.healthcheck()).toMatchObject({
    ready: true,
    problems: expect.arrayContaining([expect.stringContaining('without its triggers')]) as string[],
  });
  for (const { id } of (await a.rescue.list()).transactions) await a.rescue.dismiss(id);
  expect(a.status().alarms).toEqual([]);
});
