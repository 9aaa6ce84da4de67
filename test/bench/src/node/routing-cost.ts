import { parseBalance, ReadRouter, ReplicaTable } from '@antiphon/client/internal';
import { type Beat, systemClock } from '@antiphon/core';
import { memoryBus } from '@antiphon/testing';

const IN_FLIGHT = 64;
const TIMEOUT_MS = 10_000;

/** Microseconds of processor time that the balancer takes for a read which is answered at once. */
export async function routingCost(reads: number, replicas: number): Promise<number> {
  const clock = systemClock();
  const ids = Array.from({ length: replicas }, (_, index) => `replica-${index}`);
  const table = new ReplicaTable(
    {
      ...{ bus: memoryBus().connect(), cluster: 'bench' },
      members: () => Promise.resolve(ids),
      beatOf: (id) => Promise.resolve(beatOf(id)),
    },
    clock,
  );
  await table.start();
  const router = new ReadRouter(table, parseBalance(), clock);
  const needs = { primaryOnly: false, prefer: 'any' } as const;
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next++ < reads) await router.read({ ask: () => answered, needs, timeoutMs: TIMEOUT_MS });
  };
  const before = process.cpuUsage();
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
  const { user, system } = process.cpuUsage(before);
  table[Symbol.dispose]();
  return (user + system) / reads;
}

const answered = Promise.resolve();

function beatOf(id: string): Beat {
  return {
    ...{ id, instance: `${id}-1`, startedAtMs: 0, lifecycle: 'following', generation: 'g' },
    ...{ seq: 1, appliedSeq: 1, waitsFor: {}, waitsWhy: {}, strangers: [], vector: {} },
    ...{ lagEntries: 0, lagMs: 0, unpublished: 0, nowMs: 0, reads: { weight: 1, isDrained: false } },
  };
}
