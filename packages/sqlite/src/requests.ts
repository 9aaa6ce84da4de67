import { REQUESTS_TABLE, type RequestRows, type RequestsSchema } from '@antiphon/core';
import type { Connection } from './connection.js';

const INDEX = `${REQUESTS_TABLE}_at`;

/** How the table of requests is made, and what is agreed on about it. */
export const REQUESTS: RequestsSchema = {
  table: {
    name: REQUESTS_TABLE,
    columns: [
      { name: 'id', declaredType: 'TEXT' },
      { name: 'at', declaredType: 'INTEGER' },
      { name: 'result', declaredType: 'TEXT' },
    ],
    key: [0],
    rules: [
      '"at" NOT NULL',
      '"id" NOT NULL',
      '"result" NOT NULL',
      'PRIMARY KEY ("id" COLLATE BINARY)',
      'WITHOUT ROWID',
    ],
  },
  statements: [
    `CREATE TABLE ${REQUESTS_TABLE} (id TEXT NOT NULL PRIMARY KEY, at INTEGER NOT NULL, result TEXT NOT NULL) WITHOUT ROWID`,
    `CREATE INDEX ${INDEX} ON ${REQUESTS_TABLE} (at)`,
  ],
};

/** Rows of requests, in the transaction that is open on the writing connection. */
export class Requests implements RequestRows {
  constructor(private readonly writer: () => Connection) {}

  find(id: string): string | undefined {
    return this.writer().statement(`SELECT result FROM ${REQUESTS_TABLE} WHERE id = ?`, 'value').get(id) as
      string | undefined;
  }

  add(id: string, atMs: number, result: string): void {
    this.writer()
      .statement(`INSERT INTO ${REQUESTS_TABLE} (id, at, result) VALUES (?, ?, ?)`)
      .run(id, atMs, result);
  }

  renew(id: string, atMs: number): void {
    this.writer().statement(`UPDATE ${REQUESTS_TABLE} SET at = max(at + 1, ?) WHERE id = ?`).run(atMs, id);
  }

  forget(beforeMs: number, limit: number): number {
    const { changes } = this.writer()
      .statement(
        `DELETE FROM ${REQUESTS_TABLE} WHERE id IN
         (SELECT id FROM ${REQUESTS_TABLE} INDEXED BY ${INDEX} WHERE at < ? ORDER BY at LIMIT ?)`,
      )
      .run(beforeMs, limit);
    return Number(changes);
  }
}
