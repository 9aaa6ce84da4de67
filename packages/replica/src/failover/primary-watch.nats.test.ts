import type { Topology } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { afterEach, expect, it } from 'vitest';
import { ClusterFixture } from '../testing/cluster-fixture.js';

let fixture: ClusterFixture;
afterEach(() => fixture[Symbol.asyncDispose]());

const topology: Topology = { mode: 'primary-replica', primary: 'a' };
const options = { topology, failover: { mode: 'manual' }, limits: { beatMs: 150 } } as const;

it('tells with `mode: manual` that the primary has gone, and what to do', async () => {
  fixture = await ClusterFixture.start();
  fixture.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  await fixture.replica('a', options);
  const b = await fixture.replica('b', options);
  const alarm = (): string | undefined => b.status().alarms.find(({ name }) => name === 'primary')?.message;
  const seen: string[] = [];
  const ending = new AbortController();
  const watching = (async () => {
    for await (const event of b.events({ signal: ending.signal }))
      if (event.type === 'alarm' && event.alarm.name === 'primary') seen.push(event.phase);
  })().catch(() => undefined);

  await fixture.server.stop();
  await eventually('NATS is away', () => b.status().connection !== 'connected');
  await new Promise((resolve) => setTimeout(resolve, 2500));
  await fixture.restartServer();
  await eventually('it is back', () => b.healthcheck().problems.length === 0);
  expect(seen).toEqual([]);

  await fixture.closeReplica('a');
  await eventually('b says so', () => alarm() !== undefined);
  expect(alarm()).toMatch(/^The primary a has not been heard since 20.*Z, .*`antiphon failover ID`\.$/);
  // Whoever reads here need not wait.
  expect(b.healthcheck()).toMatchObject({ ready: true, problems: [`b: ${alarm()}`] });
  await b.takeOver();
  await eventually('b is it', () => alarm() === undefined);
  ending.abort();
  await watching;
  expect(seen).toEqual(['begin', 'end']);
});
