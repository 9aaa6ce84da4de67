import { type ClusterDocument, findClusterDocument } from '@antiphon/core';
import type { ClusterClient } from './cluster-client.js';

/**
 * What the cluster has agreed on. Undefined where the record was lost: whoever runs writes it
 * again. Throws LOG_UNAVAILABLE, and MALFORMED_MESSAGE where no revision of it can be read.
 */
export async function clusterDocument({
  nats,
  cluster,
}: ClusterClient): Promise<ClusterDocument | undefined> {
  return (await findClusterDocument(nats.registry(cluster)))?.document;
}
