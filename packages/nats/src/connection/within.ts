import { setTimeout as sleep } from 'node:timers/promises';

/** Did it end well in time? */
export async function within(work: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  const inTime = new AbortController();
  const limit = sleep(timeoutMs, false, { signal: inTime.signal }).catch(() => false);
  const done = work.then(
    () => true,
    () => false,
  );
  try {
    return await Promise.race([done, limit]);
  } finally {
    inTime.abort();
  }
}
