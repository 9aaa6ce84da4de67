import type { CallOptions, JetStreamApi } from './api.js';
import { createEphemeral } from './ephemeral-consumer.js';

const UNUSED_NS = 5_000_000_000;

/**
 * The clock of the stream's leader, which stored times are taken from: milliseconds since 1970.
 * Servers tell it since 2.10. Earlier ones show it only as the creation time of a consumer, so one
 * is made and thrown away; a message only for this would stay in the log for ever.
 */
export async function readServerTime(
  api: JetStreamApi,
  stream: string,
  options: CallOptions = {},
): Promise<number> {
  const info: { readonly ts?: string } = await api.streamInfo(stream, options);
  return info.ts === undefined ? readByConsumer(api, stream, options) : Date.parse(info.ts);
}

async function readByConsumer(api: JetStreamApi, stream: string, options: CallOptions): Promise<number> {
  const config = {
    ...({ ack_policy: 'none', deliver_policy: 'new', replay_policy: 'instant' } as unknown as object),
    ...{ prefix: 'clock', inactive_threshold: UNUSED_NS },
  };
  const { created, name } = await createEphemeral(api, stream, config, options);
  // What is left of it when this fails goes by itself.
  await api.deleteConsumer(stream, name, options).catch(() => undefined);
  return Date.parse(created);
}
