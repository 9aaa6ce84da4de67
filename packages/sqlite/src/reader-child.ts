import { fork, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { AntiphonError } from '@antiphon/core';
import type { ReadMessage, ReadReply, ReadRequest, ReadResult } from './reader-protocol.js';

const KEPT_STDERR_CHARACTERS = 2000;

export interface Reading {
  readonly request: ReadRequest;
  resolve(result: ReadResult): void;
  reject(error: unknown): void;
}

/** Plain JavaScript: beside this file when it is built, in `dist` when the sources run. */
function programPath(): string {
  const here = import.meta.url;
  const path = fileURLToPath(
    new URL(here.endsWith('.ts') ? '../dist/reader-process.js' : './reader-process.js', here),
  );
  if (existsSync(path)) return path;
  throw new AntiphonError(
    'INTERNAL',
    'The reader of @antiphon/sqlite is not built. Run `npm run build` first.',
  );
}

/**
 * The options of this process are not meant for another one: a debugger's port, modules to be
 * loaded first.
 */
function environment(): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _, ...rest } = process.env;
  return rest;
}

/**
 * One process that reads, one read at a time. It ends with this process at the latest, also in the
 * middle of a read.
 */
export class ReaderChild {
  readonly #process: ChildProcess;
  readonly #ended: Promise<void>;
  #reading: Reading | undefined;
  #id = 0;
  #dead = false;
  #stderr = '';

  constructor(
    file: string,
    private readonly listener: { freed(): void; lost(): void },
  ) {
    this.#process = fork(programPath(), [file, String(process.pid)], {
      serialization: 'advanced',
      execArgv: [],
      env: environment(),
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.#process.on('message', (reply: ReadReply) => this.#answered(reply));
    this.#process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-KEPT_STDERR_CHARACTERS);
    });
    this.#ended = new Promise((resolve) => {
      const end = (why: string): void => {
        resolve();
        this.#lose(() => this.#ending(why));
      };
      this.#process.once('exit', (code, signal) => end(signal ?? `exit code ${String(code)}`));
      this.#process.once('error', (error) => end(error.message));
    });
    this.#idle();
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** What it reads now. */
  get reading(): Reading | undefined {
    return this.#reading;
  }

  run(reading: Reading): void {
    this.#reading = reading;
    // Who waits for an answer keeps this process alive; a reader without work does not.
    this.#process.ref();
    this.#process.channel?.ref();
    const message: ReadMessage = { id: ++this.#id, request: reading.request };
    const failed = (error: unknown): void => this.kill(() => this.#ending(String(error)));
    try {
      this.#process.send(message, (error) => {
        if (error !== null) failed(error);
      });
    } catch (thrown) {
      failed(thrown);
    }
  }

  /** At once, whatever it does. Its read is rejected with `error`. */
  kill(error: () => AntiphonError): void {
    this.#process.kill('SIGKILL');
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
  }

  #answered(reply: ReadReply): void {
    const reading = this.#reading;
    if (reading === undefined || reply.id !== this.#id || this.#dead) return;
    this.#reading = undefined;
    this.#idle();
    if (reply.ok) reading.resolve(reply.result);
    else reading.reject(new AntiphonError(reply.code, reply.message, { context: reply.context }));
    this.listener.freed();
  }

  #lose(error: () => AntiphonError): void {
    if (this.#dead) return;
    this.#dead = true;
    const reading = this.#reading;
    this.#reading = undefined;
    this.#idle();
    reading?.reject(error());
    this.listener.lost();
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
