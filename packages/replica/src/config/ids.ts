import type { Clock } from '@antiphon/core';
import { v7 } from 'uuid';

const DRAWS = 4;

/**
 * A new id for a row: a UUID of version 7 (RFC 9562), 36 characters. No two replicas ever make the
 * same one, and later ones sort after earlier ones, by the clock of the machine, so that new rows
 * go to the end of their index. Give it where the table has `id TEXT PRIMARY KEY`: numbers that
 * each database gives by itself collide where several replicas write (docs/several-writers.md).
 *
 * @example
 * await replica.transaction((tx) => tx.run('INSERT INTO orders (id, sku) VALUES (?, ?)', [newId(), 'A-7']));
 */
export function newId(): string {
  return v7();
}

/** The same, with time and chance of a clock: a simulation makes it again. */
export function idFrom(clock: Pick<Clock, 'nowMs' | 'random'>): string {
  const chance = Uint32Array.from({ length: DRAWS }, () => Math.floor(clock.random() * 2 ** 32));
  return v7({ msecs: clock.nowMs(), random: new Uint8Array(chance.buffer) });
}

/**
 * For attempts of a process at publishing groups, each with a token of its own, as the wire format
 * has it: letters and digits, 40 of them at most. It begins with the id of the process, without its
 * hyphens.
 */
export function tokensOf(instance: string): () => string {
  const prefix = prefixOf(instance);
  let count = 0;
  return () => `${prefix}${(++count).toString(36)}`;
}

/** Of an attempt that this process made. */
export function isTokenOf(instance: string, token: string): boolean {
  return token.startsWith(prefixOf(instance));
}

function prefixOf(instance: string): string {
  return instance.replaceAll('-', '');
}
