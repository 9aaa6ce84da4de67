import { AntiphonError, type Epoch } from '@antiphon/core';
import type { ClusterClient } from './cluster-client.js';

/** A replica that has been asked for something, as it was known then. */
export interface Watched {
  readonly id: string;
  /** Absent where it did not say. */
  readonly instance?: string;
  /** The newest one that was known. */
  readonly epoch: number;
}

/** A replica of another process of now, or a primary that has been replaced, has no answer left. */
export async function isGone(
  client: ClusterClient,
  { id, instance, epoch }: Watched,
  timeoutMs: number,
): Promise<boolean> {
  try {
    const ping = await client.replica(id).ask('ping', undefined, { timeoutMs });
    return instance !== undefined && ping.instance !== instance;
  } catch (thrown) {
    if (!(thrown instanceof AntiphonError)) throw thrown;
    if (thrown.code === 'NO_ACTOR') return true;
    if (thrown.code !== 'TIMEOUT') return false;
  }
  // A primary in a long write answers nobody, and stays the primary. Only the others know that.
  const newest = await newestEpoch(client, id, timeoutMs);
  return newest !== undefined && (newest.number > epoch || newest.primary !== id);
}

/** As all but this one say; undefined where none of them answers. */
async function newestEpoch(
  client: ClusterClient,
  butOf: string,
  timeoutMs: number,
): Promise<Epoch | undefined> {
  const others = (await client.members()).filter(({ id }) => id !== butOf);
  const standings = await Promise.all(
    others.map(({ id }) =>
      client
        .replica(id)
        .ask('standing', undefined, { timeoutMs })
        .catch(() => undefined),
    ),
  );
  const epochs = standings.flatMap((standing) => standing?.epoch ?? []);
  return epochs.sort((one, other) => other.number - one.number)[0];
}
