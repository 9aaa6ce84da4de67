import type { AppendRequest, AppendResult, Log, LogEntry, LogReader } from '@antiphon/core';

export const ALL = { maxEntries: 1000, maxBytes: 1_000_000 };
const LOOK_MS = 5;

export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function text(data: Uint8Array | undefined): string {
  return new TextDecoder().decode(data);
}

/** Appends an entry whose content is its id. */
export function append(log: Log, id: string, more: Partial<AppendRequest> = {}): Promise<AppendResult> {
  return new Promise((resolve) => log.append({ origin: 'writer', id, data: bytes(id), ...more }, resolve));
}

export function seqOf(result: AppendResult): number {
  if (result.type === 'stored') return result.seq;
  throw result.error;
}

/** Sends until it is certain to be stored, as a relay does; each try has an id of its own. */
export async function appendSurely(log: Log, content: string): Promise<number> {
  for (let attempt = 0; ; attempt++) {
    const result = await append(log, `${content}~${attempt}`, { data: bytes(content) });
    if (result.type === 'stored') return result.seq;
    if (!result.error.retriable) throw result.error;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

/** Many at once, in order; throws unless all are stored. Returns their sequences. */
export async function fill(
  log: Log,
  contents: readonly string[],
  origin = 'writer',
): Promise<readonly number[]> {
  const results = await Promise.all(
    contents.map((content) => append(log, `${origin}:${content}`, { origin, data: bytes(content) })),
  );
  return results.map(seqOf);
}

/** Reads until the entry `lastSeq` has come. */
export async function readTo(reader: LogReader, lastSeq: number): Promise<readonly LogEntry[]> {
  const entries: LogEntry[] = [];
  while ((entries.at(-1)?.seq ?? 0) < lastSeq) entries.push(...(await reader.next(ALL)));
  return entries;
}

export function numbers(prefix: string, count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index + 1}`);
}
