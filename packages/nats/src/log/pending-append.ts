import type { JetStreamApi } from '../jetstream/api.js';
import type { LogGuard } from './log-guard.js';

export interface PendingAppend {
  readonly id: string;
  readonly subject: string;
  /** The id that the log knows it by, when that is not its own: it shares it with its rivals. */
  readonly place: string | undefined;
  readonly expectedLastSeq: number | undefined;
  readonly expectedLastSeqOfOrigin: number | undefined;
  /** How long the log was known to be when this was sent. */
  readonly floor: number;
  /** After which the outcome is `unknown`; of `performance.now()`. */
  readonly deadlineMs: number;
}

export interface OutcomeDeps {
  readonly api: JetStreamApi;
  readonly guard: LogGuard;
  readonly cluster: string;
}
