import type { ClusterSchema } from '@antiphon/core';
import { CONFORMANCE_TABLES, type RowOperation, type StoreHarness } from '../store-harness.js';
import { KitLog, Member, type MemberOptions } from './member.js';

/** Makes the members of one test's cluster. */
export class Kit<Tx = unknown> {
  constructor(readonly harness: StoreHarness<Tx>) {}

  /** The first one has the tables (and these rows), the others get them. All share one log. */
  async members(
    ids: readonly string[],
    options: MemberOptions = {},
    rows: readonly RowOperation[] = [],
  ): Promise<Member<Tx>[]> {
    const log = new KitLog();
    const [firstId = 'a', ...others] = ids;
    const first = await this.first(firstId, log, options, rows);
    const members = [first.member];
    for (const id of others) members.push(await this.join(id, log, first.schema, options));
    await first.member.publish();
    for (const member of members) await member.receive();
    return members;
  }

  async member(options: MemberOptions = {}): Promise<Member<Tx>> {
    const [member] = await this.members(['a'], options);
    if (member === undefined) throw new Error('no member');
    return member;
  }

  async first(
    id: string,
    log: KitLog,
    options: MemberOptions,
    rows: readonly RowOperation[] = [],
  ): Promise<{ readonly member: Member<Tx>; readonly schema: ClusterSchema }> {
    const store = await this.harness.open(CONFORMANCE_TABLES);
    if (rows.length > 0) await this.harness.writeOutside(store, rows);
    const { tables, ddl } = await store.inspect();
    const schema: ClusterSchema = { version: 1, tables: tables.map((table) => table.schema), ddl };
    const member = new Member(id, store, this.harness, log, schema, options);
    await member.install({ createTables: false, sealExistingRows: true });
    return { member, schema };
  }

  async join(
    id: string,
    log: KitLog,
    schema: ClusterSchema,
    options: MemberOptions = {},
  ): Promise<Member<Tx>> {
    const store = await this.harness.open([]);
    await store.inspect();
    const member = new Member(id, store, this.harness, log, schema, options);
    await member.install({ createTables: true, sealExistingRows: false });
    return member;
  }
}

/** How a suite gets the kit: it exists inside of tests only. */
export type KitOf<Tx = unknown> = () => Kit<Tx>;

/** All have equal rows, by checksum. Returns what differs, for a message. */
export async function differences(members: readonly Member[]): Promise<readonly string[]> {
  const [first, ...others] = members;
  if (first === undefined) return [];
  const expected = await first.checksums();
  const found: string[] = [];
  for (const member of others) {
    const checksums = await member.checksums();
    for (const [table, checksum] of Object.entries(expected)) {
      if (checksums[table] !== checksum) found.push(`${table} of ${member.id} differs from ${first.id}`);
    }
  }
  return found;
}
