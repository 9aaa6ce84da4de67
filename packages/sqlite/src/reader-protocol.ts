import type { ErrorCode, QueryResult, ChecksumReport, RowDigest, Value } from '@antiphon/core';
import type { SqliteValue } from './values.js';

/** A table as the reader needs it: SQL text and nothing to decide. */
export interface ReadTable {
  readonly name: string;
  /** Quoted, as are all names here. */
  readonly columns: readonly string[];
  readonly from: string;
  readonly keyColumns: readonly string[];
  readonly key: readonly number[];
  readonly orderBy: string;
}

export type ReadRequest =
  | {
      readonly type: 'query';
      readonly sql: string;
      readonly parameters: readonly SqliteValue[] | Readonly<Record<string, SqliteValue>>;
      readonly maxRows: number;
      readonly maxBytes: number;
    }
  | { readonly type: 'checksum'; readonly tables: readonly ReadTable[]; readonly replica: string }
  | {
      readonly type: 'digests';
      readonly table: ReadTable;
      readonly afterKey: readonly Value[] | undefined;
      readonly limit: number;
    };

export type ReadResult =
  | { readonly type: 'query'; readonly result: QueryResult }
  | { readonly type: 'checksum'; readonly report: ChecksumReport }
  | { readonly type: 'digests'; readonly digests: readonly RowDigest[] };

/** Structured clone drops classes: text that is not UTF-8 travels as this. */
export interface ClonedTaggedValue {
  readonly tag: 'raw-text';
  readonly bytes: Uint8Array;
}

export interface ReadMessage {
  readonly id: number;
  readonly request: ReadRequest;
}

export type ReadReply = {
  /** In the reading process, without the way there and back. */
  readonly tookMs: number;
} & (
  | { readonly id: number; readonly ok: true; readonly result: ReadResult }
  | {
      readonly id: number;
      readonly ok: false;
      readonly code: ErrorCode;
      readonly message: string;
      readonly context: Record<string, unknown>;
    }
);
