import type { Registry } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import type { ReplicaOptions } from './options.js';
import { eventually } from './testing/eventually.js';
import { MapCluster, type MapReplica } from './testing/map-cluster.js';
import { MapStore, type MapTransaction } from './testing/map-store.js';

const limits = { beatMs: 50 };
const KINDS: readonly (readonly [name: string, options: Partial<ReplicaOptions<MapTransaction>>])[] = [
  ['multi-primary', { topology: 'multi-primary', limits }],
  ['primary-replica', { topology: { 'primary-replica': { primary: 'a' } }, limits }],
];

/** A registry that does not show the record of a member, until it does. */
class Forgetful {
  hidden = true;

  constructor(private readonly key: string) {}

  wrap = (registry: Registry): Registry => ({
    open: () => registry.open(),
    close: () => registry.close(),
    create: (key, value) => registry.create(key, value),
    update: (key, value, revision) => registry.update(key, value, revision),
    get: (key) => (this.#hides(key) ? Promise.resolve(undefined) : registry.get(key)),
    list: async (prefix) => (await registry.list(prefix)).filter(({ key }) => !this.#hides(key)),
  });

  #hides(key: string): boolean {
    return this.hidden && key === this.key;
  }
}

async function put(replica: MapReplica, key: string): Promise<void> {
  await replica.transaction((tx) => tx.put(key, key));
}

interface Parted {
  readonly a: MapReplica;
  readonly b: MapReplica;
  readonly left: MapStore;
  readonly right: MapStore;
  readonly registry: Forgetful;
}

/** `b` has put `x` of `a` aside: it did not know `a` then, and had never applied anything of it. */
async function parted(
  cluster: MapCluster,
  options: Partial<ReplicaOptions<MapTransaction>>,
): Promise<Parted> {
  const left = cluster.founder();
  const right = new MapStore();
  const a = await cluster.replica('a', left, options);
  await (await cluster.replica('b', right, options)).caughtUp();
  await cluster.closeReplica('b');
  const registry = new Forgetful('member.a');
  const b = await cluster.replica('b', right, { ...options, wrapRegistry: registry.wrap });
  await put(a, 'x');
  await eventually('it was put aside', () => right.putAside.length > 0);
  expect(right.rows.has('x')).toBe(false);
  return { a, b, left, right, registry };
}

describe.each(KINDS)('I3: a published transaction that somebody misses, %s', (_, options) => {
  it('is published again, and all after it, when a later one shows the hole', async () => {
    await using cluster = await MapCluster.start();
    const { a, b, right, registry } = await parted(cluster, options);
    registry.hidden = false;
    for (const key of ['y', 'z']) await put(a, key);
    await eventually('it came again', () => ['x', 'y', 'z'].every((key) => right.rows.has(key)));
    await eventually('nothing is missed', () => b.status().waitingFor.length === 0);
    await put(a, 'after');
    await eventually('and goes on', () => right.rows.has('after'));
    // Once was enough.
    const { publishedMessages } = a.status().totals;
    await new Promise((resolve) => setTimeout(resolve, 20 * limits.beatMs));
    expect(a.status().totals['publishedMessages']).toBe(publishedMessages);
    expect(a.status()).toMatchObject({ outbox: { unpublished: 0 }, alarms: [] });
  });

  it('is published again when nothing comes after it', async () => {
    await using cluster = await MapCluster.start();
    const { b, right, registry } = await parted(cluster, options);
    registry.hidden = false;
    await eventually('it came again', () => right.rows.has('x'));
    await eventually('nothing is missed', () => b.status().waitingFor.length === 0);
  });

  it('is waited for visibly while its origin is away, also after a start, and comes when that is back', async () => {
    await using cluster = await MapCluster.start();
    const { left, right, registry } = await parted(cluster, options);
    await cluster.closeReplica('a');
    await cluster.closeReplica('b');
    registry.hidden = false;
    const b = await cluster.replica('b', right, { ...options, wrapRegistry: registry.wrap });
    await eventually('its origin is missed', () =>
      /a does not answer: start it/.test(b.status().waitingFor[0]?.answer ?? ''),
    );
    expect(b.status().waitingFor).toMatchObject([{ origin: 'a', expected: 1 }]);
    await cluster.replica('a', left, options);
    await eventually('it came again', () => right.rows.has('x'));
    await eventually('nothing is missed', () => b.status().waitingFor.length === 0);
  });

  it('says so when its origin has not kept it', async () => {
    await using cluster = await MapCluster.start();
    const forgetting = { ...options, limits: { ...limits, memberSilenceLimitMs: 1 } };
    const { a, b, registry } = await parted(cluster, forgetting);
    await eventually('pruned', () => a.status().outbox.messages === 0);
    registry.hidden = false;
    await put(a, 'y');
    await eventually('it is told', () => /does not keep a:1/.test(b.status().waitingFor[0]?.answer ?? ''));
    expect(b.status().waitingFor).toMatchObject([{ origin: 'a', expected: 1, found: 2 }]);
    expect(b.status().waitingFor[0]?.answer).toContain('docs/lost-log.md');
  });
});
