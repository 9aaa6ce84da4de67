import type { ErrorCode, Row } from '@antiphon/core';
import type { SqliteValue } from './values.js';

/** What a stream reads. */
export interface StreamRequest {
  readonly sql: string;
  readonly parameters: readonly SqliteValue[] | Readonly<Record<string, SqliteValue>>;
  /** About. A larger one is an error. */
  readonly maxRowBytes: number;
}

/** To the process: what to read, then, for each piece, that there is room for it. */
export type StreamOrder =
  { readonly type: 'open'; readonly request: StreamRequest } | { readonly type: 'next' };

/** One for each order. */
export type StreamReply =
  | { readonly type: 'opened'; readonly columns: readonly string[] }
  /** Empty: there are no more. */
  | { readonly type: 'rows'; readonly rows: readonly Row[] }
  | {
      readonly type: 'failed';
      readonly code: ErrorCode;
      readonly message: string;
      readonly context: Record<string, unknown>;
    };
