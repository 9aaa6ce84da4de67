import type { AntiphonError } from '../errors/antiphon-error.js';
import type { TraceContext } from '../tracing/trace-context.js';

/** How far a stream of published changes goes. */
export interface PublicationEnd {
  /** When the stream was made: another one of its name has another time. */
  readonly created: string;
  /** The number of its last message; 0: there never was one. */
  readonly seq: number;
  /**
   * The newest message that a publisher of this cluster wrote. Absent: there never was one (`seq`
   * is 0), or it was deleted or too old.
   */
  readonly last?: PublishedMark;
}

/** What a published message says of itself. */
export interface PublishedMark {
  /** Of the attempt; see `PublishRequest.id`. */
  readonly id: string;
  /** The cursor of its change: whoever publishes goes on behind it. */
  readonly place: string;
}

export interface PublishRequest extends PublishedMark {
  readonly subject: string;
  /** Of this attempt alone: the stream drops a repetition that it remembers. */
  readonly id: string;
  readonly data: Uint8Array;
  /** Refused unless the stream ends with exactly this message. */
  readonly expectedSeq: number;
  /** The id of that message, where the same publisher wrote it. Refused when it is another one. */
  readonly expectedId: string | undefined;
  /** The span that a subscriber continues. */
  readonly trace?: TraceContext | undefined;
}

/**
 * `outrun`: the stream ends with another message than expected, and nothing was stored. `failed`:
 * it was refused, or nobody knows; read the end of the stream to find out.
 */
export type PublishResult =
  | { readonly type: 'stored'; readonly seq: number }
  | { readonly type: 'outrun' }
  | { readonly type: 'failed'; readonly error: AntiphonError };

/** The stream that a cluster's changes are published to, for anybody's client. */
export interface Publication {
  /** The stream's name. */
  readonly stream: string;
  /** As it is now: the server connected to next may take less. Headers included. */
  readonly maxMessageBytes: number;
  /**
   * Never stale; makes the stream when it is missing. Throws LOG_UNAVAILABLE, LOG_REFUSED when the
   * stream is not as configured, ACCESS_DENIED, ABORTED.
   */
  end(signal?: AbortSignal): Promise<PublicationEnd>;
  /** Sends without waiting; `settled` is called exactly once, never inside the call itself. */
  publish(request: PublishRequest, settled: (result: PublishResult) => void): void;
  close(): void;
}
