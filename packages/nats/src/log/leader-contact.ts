import { AntiphonError } from '@antiphon/core';
import type { ClusterInfo, StreamInfo } from 'nats';

/**
 * Servers of a stream hear from their leader every second, and elect another one after 4 to 9 s
 * without it.
 */
const MOST_SILENT_MS = 4000;
const NS_PER_MS = 1e6;

/**
 * How long ago the server that leads a stream last heard most of its servers, in milliseconds: what
 * it says is as old. It goes on answering from its own memory when it is cut off from the others,
 * which have another leader by then and write on. 0 for a stream on one server.
 */
export function leaderSilenceMs(cluster: ClusterInfo | undefined): number {
  const peers = cluster?.replicas ?? [];
  const needed = Math.floor((peers.length + 1) / 2);
  if (needed === 0) return 0;
  const silences = peers
    // 0: not heard since this one leads.
    .map(({ active, offline }) => (offline || active === 0 ? Infinity : active / NS_PER_MS))
    .sort((one, other) => one - other);
  return silences[needed - 1] ?? 0;
}

/** Throws LOG_UNAVAILABLE for the answer of a leader that may have been replaced. */
export function assertLeads({ cluster, config }: StreamInfo): void {
  const silentMs = leaderSilenceMs(cluster);
  if (silentMs <= MOST_SILENT_MS) return;
  const since =
    silentMs === Infinity
      ? 'They are offline, or it has not heard them since it leads.'
      : `It last heard them ${Math.round(silentMs / 1000)} s ago.`;
  const message =
    `The NATS server ${cluster?.leader ?? ''}, which answers for the stream ${config.name}, does not hear most of the ` +
    `stream's servers, and another one may lead it by now. ${since} Mend the connections between the NATS servers, or ` +
    'start those that are down.';
  throw new AntiphonError('LOG_UNAVAILABLE', message, { context: { stream: config.name } });
}
