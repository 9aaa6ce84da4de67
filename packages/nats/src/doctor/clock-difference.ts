import { nuid } from 'nats';
import type { JetStreamApi } from '../jetstream/api.js';

const SAMPLES = 3;

export interface ClockDifference {
  /** The server's clock minus ours, in milliseconds. */
  readonly differenceMs: number;
  /** Half a round trip: the real difference is that close. */
  readonly uncertaintyMs: number;
}

/**
 * Compares the clocks by the creation time of a throw-away consumer: 2.9 servers tell their time in no other answer,
 * and a message only for this would stay in the log for ever. The quickest of a few samples counts.
 */
export async function measureClockDifference(api: JetStreamApi, stream: string): Promise<ClockDifference> {
  let best: ClockDifference | undefined;
  for (let sample = 0; sample < SAMPLES; sample += 1) {
    const measured = await measureOnce(api, stream);
    if (best === undefined || measured.uncertaintyMs < best.uncertaintyMs) best = measured;
  }
  return best ?? (await measureOnce(api, stream));
}

async function measureOnce(api: JetStreamApi, stream: string): Promise<ClockDifference> {
  const name = `doctor_${nuid.next()}`;
  const config = {
    ...({ ack_policy: 'none', deliver_policy: 'new', replay_policy: 'instant' } as unknown as object),
    mem_storage: true,
    num_replicas: 1,
    inactive_threshold: 5_000_000_000,
  };
  const sentAtMs = Date.now();
  const startMs = performance.now();
  const { created } = await api.createConsumer(stream, name, config);
  const tookMs = performance.now() - startMs;
  await api.deleteConsumer(stream, name);
  return { differenceMs: Date.parse(created) - (sentAtMs + tookMs / 2), uncertaintyMs: tookMs / 2 };
}
