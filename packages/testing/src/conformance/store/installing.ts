import { describe, expect, it } from 'vitest';
import { put } from '../store-harness.js';
import { differences, type KitOf } from './kit.js';
import { codeOf } from '../error-code.js';
import { KitLog } from './member.js';

export function describeInstalling(kit: KitOf): void {
  describe('installing', () => {
    it('brings tables and rows of the first replica to those that join', async () => {
      const rows = [
        put('items', 1n, 'one', 1.5, null),
        put('items', 2n, 'two', null, new Uint8Array([0, 1])),
      ];
      const [first, second] = await kit().members(['a', 'b'], {}, rows);
      expect(await second?.rows('items')).toEqual(await first?.rows('items'));
      expect(await second?.rows('items')).toHaveLength(2);
      expect(await differences([first, second].flatMap((member) => member ?? []))).toEqual([]);
    });

    it('is idempotent, and the state is that of before', async () => {
      const member = await kit().member();
      await member.write(put('items', 1n, 'one', null, null));
      const { lastCounter, vector, position } = member.store.state();
      await member.reopen();
      await member.reopen();
      expect(member.store.state()).toMatchObject({ lastCounter, vector, position });
      expect(await member.rows('items')).toHaveLength(1);
    });

    it('says whose database it is', async () => {
      const member = await kit().member();
      const { identity } = await member.store.inspect();
      expect(identity).toMatchObject({
        cluster: 'conformance',
        replica: 'a',
        generation: 'conformance',
        schemaVersion: 1,
      });
    });

    it('refuses to join with rows of its own', async () => {
      const { schema } = await kit().first('a', new KitLog(), {});
      const other = await kit().first('b', new KitLog(), {}, [put('items', 9n, 'own', null, null)]);
      const store = await kit().harness.reopen(other.member.store);
      await store.inspect();
      const identity = { cluster: 'conformance', replica: 'c', generation: 'conformance', schemaVersion: 1 };
      const settings = {
        identity,
        schema,
        writes: 'capture',
        rowVersions: true,
        createTables: true,
        sealExistingRows: false,
        durable: false,
      } as const;
      const refused = await store.install(settings, other.member.clock).then(() => 'accepted', codeOf);
      expect(refused).toBe('STORE_CONTENT');
    });

    it('finds a table that cannot be replicated', async () => {
      const store = await kit().harness.open([
        { name: 'keyless', columns: [{ name: 'a', declaredType: '' }], key: [] },
      ]);
      const { tables } = await store.inspect();
      expect(tables.find(({ schema }) => schema.name === 'keyless')?.unsupported).toMatch(/\w/);
    });
  });
}
