import { sql } from 'drizzle-orm';
import { check, index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core';

export const customers = sqliteTable('customers', {
  id: text().primaryKey(),
  name: text().notNull(),
});

export const stock = sqliteTable(
  'stock',
  { item: text().primaryKey(), pieces: integer().notNull() },
  (table) => [check('enough', sql`${table.pieces} >= 0`)],
);

export const orders = sqliteTable(
  'orders',
  {
    id: text().primaryKey(),
    customer: text()
      .notNull()
      .references(() => customers.id),
    item: text()
      .notNull()
      .references(() => stock.item),
    pieces: integer().notNull(),
  },
  (table) => [index('orders_of_customer').on(table.customer)],
);

export const wishes = sqliteTable(
  'wishes',
  {
    customer: text()
      .notNull()
      .references(() => customers.id, { onDelete: 'cascade' }),
    item: text()
      .notNull()
      .references(() => stock.item, { onDelete: 'cascade' }),
  },
  (table) => [primaryKey({ columns: [table.customer, table.item] })],
);
