import type { ConsumerConfig, ConsumerInfo } from 'nats';
import { ApiError } from '../jetstream/api-error.js';
import type { CallOptions, JetStreamApi } from '../jetstream/api.js';
import { createEphemeral } from '../jetstream/ephemeral-consumer.js';
import { isUnserved } from '../jetstream/unanswered.js';

/**
 * Redelivery is of no use here: a reader notices by itself what it misses, and starts anew from
 * there. An hour-long apply must not make the server send everything again.
 */
const ACK_WAIT_NANOSECONDS = 86_400 * 1_000_000_000;
/** How long an ephemeral consumer survives without anybody asking it. */
const INACTIVE_NANOSECONDS = 60 * 1_000_000_000;

/**
 * A durable consumer of that name which continues exactly at `fromSeq`: the one that is there when
 * it does, else a new one. The reader's position is the truth; a consumer that is ahead, behind, or
 * keeps entries for a reader that is gone is removed. `afresh`: without a look at the one that is
 * there. While one of three servers is down, nats-server 2.9 may answer nothing about a consumer
 * for as long as that lasts, and a new one is led by the two that are left.
 *
 * @throws AntiphonError LOG_UNAVAILABLE, ABORTED; ApiError
 */
export async function setUpDurable(
  api: JetStreamApi,
  stream: string,
  name: string,
  fromSeq: number,
  { afresh = false, ...options }: CallOptions & { readonly afresh?: boolean },
): Promise<void> {
  if (afresh) await api.deleteConsumer(stream, name, options).catch(ignoreUnserved);
  const found = afresh ? undefined : await api.consumerInfo(stream, name, options);
  if (found !== undefined && continuesAt(found, fromSeq)) return;
  if (found !== undefined) await api.deleteConsumer(stream, name, options);
  const config = {
    ...commonConfig(fromSeq),
    ...literal({ ack_policy: 'all' }),
    ack_wait: ACK_WAIT_NANOSECONDS,
    durable_name: name,
  };
  try {
    await api.createConsumer(stream, name, config, options);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    // Another process of the same name has made it in between. Each takes it from the other; both
    // notice and go on.
    await api.deleteConsumer(stream, name, options);
    await api.createConsumer(stream, name, config, options);
  }
}

/** Without a leader it is removed all the same, and nobody says so. */
function ignoreUnserved(error: unknown): void {
  if (!isUnserved(error)) throw error;
}

/** A consumer without acknowledgements that the server forgets by itself; its name. */
export async function setUpEphemeral(
  api: JetStreamApi,
  stream: string,
  fromSeq: number,
  options: CallOptions,
): Promise<string> {
  const config = {
    ...commonConfig(fromSeq),
    ...literal({ ack_policy: 'none' }),
    ...{ prefix: 'reader', inactive_threshold: INACTIVE_NANOSECONDS },
  };
  const { name } = await createEphemeral(api, stream, config, options);
  return name;
}

function commonConfig(fromSeq: number): Partial<ConsumerConfig> {
  return {
    ...literal({ deliver_policy: 'by_start_sequence', replay_policy: 'instant' }),
    opt_start_seq: fromSeq,
    // What is outstanding is bounded by what is asked for.
    max_ack_pending: -1,
    max_deliver: -1,
  };
}

/** The client has enums for these; the wire has words. */
function literal(words: Readonly<Record<string, string>>): Partial<ConsumerConfig> {
  return words;
}

/** It refuses requests beyond these, and those of a reader are larger. */
const LIMITS = ['max_batch', 'max_bytes', 'max_expires'] as const;

function continuesAt(
  { config, delivered, num_ack_pending: unacked, paused }: ConsumerInfo,
  fromSeq: number,
): boolean {
  const { ack_policy: ackPolicy, deliver_policy: deliverPolicy, max_ack_pending: maxAckPending } = config;
  const plain =
    !('deliver_subject' in config) &&
    config.filter_subject === undefined &&
    config.filter_subjects === undefined &&
    config.headers_only !== true &&
    paused !== true &&
    LIMITS.every((limit) => (config[limit] ?? 0) <= 0) &&
    (config.max_deliver ?? -1) <= 0 &&
    (config.ack_wait ?? 0) >= ACK_WAIT_NANOSECONDS;
  const ours =
    String(ackPolicy) === 'all' && String(deliverPolicy) === 'by_start_sequence' && maxAckPending === -1;
  // Entries that were delivered to a reader that is gone would not come again for a day.
  return plain && ours && unacked === 0 && delivered.stream_seq + 1 === fromSeq;
}
