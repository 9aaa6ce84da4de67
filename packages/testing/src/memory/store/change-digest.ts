import { createHash } from 'node:crypto';
import type { Row } from '@antiphon/core';
import { keyText } from './key-order.js';

export interface NamedChange {
  readonly op: 'insert' | 'update' | 'delete';
  readonly table: string;
  readonly row: Row;
}

/** One text for what a transaction did, however it was cut into messages. */
export class ChangeDigest {
  readonly #hash = createHash('sha256');

  add({ op, table, row }: NamedChange): void {
    this.#hash.update(`${op} ${table} ${keyText(row)}\n`);
  }

  finish(): string {
    return this.#hash.digest('hex').slice(0, 24);
  }
}
