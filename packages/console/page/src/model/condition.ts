import type { Member, Picture, Status } from '../data/cluster.js';

/**
 * What colours mean, everywhere on the page. `good`: in step. `busy`: it gets there by itself.
 * `bad`: somebody has to act. `away`: nothing is known.
 */
export type Tone = 'good' | 'busy' | 'bad' | 'away';

export interface Condition {
  readonly tone: Tone;
  /** The state by the name that `status` has for it. */
  readonly word: string;
}

const TONES: Readonly<Record<Status['lifecycle'], Tone>> = {
  joining: 'busy',
  bootstrapping: 'busy',
  'catching-up': 'busy',
  following: 'good',
  primary: 'good',
  suspended: 'bad',
  draining: 'busy',
  rewinding: 'busy',
  holding: 'bad',
  stalled: 'bad',
  failed: 'bad',
  closing: 'busy',
  closed: 'away',
};

const NO_ANSWER: Readonly<Record<string, string>> = { NO_ACTOR: 'away', ACCESS_DENIED: 'not permitted' };

export function conditionOf({ id, status, error }: Member, members: Picture['members']): Condition {
  if (status !== undefined) {
    const tone = TONES[status.lifecycle];
    const isCut = status.connection !== 'connected';
    return { tone: isCut && tone === 'good' ? 'busy' : tone, word: status.lifecycle };
  }
  if (writingMsOf(id, members) !== undefined) return { tone: 'busy', word: 'in a long write' };
  return { tone: 'away', word: NO_ANSWER[error?.code ?? ''] ?? 'no answer' };
}

/** For how long one that does not answer has been inside of a write, as the others hear it. */
export function writingMsOf(id: string, members: Picture['members']): number | undefined {
  const said = members.flatMap(({ status }) => status?.members ?? []);
  return said.find((one) => one.id === id && one.writingMs !== undefined)?.writingMs;
}

export function isDrained(status: Status | undefined): boolean {
  return status?.reads.drainedSinceMs !== undefined;
}

export type Part = 'primary' | 'replica' | 'peer';

/** As the one says that has read furthest: a primary stays one until there is another. */
export function partOf({ id, status }: Member, { primary }: Picture): Part {
  if (primary === undefined) return status?.role ?? 'peer';
  return id === primary ? 'primary' : 'replica';
}

/** The in-sync set, as the newest record says; undefined in an asynchronous cluster. */
export function syncOf({ members }: Picture): Status['sync'] {
  return members
    .flatMap(({ status }) => status?.sync ?? [])
    .reduce<Status['sync']>(
      (newest, one) => (newest === undefined || one.recordSeq > newest.recordSeq ? one : newest),
      undefined,
    );
}

/** The end of the log, as far as anybody knows. */
export function endOfLog({ members }: Picture): number {
  return Math.max(
    0,
    ...members.map(({ status }) => Math.max(status?.log.lastSeq ?? 0, status?.position.seq ?? 0)),
  );
}
