import { newId, type Replica } from '@antiphon/replica';
import type { SqliteTransaction } from '@antiphon/sqlite';
import { Kysely } from 'kysely';
import { replicaDialect, writeTogether } from './replica-dialect.ts';

/** Made by whoever creates the cluster, before it does: a replica stops when its schema changes. */
export const SCHEMA = `
  CREATE TABLE customers (id TEXT PRIMARY KEY, name TEXT NOT NULL);
  CREATE TABLE orders (
    id TEXT PRIMARY KEY, customer TEXT NOT NULL REFERENCES customers (id), item TEXT NOT NULL, pieces INTEGER NOT NULL
  );
  CREATE TABLE stock (item TEXT PRIMARY KEY, pieces INTEGER NOT NULL CHECK (pieces >= 0));
  INSERT INTO customers VALUES ('c-1', 'Ada'), ('c-2', 'Grace');
  INSERT INTO stock VALUES ('lamp', 10);
`;

interface Tables {
  customers: { id: string; name: string };
  orders: { id: string; customer: string; item: string; pieces: number };
  stock: { item: string; pieces: number };
}

export interface Sale {
  readonly customer: string;
  readonly pieces: number;
}

export class Shop {
  readonly #replica: Replica<SqliteTransaction>;
  readonly #db: Kysely<Tables>;

  constructor(replica: Replica<SqliteTransaction>) {
    this.#replica = replica;
    this.#db = new Kysely<Tables>({ dialect: replicaDialect(replica) });
  }

  /** Takes the pieces out of the stock and notes the order, both or neither. */
  async order(customer: string, item: string, pieces: number): Promise<void> {
    const taken = this.#db
      .updateTable('stock')
      .set((row) => ({ pieces: row('pieces', '-', pieces) }))
      .where('item', '=', item);
    const noted = this.#db.insertInto('orders').values({ id: newId(), customer, item, pieces });
    await writeTogether(this.#replica, [taken, noted]);
  }

  /** What each customer has bought so far. */
  sales(): Promise<readonly Sale[]> {
    return this.#db
      .selectFrom('orders')
      .innerJoin('customers', 'customers.id', 'orders.customer')
      .select(({ fn }) => ['customers.name as customer', fn.sum<number>('orders.pieces').as('pieces')])
      .groupBy('customers.name')
      .orderBy('customers.name')
      .execute();
  }

  async rename(id: string, name: string): Promise<boolean> {
    const { numUpdatedRows } = await this.#db
      .updateTable('customers')
      .set({ name })
      .where('id', '=', id)
      .executeTakeFirstOrThrow();
    return numUpdatedRows === 1n;
  }

  async inStock(item: string): Promise<number> {
    const { pieces } = await this.#db
      .selectFrom('stock')
      .select('pieces')
      .where('item', '=', item)
      .executeTakeFirstOrThrow();
    return pieces;
  }
}
