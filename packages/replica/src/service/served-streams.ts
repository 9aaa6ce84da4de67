import { AntiphonError, type Row, type Timer } from '@antiphon/core';
import type { ReadPlaces } from '../read/read-places.js';
import { OpenStream, type StreamOptions } from '../read/stream.js';
import { bytesOfRow } from '../repair/shown-row.js';
import type { SessionPosition } from '../state/session.js';
import type { ReplicaScope } from '../sync/replica-scope.js';
import type { Params } from '../write/statement.js';

/**
 * Opens a stream of rows under a name that its asker has made up and nobody else knows, asks for
 * its next rows, says that its reader still takes those that it has (`keep`), or ends it.
 */
export type StreamRequest =
  | ({
      readonly type: 'open';
      readonly stream: string;
      readonly sql: string;
      readonly params: Params;
    } & Omit<StreamOptions, 'signal' | 'integers'>)
  | { readonly type: 'next' | 'keep' | 'end'; readonly stream: string };

/** The next rows of a stream: none, where it is over. The first piece says what its columns are. */
export interface StreamPiece {
  readonly rows: readonly Row[];
  readonly columns?: readonly string[];
  /** To `keep`: whether the next rows are asked for, and have not gone yet. */
  readonly isReading?: boolean;
  /** A read that comes after it shows no less. */
  readonly position?: SessionPosition;
}

/** What ended by itself is told to whoever asks for the next rows within this time. */
const TELL_MS = 60_000;
const OVER: StreamPiece = { rows: [] };

/** Streams of rows whose readers are elsewhere. None lives longer than its own time limits. */
export class ServedStreams {
  readonly #streams = new Map<string, ServedStream>();

  constructor(
    private readonly scope: ReplicaScope,
    private readonly places: ReadPlaces,
  ) {}

  /** Throws what `replica.stream` throws; BAD_OPTION for a stream that is not open. */
  async answer(request: StreamRequest): Promise<StreamPiece> {
    const { stream: name } = request;
    if (request.type === 'open') return this.#open(name, request);
    const stream = this.#streams.get(name);
    if (request.type === 'end') {
      stream?.end();
      return OVER;
    }
    if (stream === undefined) throw notOpen(this.scope.id);
    if (request.type === 'next') return stream.next();
    return { ...OVER, isReading: stream.keep() };
  }

  async #open(name: string, request: Extract<StreamRequest, { type: 'open' }>): Promise<StreamPiece> {
    if (this.#streams.has(name)) throw new AntiphonError('BAD_OPTION', 'A stream of this name is open.');
    const stream = new ServedStream(this.scope, () => this.#streams.delete(name));
    this.#streams.set(name, stream);
    return stream.open(request, this.places);
  }
}

class ServedStream {
  readonly #ending = new AbortController();
  #stream: OpenStream | undefined;
  /** Read, and over what fits into a message. */
  #left: readonly Row[] = [];
  #isAsked = false;
  #forget: Timer | undefined;

  constructor(
    private readonly scope: ReplicaScope,
    private readonly onOver: () => void,
  ) {}

  async open(
    { type: _, stream: __, sql, params, ...options }: Extract<StreamRequest, { type: 'open' }>,
    places: ReadPlaces,
  ): Promise<StreamPiece> {
    const { scope } = this;
    let position: SessionPosition | undefined;
    this.#isAsked = true;
    try {
      const wanted = { ...options, signal: this.#ending.signal };
      this.#stream = await OpenStream.open(scope, sql, params, wanted, async () => {
        position = await places.ifKnown();
      });
      const { columns } = this.#stream;
      this.#stream.onClosed(() => {
        this.#left = [];
        this.#forget = scope.clock.setTimer(TELL_MS, this.onOver);
      });
      return { ...(await this.#piece()), columns, ...(position && { position }) };
    } catch (error) {
      this.end();
      throw error;
    } finally {
      this.#isAsked = false;
    }
  }

  /** Throws what `OpenStream.next` throws, and BAD_OPTION while it is asked already. */
  async next(): Promise<StreamPiece> {
    if (this.#isAsked) {
      const message = 'The next rows of this stream are asked for already. Wait for them.';
      throw new AntiphonError('BAD_OPTION', message);
    }
    this.#isAsked = true;
    try {
      return await this.#piece();
    } catch (error) {
      this.end();
      throw error;
    } finally {
      this.#isAsked = false;
    }
  }

  /**
   * Its reader is there. Whether it waits for rows, which is never idle. Throws when the time was
   * up before.
   */
  keep(): boolean {
    if (!this.#isAsked) this.#stream?.touch();
    return this.#isAsked;
  }

  end(): void {
    this.#ending.abort(new AntiphonError('ABORTED', 'Its reader has ended the stream.'));
    this.#stream?.close();
    this.#forget?.cancel();
    this.onOver();
  }

  async #piece(): Promise<StreamPiece> {
    const rows = this.#left.length > 0 ? this.#left : await this.#stream?.next();
    if (rows === undefined) {
      this.end();
      return OVER;
    }
    this.#stream?.touch();
    const count = fitting(rows, this.scope.log.maxMessageBytes / 2);
    this.#left = rows.slice(count);
    return { rows: rows.slice(0, count) };
  }
}

/** How many of the first rows go into a message, one at least. */
function fitting(rows: readonly Row[], bytes: number): number {
  let sum = 0;
  const more = rows.findIndex((row) => (sum += bytesOfRow(row)) > bytes);
  return more < 0 ? rows.length : Math.max(1, more);
}

function notOpen(id: string): AntiphonError {
  const message = `Replica ${id} has no such stream open: it was ended, or the process is new. Open it again.`;
  return new AntiphonError('BAD_OPTION', message, { context: { replica: id } });
}
