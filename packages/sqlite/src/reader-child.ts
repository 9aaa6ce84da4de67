import type { ChildProcess } from 'node:child_process';
import type { Socket } from 'node:net';
import { AntiphonError } from '@antiphon/core';
import { AnswerFrames } from './answer-frames.js';
import { ANSWERS_FD } from './answer-pipe.js';
import { endProgram, startProgram } from './reading-program.js';
import type { ReadMessage, ReadReply, ReadRequest, ReadResult } from './reader-protocol.js';

const KEPT_STDERR_CHARACTERS = 2000;
/**
 * A read that its caller gave up is ended with its process, unless it is over by itself within this
 * time.
 */
const CANCEL_GRACE_MS = 50;
/**
 * One that starts is at no read. On a busy machine that takes seconds, and a process that is ended
 * meanwhile leaves the next read to wait for as long.
 */
const START_MS = 30_000;

export interface Reading {
  readonly request: ReadRequest;
  resolve(result: ReadResult): void;
  reject(error: unknown): void;
}

/** One that was sent. What nobody waits for here any more has no `reading`. */
interface Sent {
  readonly id: number;
  reading: Reading | undefined;
}

export interface ReaderListener {
  /** A read has its answer, after so long in the process. */
  answered(tookMs: number): void;
  /** Nobody waits any more for what it is at, and it does not get done with it. */
  stuck(): void;
  /** It has ended. `left`: what it had not begun, perhaps. */
  lost(left: readonly Reading[]): void;
}

/**
 * One process that reads, one read after the other, in the order in which they were sent. It ends
 * with this process at the latest, also in the middle of a read.
 */
export class ReaderChild {
  readonly #process: ChildProcess;
  /** Undefined where no process could be started. */
  readonly #answers: Socket | undefined;
  readonly #ended: Promise<void>;
  /** Without an answer yet; it is at the first one. */
  readonly #sent: Sent[] = [];
  #id = 0;
  #unwanted: NodeJS.Timeout | undefined;
  /** What that timer is about, and whether the process was up when it was set. */
  #unwantedId: number | undefined;
  #wasUp = false;
  #isUp = false;
  #dead = false;
  #stderr = '';

  constructor(
    file: string,
    private readonly listener: ReaderListener,
  ) {
    // The pipe is ANSWERS_FD.
    this.#process = startProgram('reader-process', file, ['pipe']);
    this.#process.once('message', () => {
      this.#isUp = true;
      this.#mindUnwanted();
    });
    const frames = new AnswerFrames();
    // With too many open files there are no streams, whatever their types say.
    const streams = this.#process.stdio as ChildProcess['stdio'] | undefined;
    this.#answers = streams?.[ANSWERS_FD] as Socket | undefined;
    this.#answers?.on('data', (piece: Buffer) => {
      for (const reply of frames.take(piece)) this.#answered(reply);
    });
    // The end of the process says it.
    this.#answers?.on('error', () => undefined);
    this.#process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-KEPT_STDERR_CHARACTERS);
    });
    this.#ended = new Promise((resolve) => {
      const end = (why: string): void => {
        resolve();
        this.#lose(() => this.#ending(why));
      };
      // What it had answered by then comes first.
      this.#process.once('close', (code, signal) => end(signal ?? `exit code ${String(code)}`));
      this.#process.once('error', (error) => end(error.message));
    });
    this.#idle();
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  get isIdle(): boolean {
    return this.#sent.length === 0;
  }

  /** Only of one that is idle: an answer for each comes as soon as it is there. */
  run(readings: readonly Reading[]): void {
    // Who waits for an answer keeps this process alive; a reader without work does not.
    this.#process.ref();
    this.#process.channel?.ref();
    const messages = readings.map((reading): ReadMessage => {
      this.#sent.push({ id: ++this.#id, reading });
      return { id: this.#id, request: reading.request };
    });
    const failed = (error: unknown): void => this.kill(() => this.#ending(String(error)));
    try {
      this.#process.send(messages, (error) => {
        if (error !== null) failed(error);
      });
    } catch (thrown) {
      // With too many open files there is no channel. Not at once: whoever is told starts another.
      queueMicrotask(() => failed(thrown));
    }
  }

  /** Nobody waits for it any more: the process ends, unless it is soon over by itself. */
  drop(reading: Reading): void {
    const sent = this.#sent.find((one) => one.reading === reading);
    if (sent === undefined) return;
    sent.reading = undefined;
    this.#mindUnwanted();
  }

  /** All but what it is at, for another process to read: nobody waits for them here any more. */
  takeBack(): readonly Reading[] {
    const [, ...behind] = this.#sent;
    return behind.flatMap((sent) => {
      const { reading } = sent;
      sent.reading = undefined;
      return reading ?? [];
    });
  }

  #mindUnwanted(): void {
    const [first] = this.#sent;
    const isUnwanted = first !== undefined && first.reading === undefined;
    // That others behind it are given up as well gives it no more time.
    if (isUnwanted && first.id === this.#unwantedId && this.#isUp === this.#wasUp) return;
    clearTimeout(this.#unwanted);
    this.#unwantedId = isUnwanted ? first.id : undefined;
    this.#wasUp = this.#isUp;
    if (!isUnwanted) return;
    const graceMs = this.#isUp ? CANCEL_GRACE_MS : START_MS;
    this.#unwanted = setTimeout(() => this.listener.stuck(), graceMs).unref();
  }

  /** At once, whatever it does. What it is at is rejected with `error`. */
  kill(error: () => AntiphonError): void {
    endProgram(this.#process);
    this.#lose(error);
  }

  /** When it is gone. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  #idle(): void {
    this.#process.unref();
    this.#process.channel?.unref();
    (this.#process.stderr as Socket | null)?.unref();
    this.#answers?.unref();
  }

  #answered(reply: ReadReply): void {
    const [sent] = this.#sent;
    if (sent === undefined || reply.id !== sent.id || this.#dead) return;
    this.#sent.shift();
    if (this.isIdle) this.#idle();
    this.#mindUnwanted();
    if (reply.ok) sent.reading?.resolve(reply.result);
    else sent.reading?.reject(new AntiphonError(reply.code, reply.message, { context: reply.context }));
    this.listener.answered(reply.tookMs);
  }

  #lose(error: () => AntiphonError): void {
    if (this.#dead) return;
    this.#dead = true;
    clearTimeout(this.#unwanted);
    const [first, ...behind] = this.#sent.splice(0);
    this.#idle();
    first?.reading?.reject(error());
    this.listener.lost(behind.flatMap(({ reading }) => reading ?? []));
  }

  #ending(why: string): AntiphonError {
    const said = this.#stderr.trim();
    const end = said === '' ? '' : ` It said: ${said}`;
    return new AntiphonError(
      'STORE_FAILED',
      `The process that reads the database has ended (${why}), perhaps for lack of memory. The next read starts another one.${end}`,
    );
  }
}
