import type { Replica } from '@antiphon/replica';

/** A request on a subject of the cluster, once it was answered. */
export interface SubjectRequest {
  readonly kind: 'read' | 'write';
  /** 200, or that of the error, as over HTTP. */
  readonly status: number;
  readonly seconds: number;
}

/** What a replica has to do with its subjects, for whoever shows its metrics. */
export class SubjectWatch {
  readonly #listeners = new Set<(request: SubjectRequest) => void>();
  /** Where requests would be answered now. */
  readonly listening = { read: false, write: false };

  on(listener: (request: SubjectRequest) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  answered(request: SubjectRequest): void {
    for (const listener of this.#listeners) listener(request);
  }
}

const watches = new WeakMap<Replica<unknown>, SubjectWatch>();

/** One for each replica: its HTTP server and its subjects do not know each other. */
export function subjectWatchOf(replica: Replica<unknown>): SubjectWatch {
  const known = watches.get(replica);
  if (known !== undefined) return known;
  const watch = new SubjectWatch();
  watches.set(replica, watch);
  return watch;
}
