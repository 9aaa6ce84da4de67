import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NatsHandle } from '../connection/nats-handle.js';
import { bytes, Fixture, text } from '../testing/fixture.js';
import { eventually } from '@antiphon/testing';
import type { KvRegistry } from './kv-registry.js';

let fixture: Fixture;
let nats: NatsHandle;
let clusters = 0;
beforeAll(async () => {
  fixture = await Fixture.start();
  nats = await fixture.connect();
});
afterAll(() => fixture.stop());

async function openNew(): Promise<KvRegistry> {
  const registry = nats.registry(`c${(clusters += 1)}`);
  await registry.open();
  return registry;
}

describe('the registry', () => {
  it('creates, reads and updates by compare-and-set', async () => {
    const registry = await openNew();
    expect(await registry.get('members.a')).toBeUndefined();
    const created = await registry.create('members.a', bytes('one'));
    expect(created?.revision).toBeGreaterThan(0);
    expect(await registry.create('members.a', bytes('other'))).toBeUndefined();
    const revision = created?.revision ?? 0;
    const updated = await registry.update('members.a', bytes('two'), revision);
    expect(updated?.revision).toBeGreaterThan(revision);
    expect(await registry.update('members.a', bytes('three'), revision)).toBeUndefined();
    const read = await registry.get('members.a');
    expect(read).toEqual({ key: 'members.a', value: read?.value, revision: updated?.revision });
    expect(text(read?.value)).toBe('two');
    expect(await registry.update('absent', bytes(''), 7)).toBeUndefined();
  });

  it('lists by prefix in key order', async () => {
    const registry = await openNew();
    expect(await registry.list('')).toEqual([]);
    const keys = [
      'members.b',
      'members.a',
      'settings',
      'member',
      ...Array.from({ length: 80 }, (_, n) => `n.${n + 10}`),
    ];
    for (const key of keys) await registry.create(key, bytes(key));
    expect((await registry.list('members.')).map(({ key }) => key)).toEqual(['members.a', 'members.b']);
    expect((await registry.list('member')).map(({ key }) => key)).toEqual([
      'member',
      'members.a',
      'members.b',
    ]);
    expect((await registry.list('n.')).map(({ value }) => text(value))).toEqual(keys.slice(4));
    expect(await registry.list('')).toHaveLength(keys.length);
  });

  it('lets exactly one of many win: creating, and counting up', async () => {
    const cluster = 'race';
    const registries = await Promise.all(
      [1, 2, 3, 4].map(async () => {
        const registry = (await fixture.connect()).registry(cluster);
        await registry.open();
        return registry;
      }),
    );
    const created = await Promise.all(
      registries.map((registry, n) => registry.create('counter', bytes(`by ${n}`))),
    );
    expect(created.filter((entry) => entry !== undefined)).toHaveLength(1);
    const first = await registries[0]!.get('counter');
    await registries[0]!.update('counter', bytes(0), first!.revision);
    await Promise.all(
      registries.map(async (registry) => {
        for (let wins = 0; wins < 50;) {
          const { value, revision } = (await registry.get('counter'))!;
          if ((await registry.update('counter', bytes(Number(text(value)) + 1), revision)) !== undefined)
            wins += 1;
        }
      }),
    );
    expect(text((await registries[1]!.get('counter'))?.value)).toBe('200');
  });

  it('shares its bucket with the tools of NATS, deletes included', async () => {
    const registry = await openNew();
    await registry.create('key', bytes('ours'));
    const bucket = await nats.connection.jetstream().views.kv(`ANTIPHON_c${clusters}`);
    expect((await bucket.get('key'))?.string()).toBe('ours');
    await bucket.put('key', 'theirs');
    expect(text((await registry.get('key'))?.value)).toBe('theirs');
    await bucket.delete('key');
    expect(await registry.get('key')).toBeUndefined();
    expect(await registry.list('')).toEqual([]);
    const again = await registry.create('key', bytes('again'));
    expect(again).toBeDefined();
    expect(await registry.create('key', bytes('twice'))).toBeUndefined();
    expect(text((await registry.get('key'))?.value)).toBe('again');
  });

  it.each(['', '.', 'a.', '.a', 'a..b', 'a b', 'a>', '*', 'a\r\n', 'é', 'x'.repeat(257)])(
    'I15: refuses the key %j',
    async (key) => {
      const registry = await openNew();
      for (const asking of [
        registry.get(key),
        registry.create(key, bytes('')),
        registry.update(key, bytes(''), 1),
      ]) {
        await expect(asking).rejects.toMatchObject({ code: 'BAD_OPTION' });
      }
    },
  );

  it('says what is missing when it was not opened, and that it is closed', async () => {
    const registry = nats.registry('never');
    await expect(registry.get('a')).rejects.toMatchObject({
      code: 'LOG_UNAVAILABLE',
      message: /does not exist/,
    });
    await registry.close();
    await expect(registry.get('a')).rejects.toMatchObject({ code: 'CLOSED' });
  });

  it('keeps everything through a crash of the server, and never writes twice', async () => {
    const registry = await openNew();
    let revision = (await registry.create('counter', bytes(0)))!.revision;
    let counter = 0;
    let stop = false;
    let unsure = false;
    const counting = (async () => {
      while (!stop) {
        try {
          const written = await registry.update('counter', bytes(counter + 1), revision);
          const entry = written ?? (await registry.get('counter'));
          // A write that got no answer while the server was away may have been done; nothing else
          // may.
          const answered = written !== undefined || unsure;
          const ours =
            answered && text(entry?.value) === String(counter + 1) && entry?.revision === revision + 1;
          if (!ours) throw new Error(`somebody else wrote: ${text(entry?.value)}, unsure: ${unsure}`);
          [revision, counter, unsure] = [entry.revision, counter + 1, false];
        } catch (error) {
          if ((error as { code?: string }).code !== 'LOG_UNAVAILABLE') throw error;
          unsure = true;
        }
      }
    })();
    for (let round = 0; round < 3; round += 1) {
      const before = counter;
      await eventually('some counting', () => counter > before + 50);
      await fixture.server.kill();
      await fixture.server.restart();
    }
    const before = counter;
    await eventually('some counting', () => counter > before);
    stop = true;
    await counting;
    expect(text((await registry.get('counter'))?.value)).toBe(String(counter));
  });
});
