import { abortError, AntiphonError, sentence, sleep, systemClock, toAntiphonError } from '@antiphon/core';
import { newId, type Params } from '@antiphon/replica';
import { type MailboxProtocol, shapedRows } from '@antiphon/replica/internal';
import type { ReadNeeds } from './balance/eligibility.js';
import type { ReadRouter } from './balance/read-router.js';
import type { ReplicaTable } from './balance/replica-table.js';
import type { ReplicaRef } from './replica-ref.js';

type StreamRequest = Parameters<MailboxProtocol['stream']>[0];
type Opening = Extract<StreamRequest, { type: 'open' }>;
type Piece = Awaited<ReturnType<MailboxProtocol['stream']>>;

/** Whom streams are asked of. */
export interface StreamSource {
  readonly replica: (id: string) => ReplicaRef;
  readonly table: ReplicaTable;
  readonly router: ReadRouter;
  readonly silenceMs: number;
}

/** A stream that is to be opened. */
export interface WantedStream {
  readonly sql: string;
  readonly params: Params;
  readonly promise: Pick<Opening, 'consistency' | 'after' | 'maxLagMs'>;
  readonly needs: Omit<ReadNeeds, 'tried' | 'zone'>;
  readonly timeoutMs: number;
  readonly idleMs: number;
  readonly shape: Parameters<typeof shapedRows>[1];
  readonly signal: AbortSignal;
}

/** Somebody has it within this time, or nobody. */
const OPEN_MS = 10_000;
/** While others have what a read needs, a replica does not wait for longer. */
const CATCH_UP_MS = 100;
/** Between two questions whether the next rows are still to come. */
const LOOK_MS = 2000;
/** A second time, since an answer may be on its way when the first one is asked. */
const LOOKS = 2;
/** The replica's own time limit comes first, and says more. */
const ANSWER_MARGIN_MS = 500;
const clock = systemClock();

/**
 * Rows of one replica, of one moment. While its reader has a piece, the next one is on its way, and
 * nothing beyond that. Throws what `Client.stream` throws.
 */
export async function* rowsOfReplica(
  source: StreamSource,
  wanted: WantedStream,
): AsyncGenerator<unknown, void, undefined> {
  const stream = await RemoteStream.open(source, wanted);
  try {
    for (let piece: Piece | undefined = stream.first; piece.rows.length > 0;) {
      const next = stream.next();
      // It is told when this piece is through.
      next.catch(() => undefined);
      for (const row of piece.rows) {
        yield* shapedRows({ columns: stream.columns, rows: [row] }, wanted.shape);
        if (wanted.signal.aborted) throw givenUp(wanted.signal);
        stream.taken();
      }
      piece = await next;
    }
  } finally {
    stream.close();
  }
}

/** A stream that one replica has open. */
class RemoteStream {
  /** Nobody waits for its answers any more. */
  readonly #over = new AbortController();
  readonly #untilMs: number;
  readonly #stopWatching: () => void;
  readonly #onAbort = (): void => this.close();
  #isGone = false;
  #failure: AntiphonError | undefined;
  #keptMs = clock.monotonicMs();
  #hasEnded = false;

  private constructor(
    private readonly source: StreamSource,
    private readonly wanted: WantedStream,
    private readonly opened: { readonly id: string; readonly stream: string; readonly first: Piece },
  ) {
    const { id, first } = opened;
    this.#untilMs = clock.monotonicMs() + wanted.timeoutMs;
    this.#hasEnded = first.rows.length === 0;
    this.#stopWatching = source.table.watch(id, source.silenceMs, () => {
      this.#isGone = true;
      this.#over.abort();
    });
    // Also where its reader does not come back.
    wanted.signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** Asks one replica after the other, as a query does. */
  static async open(source: StreamSource, wanted: WantedStream): Promise<RemoteStream> {
    const { sql, params, promise, needs, idleMs, signal } = wanted;
    const timeoutMs = Math.min(wanted.timeoutMs, OPEN_MS);
    const { value, replica } = await source.router.read({
      ...{ needs, timeoutMs, signal, isNotServed: ({ context }) => context['unserved'] === true },
      ask: async (id, { timeoutMs: leftMs, signal: ended, isLast }) => {
        const stream = newId();
        const waitMs = isLast() ? leftMs : Math.min(CATCH_UP_MS, leftMs);
        const request: Opening = {
          ...{ type: 'open', stream, sql, params, waitMs, idleMs, timeoutMs: wanted.timeoutMs, ...promise },
        };
        const limits = { timeoutMs: leftMs + ANSWER_MARGIN_MS, signal: ended };
        try {
          return { stream, first: await source.replica(id).ask('stream', request, limits) };
        } catch (error) {
          // It may be open there, for nobody.
          source.replica(id).tell('stream', { type: 'end', stream });
          throw unlessUnserved(source, id, toAntiphonError(error));
        }
      },
    });
    return new RemoteStream(source, wanted, { id: replica, ...value });
  }

  get first(): Piece {
    return this.opened.first;
  }

  get columns(): readonly string[] {
    return this.first.columns ?? [];
  }

  async next(): Promise<Piece> {
    const { source, wanted } = this;
    const { id, stream } = this.opened;
    const timeoutMs = Math.max(1, this.#untilMs - clock.monotonicMs()) + ANSWER_MARGIN_MS;
    const settled = new AbortController();
    const signal = AbortSignal.any([this.#over.signal, wanted.signal, settled.signal]);
    try {
      const asked = source.replica(id).ask('stream', { type: 'next', stream }, { timeoutMs, signal });
      const piece = await Promise.race([asked, this.#lost(signal)]);
      this.#hasEnded = piece.rows.length === 0;
      return piece;
    } catch (thrown) {
      if (wanted.signal.aborted) throw givenUp(wanted.signal);
      throw (this.#failure = this.#ended(toAntiphonError(thrown)));
    } finally {
      settled.abort();
    }
  }

  /**
   * Rejects when the replica has answered and nothing has come: its connection to NATS was away for
   * a moment. Replicas before 0.1.0 do not say whether they have.
   */
  async #lost(signal: AbortSignal): Promise<never> {
    const { id, stream } = this.opened;
    for (let looks = 0; looks < LOOKS;) {
      await sleep(clock, LOOK_MS, signal);
      const asked = this.source
        .replica(id)
        .ask('stream', { type: 'keep', stream }, { timeoutMs: LOOK_MS, signal });
      const isOver = await asked.then(
        ({ isReading }) => isReading === false,
        (error: unknown) => toAntiphonError(error).context['remoteCode'] === 'BAD_OPTION',
      );
      looks = isOver ? looks + 1 : 0;
    }
    throw new AntiphonError('TIMEOUT', 'The answer with its next rows was lost on the way.');
  }

  /**
   * A row: the replica counts only pieces, and has to know that somebody is at one. Throws when the
   * time is up, or the replica has ended it: a piece may last for long.
   */
  taken(): void {
    const nowMs = clock.monotonicMs();
    if (this.#failure !== undefined) throw this.#failure;
    if (nowMs > this.#untilMs) throw this.#late();
    if (nowMs - this.#keptMs < this.wanted.idleMs / 3 || this.#hasEnded) return;
    this.#keptMs = nowMs;
    const { id, stream } = this.opened;
    this.source.replica(id).tell('stream', { type: 'keep', stream });
  }

  /** Idempotent. The replica keeps its snapshot no longer. */
  close(): void {
    this.#stopWatching();
    this.wanted.signal.removeEventListener('abort', this.#onAbort);
    this.#over.abort();
    const { id, stream } = this.opened;
    if (!this.#hasEnded) this.source.replica(id).tell('stream', { type: 'end', stream });
    this.#hasEnded = true;
  }

  #late(): AntiphonError {
    const message =
      `The stream took longer than ${this.wanted.timeoutMs} ms and was ended. ` +
      'Take its rows faster, read them in pieces by their key, or raise `timeoutMs`.';
    return new AntiphonError('TIMEOUT', message);
  }

  /** Rows were taken already: nobody else can go on with what is left. */
  #ended(error: AntiphonError): AntiphonError {
    const { id } = this.opened;
    const isOfReplica = error.context['remoteCode'] !== undefined;
    // What a query may say of itself: its time, its rows.
    if (isOfReplica && (error.code === 'TIMEOUT' || error.code === 'BAD_SQL')) return error;
    const code = this.#isGone ? 'TIMEOUT' : error.code;
    const why = this.#isGone ? `${id} has gone.` : sentence(error.message);
    const message = `The stream of rows from ${id} has ended before its last row: ${why} Open it again, and its rows come from the beginning.`;
    return new AntiphonError(code, message, { cause: error, context: { ...error.context, replica: id } });
  }
}

/** Each command has a subject: where nobody listens on this one, the replica need not be gone. */
function unlessUnserved({ table, silenceMs }: StreamSource, id: string, error: AntiphonError): AntiphonError {
  const isHeard = table.views().some((view) => view.id === id && view.silentMs <= silenceMs);
  if (error.code !== 'NO_ACTOR' || !isHeard) return error;
  const message =
    `${id} serves no streams of rows: it runs an older version, or nobody may ask it for them. ` +
    'Upgrade it, or see the permissions in docs/access.md.';
  return new AntiphonError('NO_ACTOR', message, {
    ...{ cause: error, context: { replica: id, unserved: true } },
  });
}

function givenUp(signal: AbortSignal): AntiphonError {
  return abortError(signal, 'The stream was given up.');
}
