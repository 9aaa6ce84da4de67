import { nuid, type ConsumerConfig, type ConsumerInfo } from 'nats';
import type { CallOptions, JetStreamApi } from './api.js';
import { isUnanswered } from './unanswered.js';

const TIMEOUT_MS = 5000;
/** An answer takes milliseconds. Longer each time: a server may be slow, too. */
const FIRST_TRY_MS = 250;
const GROWTH = 1.5;

/**
 * A consumer on one server, in its memory, which forgets it by itself. Each try is for one of
 * another name: while one of several servers is down, nats-server (2.9, 2.10) chooses that one all
 * the same every second or third time, and nothing about such a consumer is ever answered.
 *
 * @throws AntiphonError LOG_UNAVAILABLE, ACCESS_DENIED, ABORTED; ApiError
 */
export async function createEphemeral(
  api: JetStreamApi,
  stream: string,
  { prefix, ...config }: Partial<ConsumerConfig> & { readonly prefix: string },
  { signal, timeoutMs = TIMEOUT_MS }: CallOptions = {},
): Promise<ConsumerInfo> {
  const onOneServer = { ...config, mem_storage: true, num_replicas: 1 };
  const deadlineMs = performance.now() + timeoutMs;
  for (let tryMs = FIRST_TRY_MS; ; tryMs *= GROWTH) {
    const leftMs = Math.max(1, deadlineMs - performance.now());
    const name = `${prefix}_${nuid.next()}`;
    try {
      return await api.createConsumer(stream, name, onOneServer, {
        signal,
        timeoutMs: Math.min(tryMs, leftMs),
      });
    } catch (error) {
      if (!isUnanswered(error) || tryMs >= leftMs) throw error;
    }
  }
}
