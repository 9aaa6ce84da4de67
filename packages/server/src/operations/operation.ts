import type { Replica } from '@antiphon/replica';

/**
 * What a request asks for, checked already: it begins when it is called. The answer may hold values
 * of the database; each way in writes them as its clients read them.
 */
export type Operation = (replica: Replica<unknown>, signal: AbortSignal) => Promise<Answered>;

export type Answered = Readonly<Record<string, unknown>>;
