import { newId, type Replica } from '@antiphon/replica';
import type { SqliteTransaction } from '@antiphon/sqlite';
import { and, eq, gte, sql, sum } from 'drizzle-orm';
import type { SqliteRemoteDatabase } from 'drizzle-orm/sqlite-proxy';
import { replicaDatabase } from './replica-database.ts';
import * as schema from './schema.ts';
import { transactionDatabase } from './sync-database.ts';

const { customers, orders, stock, wishes } = schema;

export type ShopDatabase = SqliteRemoteDatabase<typeof schema>;

export class Shop {
  readonly #replica: Replica<SqliteTransaction>;
  readonly #db: ShopDatabase;

  constructor(replica: Replica<SqliteTransaction>) {
    this.#replica = replica;
    this.#db = replicaDatabase(replica, schema);
  }

  /** Takes the pieces out of the stock and notes the order, both or neither. */
  async order(customer: string, item: string, pieces: number): Promise<void> {
    await this.#db.batch([
      this.#db
        .update(stock)
        .set({ pieces: sql`${stock.pieces} - ${pieces}` })
        .where(eq(stock.item, item)),
      this.#db.insert(orders).values({ id: newId(), customer, item, pieces }),
    ]);
  }

  /** As many as there are, or as were wished for: what is read decides what is written. */
  async orderAtMost(customer: string, item: string, wished: number): Promise<number> {
    const { value } = await this.#replica.transaction((tx) => {
      const db = transactionDatabase(tx);
      const found = db.select().from(stock).where(eq(stock.item, item)).get();
      const pieces = Math.min(wished, found?.pieces ?? 0);
      if (pieces === 0) return 0;
      db.update(stock)
        .set({ pieces: sql`${stock.pieces} - ${pieces}` })
        .where(eq(stock.item, item))
        .run();
      db.insert(orders).values({ id: newId(), customer, item, pieces }).run();
      return pieces;
    });
    return value;
  }

  async wish(customer: string, item: string): Promise<void> {
    await this.#db.insert(wishes).values({ customer, item }).onConflictDoNothing();
  }

  /** False where there is no such customer. */
  async rename(id: string, name: string): Promise<boolean> {
    const renamed = await this.#db
      .update(customers)
      .set({ name })
      .where(eq(customers.id, id))
      .returning({ id: customers.id });
    return renamed.length === 1;
  }

  sales(): Promise<readonly { customer: string; pieces: number }[]> {
    return salesOf(this.#db);
  }
}

/** What each customer has bought so far. */
export function salesOf(db: ShopDatabase): Promise<readonly { customer: string; pieces: number }[]> {
  return db
    .select({ customer: customers.name, pieces: sum(orders.pieces).mapWith(Number) })
    .from(orders)
    .innerJoin(customers, eq(customers.id, orders.customer))
    .groupBy(customers.name)
    .orderBy(customers.name);
}

/** Wishes that can be met: a join whose tables have columns of one name. */
export function metWishes(db: ShopDatabase) {
  return db
    .select()
    .from(wishes)
    .innerJoin(customers, eq(customers.id, wishes.customer))
    .innerJoin(stock, and(eq(stock.item, wishes.item), gte(stock.pieces, 1)));
}
