import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { COLUMNS, benchRow } from '../rows.js';
import type { Span } from './protocol.js';
import { serve } from './serve.js';

/** A program that knows nothing of Antiphon: it opens the SQLite file and writes. */
let database: DatabaseSync | undefined;
let insert: StatementSync | undefined;

serve({
  open: async ({ file }: { readonly file: string }): Promise<void> => {
    database = new DatabaseSync(file, { timeout: 5000 });
    insert = database.prepare(`INSERT INTO orders VALUES (${COLUMNS.map(() => '?').join(', ')})`);
  },
  write: async ({ id }: { readonly id: number }): Promise<Span> => {
    const startedNs = process.hrtime.bigint();
    insert?.run(...benchRow(id));
    return { startedNs, endedNs: process.hrtime.bigint(), counter: 0 };
  },
  stop: async (): Promise<void> => {
    database?.close();
  },
});
