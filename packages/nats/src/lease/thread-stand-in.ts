import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import {
  AntiphonError,
  type KeeperState,
  type LeaseStanding,
  type LeaseStandIn,
  sentence,
  type StandInOptions,
  toAntiphonError,
} from '@antiphon/core';
import type { ConnectNatsOptions } from '../connection/connect-options.js';
import { type StandInData, type StandInProblem, threadsMs } from './stand-in-data.js';
import type { Made, Told } from './standing-in.js';

/**
 * Whoever may become the primary has it ready: a thread takes some hundred milliseconds to start,
 * and these would be missing when a primary has gone. Who has just begun needs them for itself.
 */
const START_AFTER_MS = 1000;

/**
 * How many stores of this thread are inside of a writing method. Of all clusters: a write of one
 * keeps the others as well.
 */
const BUSY = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));

/**
 * Stands in from a thread with a connection of its own. Writes run on the holder's thread, and
 * `node:sqlite` cannot interrupt them: a statement of some seconds would cost a primary its lease,
 * and the next primary that it is sent to as well. The thread sees that a write runs, and that the
 * holder is late; a process that is stopped stops it too.
 */
export class ThreadStandIn implements LeaseStandIn {
  #isBusy = false;
  /** Never started: what it says is fetched when it is wanted, also in the middle of a write. */
  readonly #port: MessagePort;
  readonly #timer: NodeJS.Timeout;
  /** Undefined once it runs, and where it cannot. */
  #data: StandInData | undefined;
  #worker: Worker | undefined;
  #turn = 0;

  constructor(
    access: ConnectNatsOptions,
    cluster: string,
    private readonly options: StandInOptions,
  ) {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.#data = {
      ...{ access: { ...access, name: `${access.name ?? 'antiphon'} lease` }, cluster },
      ...{ limitMs: options.limitMs, offsetMs: options.nowMs() - threadsMs() },
      ...{ busy: BUSY.buffer, port: port2 },
    };
    this.#timer = setTimeout(() => this.#start(), START_AFTER_MS).unref();
  }

  #start(): void {
    clearTimeout(this.#timer);
    const data = this.#data;
    this.#data = undefined;
    if (data === undefined) return;
    const { onProblem } = this.options;
    const path = programPath();
    if (!existsSync(path))
      return onProblem(
        unable(`its program ${path} is not there. Deploy the packages with all of their files.`),
      );
    try {
      this.#worker = this.#run(path, data);
    } catch (thrown) {
      // Where no thread may be made (`node --permission`).
      onProblem(unable(toAntiphonError(thrown).message));
    }
  }

  #run(path: string, data: StandInData): Worker {
    const { onProblem } = this.options;
    // Modules that this process loads first, an SDK for traces for example, have no room in it.
    const { NODE_OPTIONS: _, ...env } = process.env;
    const worker = new Worker(path, {
      ...{ workerData: data, transferList: [data.port], execArgv: [], env },
      resourceLimits: { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 4 },
    });
    worker.unref();
    worker.on('message', ({ problem }: StandInProblem) =>
      onProblem(problem === undefined ? undefined : unable(problem)),
    );
    worker.on('error', (error: unknown) => onProblem(unable(toAntiphonError(error).message)));
    return worker;
  }

  tell(standing: LeaseStanding | undefined): void {
    if (standing !== undefined) this.#start();
    const told: Told = { turn: ++this.#turn, standing };
    this.#port.postMessage(told);
  }

  newest(): KeeperState | undefined {
    let newest: KeeperState | undefined;
    for (;;) {
      const received = receiveMessageOnPort(this.#port) as { readonly message: Made } | undefined;
      if (received === undefined) return newest;
      const { turn, state } = received.message;
      if (turn === this.#turn) newest = state;
    }
  }

  busy(isBusy: boolean): void {
    if (isBusy === this.#isBusy) return;
    this.#isBusy = isBusy;
    Atomics.add(BUSY, 0, isBusy ? 1 : -1);
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#data = undefined;
    this.busy(false);
    this.#port.close();
    await this.#worker?.terminate();
  }
}

function unable(reason: string): AntiphonError {
  return new AntiphonError(
    'LOG_UNAVAILABLE',
    `Nobody would renew the lease of this replica, as the primary, while a long write runs: ${sentence(reason)}`,
  );
}

/** Plain JavaScript: beside this file when it is built, in `dist` when the sources run. */
function programPath(): string {
  const here = import.meta.url;
  const name = 'stand-in-thread.js';
  return fileURLToPath(new URL(here.endsWith('.ts') ? `../../dist/lease/${name}` : `./${name}`, here));
}
