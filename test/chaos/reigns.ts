import { checkLinearizable, type OperationRecord } from '@antiphon/testing';

/** One operation, and the epochs that its process knew before and after it. */
export interface ReignOperation {
  readonly record: OperationRecord;
  /** One number only: nobody knows when it ended. */
  readonly epochs: readonly number[];
}

export interface Reigns {
  /** Who was the primary in each epoch, from epoch 0 on. */
  readonly primaries: readonly string[];
  readonly operations: readonly ReignOperation[];
  /** Values that are in the log. */
  readonly written: ReadonlySet<string>;
  /** Values in the ledger of some replica, and the epoch in which each was written. */
  readonly rescued: readonly (readonly [value: string, epoch: number])[];
}

export interface ReignsReport {
  readonly faults: readonly string[];
  /** How many histories were checked, and reads of what was in a tail. */
  readonly histories: number;
  readonly tailReads: number;
}

interface Judged {
  readonly record: OperationRecord;
  readonly from: number;
  readonly to: number;
  /** In this reign, what it wrote or read had been undone. */
  readonly undoneIn: number | undefined;
}

/**
 * Whether registers are linearizable where the primary changes.
 *
 * An asynchronous primary acknowledges what the log does not have yet, and shows it in strong
 * reads. What the log has not got when another replica becomes the primary is undone, and goes to a
 * ledger. So there is a history for each reign, the time in which one replica is the primary: of
 * everything in the log, and of the tail of that reign beside it. Each has to be linearizable.
 * Later reigns never show a tail, and nobody shows it any more once somebody else has been the
 * primary. Where nothing is ever undone, the last one is the ordinary history, and the only one.
 */
export function checkReigns({ primaries, operations, written, rescued }: Reigns): ReignsReport {
  const reigns = reignsOf(primaries);
  const reignOf = (epoch: number): number => reigns[Math.min(epoch, reigns.length - 1)] ?? 0;
  const undone = new Map<string, number>();
  for (const [value, epoch] of rescued)
    undone.set(value, Math.max(undone.get(value) ?? 0, reignOf(epoch) + 1));
  const judged = operations.map(({ record, epochs }): Judged => {
    const value = valueOf(record);
    const [from = 0, to] = epochs;
    return {
      ...{ record, from: reignOf(from), to: to === undefined ? Infinity : reignOf(to) },
      undoneIn: typeof value === 'string' ? undone.get(value) : undefined,
    };
  });
  const faults = [...untrue(judged, written), ...lateReads(judged)];
  const last = reigns.at(-1) ?? 0;
  const ofTails = judged.filter((one) => isTailRead(one));
  const checked = new Set([last, ...[...undone.values()].map((reign) => reign - 1)]);
  for (const reign of checked) {
    const history = judged.flatMap((one) => inReign(one, reign, written));
    const result = checkLinearizable(history);
    if (result.linearizable === true) continue;
    const why = result.linearizable === false ? result.explanation : result.reason;
    faults.push(`In reign ${reign} of ${last}: ${why}`);
  }
  return { faults, histories: checked.size, tailReads: ofTails.length };
}

/** A restart is an epoch of the same primary, and keeps its tail. */
function reignsOf(primaries: readonly string[]): readonly number[] {
  let reign = 0;
  return primaries.map((primary, epoch) => {
    if (epoch > 0 && primary !== primaries[epoch - 1]) reign++;
    return reign;
  });
}

function valueOf({ operation, completion }: OperationRecord): unknown {
  if (operation.kind === 'write') return operation.value;
  return completion.type === 'ok' ? completion.value : undefined;
}

/** A read of a reign in which the value was there, and was undone at its end. */
function isTailRead({ record, to, undoneIn }: Judged): boolean {
  return record.operation.kind === 'read' && undoneIn !== undefined && to < undoneIn;
}

/** What `one` is in the history of a reign. */
function inReign(one: Judged, reign: number, written: ReadonlySet<string>): readonly OperationRecord[] {
  const { record, from, to, undoneIn } = one;
  if (from > reign || record.completion.type === 'failed') return [];
  const { operation } = record;
  if (operation.kind !== 'write') {
    if (to > reign) return [];
    // Who does not know in which reign it was read cannot say whether it was in a tail.
    if (undoneIn !== undefined && from < undoneIn && undoneIn <= to) return [];
    return isTailRead(one) && reign >= (undoneIn ?? 0) ? [] : [record];
  }
  const isInLog = written.has(String(operation.value));
  const isInTail = undoneIn !== undefined && reign < undoneIn;
  if (!isInLog && !isInTail) return [];
  return [to > reign ? withoutEnd(record) : record];
}

/** It may have taken effect by then, or may later. */
function withoutEnd({ completedAtMs: _, ...record }: OperationRecord): OperationRecord {
  return { ...record, completion: { type: 'unknown' } };
}

/** What callers were told, against what has become of it. */
function untrue(judged: readonly Judged[], written: ReadonlySet<string>): string[] {
  return judged.flatMap(({ record, undoneIn }) => {
    if (record.operation.kind !== 'write') return [];
    const value = String(record.operation.value);
    const { type } = record.completion;
    if (type === 'ok' && !written.has(value) && undoneIn === undefined)
      return [`${value} was acknowledged, and is neither in the log nor in a ledger`];
    if (type === 'failed' && written.has(value)) return [`${value} failed for certain, and is in the log`];
    return [];
  });
}

/** Nobody reads a tail once something of a later reign is done. */
function lateReads(judged: readonly Judged[]): string[] {
  const done = judged.filter(({ record, from }) => record.completion.type === 'ok' && from > 0);
  return judged.filter(isTailRead).flatMap(({ record, to }) => {
    const before = done.find(
      ({ record: { completedAtMs = Infinity }, from }) => from > to && completedAtMs < record.invokedAtMs,
    );
    if (before === undefined) return [];
    return [
      `${JSON.stringify(record)} shows what had been undone: before it, in a later reign, ${JSON.stringify(before.record)}`,
    ];
  });
}
