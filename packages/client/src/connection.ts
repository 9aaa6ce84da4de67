import { abortError, AntiphonError, sleep, systemClock } from '@antiphon/core';
import type { ClusterClient } from './cluster-client.js';

const LOOK_MS = 50;
const clock = systemClock();

/** Why nothing can be sent now; undefined: it can. */
export function whyUnsent({ nats }: ClusterClient): AntiphonError | undefined {
  if (nats.status === 'connected') return undefined;
  const context = { started: false };
  if (nats.status === 'closed') {
    const message = 'The client is closed. Nothing was written. Connect again.';
    return new AntiphonError('CLOSED', message, { context });
  }
  const refused = nats.requester.refusedLogin;
  if (refused !== undefined) return refused;
  const message = `The connection to NATS at ${nats.servers} is down. Nothing was written. Start nats-server. The connection comes back automatically.`;
  return new AntiphonError('LOG_UNAVAILABLE', message, { context });
}

/** Ends as well where none will come: closed, a login that is refused. Throws ABORTED. */
export async function untilConnected(
  { nats }: ClusterClient,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
): Promise<void> {
  const untilMs = clock.monotonicMs() + timeoutMs;
  while (nats.status === 'disconnected' && nats.requester.refusedLogin === undefined) {
    const leftMs = untilMs - clock.monotonicMs();
    if (leftMs <= 0) return;
    await sleep(clock, Math.min(LOOK_MS, leftMs), signal).catch(() => undefined);
    if (signal?.aborted === true) throw abortError(signal, 'The caller gave up. Nothing was written.');
  }
}
