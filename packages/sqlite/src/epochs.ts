import { type EpochRecord, nextEpoch, type PassedEpoch } from '@antiphon/core';
import type { Connection } from './connection.js';

interface EpochRow extends Pick<EpochRecord, 'instance' | 'by' | 'why' | 'atMs'> {
  readonly number: number;
  readonly primary: string;
  readonly seq: number;
  readonly voidFrom: number | null;
  readonly voidTo: number | null;
  readonly leaves: string;
}

/** The epochs that a position has passed, behind the first one. */
export class Epochs {
  constructor(private readonly connection: Connection) {}

  /** Never none. */
  read(first: PassedEpoch): readonly PassedEpoch[] {
    const rows = this.connection.db
      .prepare(
        `SELECT epoch AS number, primary_replica AS "primary", instance, seq, void_from AS voidFrom,
           void_to AS voidTo, by, why, at_ms AS atMs, leaves
         FROM _antiphon_epochs ORDER BY epoch`,
      )
      .all() as EpochRow[];
    return [first, ...rows.map(passed)];
  }

  /** Inside the transaction that moves the position there. Throws TypeError unless it is valid. */
  enter(epochs: readonly PassedEpoch[], { record, seq, admitted }: Entered): readonly PassedEpoch[] {
    const before = epochs.at(-1);
    const epoch = before && nextEpoch(before, record, seq);
    if (epoch === undefined) throw new TypeError(`epoch ${record.epoch} does not follow ${before?.number}`);
    const { primary, instance, after, by, why, atMs, leaves } = record;
    const voided = after > admitted ? { from: admitted + 1, to: after } : undefined;
    this.connection
      .statement('INSERT INTO _antiphon_epochs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
      .run(
        ...[epoch.number, primary, instance, seq, voided?.from ?? null, voided?.to ?? null],
        ...[by, why, atMs, JSON.stringify(leaves)],
      );
    return [...epochs, { ...epoch, began: { by, why, atMs, leaves }, ...(voided && { voided }) }];
  }
}

function passed({ voidFrom, voidTo, by, why, atMs, leaves, ...epoch }: EpochRow): PassedEpoch {
  return {
    ...epoch,
    began: { by, why, atMs, leaves: JSON.parse(leaves) as string[] },
    ...(voidFrom !== null && voidTo !== null && { voided: { from: voidFrom, to: voidTo } }),
  };
}

interface Entered {
  readonly record: EpochRecord;
  readonly seq: number;
  /** The last counter of its primary that counts before it. */
  readonly admitted: number;
}
