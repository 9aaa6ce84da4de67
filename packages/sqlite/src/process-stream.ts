import type { ChildProcess } from 'node:child_process';
import type { Socket } from 'node:net';
import { abortError, AntiphonError, type Row, type RowStream } from '@antiphon/core';
import { endProgram, startProgram } from './reading-program.js';
import type { StreamOrder, StreamReply, StreamRequest } from './stream-protocol.js';

const KEPT_STDERR_CHARACTERS = 2000;

interface Waiting {
  resolve(reply: StreamReply): void;
  reject(error: AntiphonError): void;
}

/**
 * One stream of rows and its process. While its reader has a piece, the next one is read, and
 * nothing beyond that: at most two are in memory, whatever the reader's pace.
 */
export class ProcessStream implements RowStream {
  /** Rejects as `next` does. */
  readonly opened: Promise<void>;
  /** Its process has ended. */
  readonly gone: Promise<void>;
  #columns: readonly string[] = [];
  readonly #process: ChildProcess;
  #waiting: Waiting | undefined;
  /** The piece after the one that the reader has. */
  #ahead: Promise<StreamReply> | undefined;
  #failure: AntiphonError | undefined;
  #ended = false;
  #stderr = '';

  /** Throws INTERNAL. */
  constructor(
    file: string,
    request: StreamRequest,
    private readonly signal: AbortSignal,
    private readonly onEnd: () => void,
  ) {
    this.#process = startProgram('stream-process', file);
    this.#process.on('message', (reply: StreamReply) => this.#answered(reply));
    this.#process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-KEPT_STDERR_CHARACTERS);
    });
    this.gone = new Promise((resolve) => {
      const end = (why: string): void => {
        resolve();
        this.fail(this.#ending(why));
      };
      this.#process.once('exit', (code, signal) => end(signal ?? `exit code ${String(code)}`));
      this.#process.once('error', (error) => end(error.message));
    });
    signal.addEventListener('abort', this.#onAbort, { once: true });
    this.opened = this.#order({ type: 'open', request }).then((reply) => {
      if (reply.type === 'opened') this.#columns = reply.columns;
      this.#readAhead();
    });
  }

  get columns(): readonly string[] {
    return this.#columns;
  }

  async next(): Promise<readonly Row[] | undefined> {
    if (this.#failure !== undefined) throw this.#failure;
    const reply = await this.#ahead;
    if (reply?.type !== 'rows' || reply.rows.length === 0) {
      this.close();
      return undefined;
    }
    this.#readAhead();
    return reply.rows;
  }

  /** Whoever waits for rows gets none: ABORTED. */
  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#ahead = undefined;
    this.#waiting?.reject(
      new AntiphonError('ABORTED', 'The stream was closed while its next rows were read.'),
    );
    this.signal.removeEventListener('abort', this.#onAbort);
    endProgram(this.#process);
    // One that cannot be killed must not keep this process alive.
    this.#process.unref();
    this.#process.channel?.unref();
    (this.#process.stderr as Socket | null)?.unref();
    this.onEnd();
  }

  /** What is read of it from now on is this error; nothing if it has ended. */
  fail(error: AntiphonError): void {
    if (this.#ended) return;
    this.#failure = error;
    this.#waiting?.reject(error);
    this.close();
  }

  readonly #onAbort = (): void => this.fail(abortError(this.signal, 'The caller gave up the stream.'));

  #readAhead(): void {
    this.#ahead = this.#order({ type: 'next' });
    // It is told to whoever asks for it.
    this.#ahead.catch(() => undefined);
  }

  #order(order: StreamOrder): Promise<StreamReply> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      const failed = (error: unknown): void => this.fail(this.#ending(String(error)));
      try {
        this.#process.send(order, (error) => {
          if (error !== null) failed(error);
        });
      } catch (thrown) {
        // With too many open files there is no channel, whatever its type says.
        queueMicrotask(() => failed(thrown));
      }
    });
  }

  #answered(reply: StreamReply): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (reply.type !== 'failed') return waiting?.resolve(reply);
    this.#waiting = waiting;
    this.fail(new AntiphonError(reply.code, reply.message, { context: reply.context }));
  }

  #ending(why: string): AntiphonError {
    const said = this.#stderr.trim();
    const end = said === '' ? '' : ` It said: ${said}`;
    return new AntiphonError(
      'STORE_FAILED',
      `The process that streams rows has ended (${why}), perhaps for lack of memory. Open the stream again.${end}`,
    );
  }
}
