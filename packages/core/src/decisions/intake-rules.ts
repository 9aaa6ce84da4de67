import { type VectorClock, counterOf } from '../clocks/vector-clock.js';
import { type LimitsFrom, limitsAt } from '../cluster/agreed-limits.js';
import { AntiphonError } from '../errors/antiphon-error.js';
import type { ClusterSchema } from '../model/schema.js';
import type { Batch } from '../model/transaction.js';
import type { TransactionId } from '../model/transaction-id.js';
import type { LogEntry } from '../ports/log.js';

/**
 * What every message is held against, whoever sent it. The same on every replica: all of it is
 * agreed on or in the log.
 */
export interface IntakeRules {
  readonly schema: ClusterSchema;
  /** The only replica whose messages count. Undefined where every member writes. */
  readonly primary: string | undefined;
  /** Of the cluster's document. */
  readonly agreed: readonly LimitsFrom[];
  /**
   * Rows have versions. Where one replica's order holds, or that of certification, no time decides
   * anything, and none is refused.
   */
  readonly timesDecide: boolean;
  /** Decides about alarms only. */
  readonly clockAlarmMs: number;
}

/**
 * Why an entry of this origin must be quarantined, before anything of it is read; undefined when it
 * need not.
 */
export function refuseOrigin(entry: LogEntry, known: boolean): AntiphonError | undefined {
  const { origin } = entry;
  if (known) return undefined;
  return problem('UNKNOWN_ORIGIN', entry, `${origin.slice(0, 80)} is not a member of the cluster`);
}

/** Why a decoded batch must be quarantined; undefined when it may be applied. */
export function refuseBatch(entry: LogEntry, batch: Batch, rules: IntakeRules): AntiphonError | undefined {
  if (batch.origin !== entry.origin) {
    return problem('UNKNOWN_ORIGIN', entry, `a message of ${batch.origin} was published as ${entry.origin}`);
  }
  const aheadMs = latestTime(batch) / 1000 - entry.storedAtMs;
  if (isTooFarAhead(aheadMs, entry, rules)) {
    const hours = (aheadMs / 3_600_000).toFixed(1);
    return problem(
      'MALFORMED_MESSAGE',
      entry,
      `its hybrid time is ${hours} h ahead of the log's clock. Set the clock of ${batch.origin}`,
    );
  }
  const unknown = unknownTable(batch, rules.schema);
  return unknown === undefined ? undefined : problem('UNKNOWN_TABLE', entry, unknown);
}

/** Whether changes with times so far ahead of the log's clock are quarantined. */
export function isTooFarAhead(aheadMs: number, { seq }: LogEntry, rules: IntakeRules): boolean {
  return rules.timesDecide && aheadMs > limitsAt(rules.agreed, seq).clockRefusalMs;
}

/**
 * I5: the first transaction that the batch builds on and this replica has not; undefined when there
 * is none.
 */
export function missingCause(
  batch: Batch,
  vector: VectorClock,
): { readonly origin: string; readonly counter: number } | undefined {
  for (const origin of Object.keys(batch.context)) {
    // Its own earlier transactions are the business of admission.
    if (origin === batch.origin) continue;
    const counter = counterOf(batch.context, origin);
    if (counter > counterOf(vector, origin)) return { origin, counter };
  }
  return undefined;
}

/**
 * What this replica has of an earlier primary and the sender, the primary, has not: by the log's
 * order both have the same, so one of them has missed something. Undefined when it is the same.
 */
export function unknownToPrimary(
  batch: Batch,
  vector: VectorClock,
  self?: string,
): TransactionId | undefined {
  if (batch.epoch === 0) return undefined;
  for (const origin of Object.keys(vector)) {
    // Its own numbers may be spent on what was undone.
    if (origin === batch.origin || origin === self) continue;
    const counter = counterOf(vector, origin);
    if (counter > counterOf(batch.context, origin)) return { origin, counter };
  }
  return undefined;
}

export function latestTime(batch: Batch): number {
  if (batch.kind === 'part') return batch.time;
  return batch.transactions.reduce((latest, { time }) => Math.max(latest, time), batch.time);
}

function unknownTable(batch: Batch, schema: ClusterSchema): string | undefined {
  for (const table of batch.tables) {
    const known = schema.tables.find(({ name }) => name === table.name);
    if (known === undefined) return `the cluster does not replicate table ${table.name.slice(0, 80)}`;
    const alike =
      known.columns.length === table.columns.length &&
      known.columns.every(({ name }, index) => name === table.columns[index]) &&
      known.key.length === table.key.length &&
      known.key.every((column, index) => column === table.key[index]);
    if (!alike) return `table ${table.name} has other columns or another key than the cluster agreed on`;
  }
  return undefined;
}

export function problem(
  code: 'UNKNOWN_ORIGIN' | 'UNKNOWN_TABLE' | 'MALFORMED_MESSAGE',
  entry: LogEntry,
  why: string,
): AntiphonError {
  return new AntiphonError(code, `Entry ${entry.seq} of the log was quarantined: ${why}.`, {
    context: { origin: entry.origin.slice(0, 80), seq: entry.seq },
  });
}
