import type { JetStreamApi } from '../jetstream/api.js';
import { readServerTime } from '../jetstream/server-time.js';

const SAMPLES = 3;

export interface ClockDifference {
  /** The server's clock minus ours, in milliseconds. */
  readonly differenceMs: number;
  /** Half a round trip: the real difference is that close. */
  readonly uncertaintyMs: number;
}

/** Compares the clocks a few times; the quickest answer counts. */
export async function measureClockDifference(api: JetStreamApi, stream: string): Promise<ClockDifference> {
  let best: ClockDifference | undefined;
  for (let sample = 0; sample < SAMPLES; sample += 1) {
    const measured = await measureOnce(api, stream);
    if (best === undefined || measured.uncertaintyMs < best.uncertaintyMs) best = measured;
  }
  return best ?? (await measureOnce(api, stream));
}

async function measureOnce(api: JetStreamApi, stream: string): Promise<ClockDifference> {
  const sentAtMs = Date.now();
  const startMs = performance.now();
  const serverMs = await readServerTime(api, stream);
  const tookMs = performance.now() - startMs;
  return { differenceMs: serverMs - (sentAtMs + tookMs / 2), uncertaintyMs: tookMs / 2 };
}
