import { CLUSTER_KEY, type ClusterDocument, decodeClusterDocument } from './cluster-document.js';
import { AntiphonError, toAntiphonError } from '../errors/antiphon-error.js';
import type { Registry } from '../ports/registry.js';

/** What the cluster has agreed on, as far as the registry can still be read. */
export interface FoundDocument {
  readonly document: ClusterDocument;
  /** The newest one of the key, whatever it holds: what is written against it replaces it. */
  readonly revision: number;
  /** Why the newest revision is passed over. Absent: the document is that one. */
  readonly passedOver?: AntiphonError;
}

/**
 * The newest revision of the cluster's description that is one: what somebody else has put into
 * the registry must not stop a cluster. Where none is left, `own` is what the database of a replica
 * knows. Undefined: the key does not exist.
 *
 * @throws AntiphonError LOG_UNAVAILABLE, UNSUPPORTED_FORMAT, MALFORMED_MESSAGE
 */
export async function findClusterDocument(
  registry: Pick<Registry, 'get' | 'revisions'>,
  own?: Uint8Array,
): Promise<FoundDocument | undefined> {
  const entry = await registry.get(CLUSTER_KEY);
  if (entry === undefined) return undefined;
  const { revision, value } = entry;
  const newest = readable(value);
  if (!(newest instanceof AntiphonError)) return { document: newest, revision };
  const earlier = (await registry.revisions(CLUSTER_KEY)).filter((one) => one.revision < revision);
  for (const [at, found] of [...earlier.map((one) => one.value), ...(own ? [own] : [])].entries()) {
    const document = readable(found);
    if (document instanceof AntiphonError) continue;
    const instead =
      earlier[at] === undefined ? 'the copy in the database' : `revision ${earlier[at].revision}`;
    return {
      document,
      revision,
      passedOver: passedOver(revision, newest, `It is passed over for ${instead}.`),
    };
  }
  throw passedOver(
    revision,
    newest,
    'No earlier one is kept that can be. Start a replica that has been one: it writes it again from its database.',
  );
}

/** Of a later format is what a later build has written: that is not for this one to pass over. */
function readable(value: Uint8Array): ClusterDocument | AntiphonError {
  try {
    return decodeClusterDocument(value);
  } catch (thrown) {
    const error = toAntiphonError(thrown, 'MALFORMED_MESSAGE');
    if (error.code === 'UNSUPPORTED_FORMAT') throw error;
    return error;
  }
}

function passedOver(revision: number, cause: AntiphonError, outcome: string): AntiphonError {
  return new AntiphonError(
    'MALFORMED_MESSAGE',
    `Revision ${revision} of the key "${CLUSTER_KEY}" of the registry, the description of the cluster, cannot be read. ` +
      `${outcome} Find out who wrote it (docs/security.md).`,
    { cause, context: { key: CLUSTER_KEY, revision } },
  );
}
