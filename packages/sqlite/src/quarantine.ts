import type { ApplyStep, QuarantinedMessage } from '@antiphon/core';
import type { Connection } from './connection.js';
import type { ReplicaState } from './state.js';

/**
 * Messages that were quarantined, in the database. Reads and writes within the caller's
 * transaction.
 */
export class Quarantine {
  constructor(private readonly connection: Connection) {}

  add(state: ReplicaState, step: Extract<ApplyStep, { type: 'quarantine' }>): void {
    const { seq, storedAtMs, origin, data, error } = step;
    this.connection
      .statement(
        'INSERT INTO _antiphon_quarantine (seq, stored_at_ms, origin, code, message, data) VALUES (?, ?, ?, ?, ?, ?)',
      )
      .run(seq, storedAtMs, origin, error.code, error.message, data);
    state.quarantined++;
    state.quarantinedBytes += data.length;
  }

  release(state: ReplicaState, { id, arrived }: Extract<ApplyStep, { type: 'release' }>): void {
    const bytes = this.connection
      .statement('DELETE FROM _antiphon_quarantine WHERE id = ? RETURNING length(data)', 'value')
      .get(id);
    if (bytes === undefined) return;
    state.quarantined--;
    state.quarantinedBytes -= Number(bytes);
    if (!arrived) state.discarded++;
  }

  /** By number, after `afterId`; only those of the entry when `seq` is given. */
  list(afterId: number, seq: number | undefined, limit: number): readonly QuarantinedMessage[] {
    return this.connection
      .statement(
        `SELECT id, seq, stored_at_ms AS storedAtMs, origin, code, message, length(data) AS bytes,
                CAST(round((julianday(put_aside_at) - 2440587.5) * 86400000) AS INTEGER) AS quarantinedAtMs
         FROM _antiphon_quarantine WHERE id > ? AND (? IS NULL OR seq = ?) ORDER BY id LIMIT ?`,
      )
      .all(afterId, seq ?? null, seq ?? null, limit) as QuarantinedMessage[];
  }

  data(id: number): Uint8Array | undefined {
    const data = this.connection
      .statement('SELECT data FROM _antiphon_quarantine WHERE id = ?', 'value')
      .get(id);
    return data instanceof Uint8Array ? data : undefined;
  }
}
