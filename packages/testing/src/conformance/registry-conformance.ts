import type { Registry } from '@antiphon/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { codeOf } from './error-code.js';
import { bytes, text } from './log/use.js';

export interface RegistryHarness {
  /** Another connection to the same registry, as another process would have. */
  connect(): Promise<Registry>;
  interrupt(): Promise<() => Promise<void>>;
  dispose(): Promise<void>;
}

/** Everything that a Registry must do, as a vitest suite. */
export function registryConformance(name: string, makeHarness: () => Promise<RegistryHarness>): void {
  describe(`registry conformance: ${name}`, () => {
    let harness: RegistryHarness | undefined;
    let one: Registry;
    let two: Registry;
    beforeEach(async () => {
      harness = await makeHarness();
      one = await harness.connect();
      two = await harness.connect();
      await one.open();
      await two.open();
    });
    afterEach(async () => {
      await harness?.dispose();
      harness = undefined;
    });

    it('creates an entry once', async () => {
      expect(await one.get('key')).toBeUndefined();
      const created = await one.create('key', bytes('first'));
      expect(created).toMatchObject({ key: 'key' });
      expect(await two.create('key', bytes('second'))).toBeUndefined();
      const read = await two.get('key');
      expect(text(read?.value)).toBe('first');
      expect(read?.revision).toBe(created?.revision);
    });

    it('changes an entry for whoever knows its newest revision', async () => {
      const created = await one.create('key', bytes('1'));
      const revision = created?.revision ?? 0;
      const updated = await two.update('key', bytes('2'), revision);
      expect(updated?.revision).toBeGreaterThan(revision);
      expect(await one.update('key', bytes('3'), revision)).toBeUndefined();
      expect(text((await one.get('key'))?.value)).toBe('2');
    });

    it('lets one of many win', async () => {
      const created = await one.create('counter', bytes('0'));
      const revision = created?.revision ?? 0;
      const tries = await Promise.all(
        [one, two, one, two].map((registry, index) =>
          registry.update('counter', bytes(String(index)), revision),
        ),
      );
      expect(tries.filter((entry) => entry !== undefined)).toHaveLength(1);
    });

    it('lists by prefix, in key order, with every kind of key', async () => {
      const keys = ['member.b', 'member.a', 'member.a_B-9', 'other', 'member.Z'];
      for (const key of keys) await one.create(key, bytes(key));
      const listed = await two.list('member.');
      expect(listed.map(({ key }) => key)).toEqual(['member.Z', 'member.a', 'member.a_B-9', 'member.b']);
      for (const { key, value } of listed) expect(text(value)).toBe(key);
      expect(await two.list('nothing')).toEqual([]);
    });

    it('keeps some of what a key was, newest first', async () => {
      expect(await one.revisions('key')).toEqual([]);
      let entry = await one.create('key', bytes('0'));
      for (let n = 1; n < 8; n += 1) {
        await one.create(`other.${n}`, bytes('another'));
        entry = await two.update('key', bytes(String(n)), entry?.revision ?? 0);
      }
      const kept = await one.revisions('key');
      expect(kept[0]).toEqual(entry);
      expect(kept.map(({ value }) => text(value))).toEqual(['7', '6', '5', '4', '3']);
      expect(kept.every(({ key }) => key === 'key')).toBe(true);
    });

    it('says when there is no answer, and works again afterwards', async () => {
      await one.create('key', bytes('kept'));
      const mend = await harness?.interrupt();
      expect(await one.get('key').then(() => 'answered', codeOf)).toBe('LOG_UNAVAILABLE');
      await mend?.();
      let found: Awaited<ReturnType<Registry['get']>>;
      for (let attempt = 0; found === undefined && attempt < 100; attempt++)
        found = await two.get('key').catch(() => undefined);
      expect(text(found?.value)).toBe('kept');
    });
  });
}
