import { ClusterClient, type ClusterAddress } from '@antiphon/client';

/** A connection that the server's own tools show as this program's. */
export function openCluster(target: ClusterAddress): Promise<ClusterClient> {
  return ClusterClient.open(target, { name: `antiphon cli ${target.cluster}` });
}
