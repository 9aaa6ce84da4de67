import type { MessagePort } from 'node:worker_threads';
import type { ConnectNatsOptions } from '../connection/connect-options.js';

/** What the thread is given. */
export interface StandInData {
  readonly access: ConnectNatsOptions;
  readonly cluster: string;
  readonly limitMs: number;
  /** The holder's monotonic time less this machine's, which is the same for all threads. */
  readonly offsetMs: number;
  /** One number: how many writes may keep the holder's thread. */
  readonly busy: SharedArrayBuffer;
  /** `Told` comes, `Made` goes. */
  readonly port: MessagePort;
}

/** What the thread says of itself. */
export interface StandInProblem {
  readonly problem: string | undefined;
}

/** Milliseconds since some moment, the same in every thread of the process. */
export function threadsMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
