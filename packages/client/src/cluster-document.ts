import { CLUSTER_KEY, type ClusterDocument, decodeClusterDocument } from '@antiphon/core';
import type { ClusterClient } from './cluster-client.js';

/**
 * What the cluster has agreed on. Undefined where the record was lost: whoever runs writes it
 * again. Throws LOG_UNAVAILABLE.
 */
export async function clusterDocument({
  nats,
  cluster,
}: ClusterClient): Promise<ClusterDocument | undefined> {
  const entry = await nats.registry(cluster).get(CLUSTER_KEY);
  return entry && decodeClusterDocument(entry.value);
}
