import type { EpochRecord } from './epoch-record.js';

/** `Epoch.primary` while no replica's transactions count. No identifier is empty. */
export const NOBODY = '';

/** Who may write, as of an entry of the log. */
export interface Epoch {
  /** 0 before the first record: what the cluster's document says holds. */
  readonly number: number;
  /** The only replica whose transactions count. Undefined where every member writes. */
  readonly primary: string | undefined;
  /** The process of the primary that the epoch belongs to; undefined in epoch 0. */
  readonly instance: string | undefined;
  /** The entry of its record; 0 in epoch 0. */
  readonly seq: number;
  /** No other one follows, whatever the log says. */
  readonly isFinal?: boolean;
}

/** One that the position has passed, with what its record says besides; absent in epoch 0. */
export interface PassedEpoch extends Epoch {
  readonly began?: Pick<EpochRecord, 'by' | 'why' | 'atMs' | 'leaves'>;
  /**
   * Counters of its primary that the log holds no transaction of before the record, and that count
   * for nobody behind it.
   */
  readonly voided?: { readonly from: number; readonly to: number };
}
