import { AntiphonError, sleep, systemClock, toAntiphonError } from '@antiphon/core';
import type { ClusterClient } from '../cluster-client.js';

const PAUSE_MS = 250;
const clock = systemClock();

interface Waiting {
  readonly client: ClusterClient;
  readonly onProblem: (message: string) => void;
  readonly signal: AbortSignal;
}

/**
 * A stream that has begun outlasts NATS: its reader does by itself, and what is looked up beside it
 * is looked up again until there is an answer.
 */
export class Patience {
  /** It was told, and NATS has not answered since. */
  #isTold = false;

  constructor(private readonly waiting: Waiting) {}

  /** Throws what does not pass, and when the signal ends. */
  async until<T>(look: () => Promise<T>): Promise<T> {
    const { client, signal } = this.waiting;
    for (;;) {
      try {
        const found = await look();
        this.#isTold = false;
        return found;
      } catch (thrown) {
        const error = toAntiphonError(thrown);
        if (signal.aborted || !error.retriable) throw thrown;
        if (client.nats.status === 'closed') throw closed();
        this.#tell(error);
      }
      await sleep(clock, PAUSE_MS, signal);
    }
  }

  #tell({ message }: AntiphonError): void {
    if (this.#isTold) return;
    this.#isTold = true;
    this.waiting.onProblem(`${message} The changes go on when it is back.`);
  }
}

function closed(): AntiphonError {
  return new AntiphonError(
    'CLOSED',
    'The client is closed, which ends its streams of changes. Connect again.',
  );
}
