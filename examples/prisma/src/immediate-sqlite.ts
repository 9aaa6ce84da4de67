import { PrismaBetterSqlite3 } from '@prisma/adapter-better-sqlite3';

interface Connection {
  prepare(sql: string): unknown;
}

/**
 * Prisma's adapter for better-sqlite3, whose transactions begin with the lock. Its own `BEGIN` is
 * deferred: a transaction that reads first fails at once when the replica writes in between,
 * however long it might wait (docs/other-programs.md).
 */
export class ImmediateSqlite extends PrismaBetterSqlite3 {
  override async connect(): ReturnType<PrismaBetterSqlite3['connect']> {
    const adapter = await super.connect();
    const { client } = adapter as unknown as { readonly client: Connection };
    const prepare = client.prepare.bind(client);
    client.prepare = (sql) => prepare(sql === 'BEGIN' ? 'BEGIN IMMEDIATE' : sql);
    return adapter;
  }
}
