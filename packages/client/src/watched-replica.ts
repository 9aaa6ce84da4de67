import { type Epoch, sleep, systemClock, toAntiphonError } from '@antiphon/core';
import type { ClusterClient } from './cluster-client.js';

const BACK_MS = 500;
const clock = systemClock();

/** A replica that has been asked for something, as it was known then. */
export interface Watched {
  readonly id: string;
  /** Absent where it did not say. */
  readonly instance?: string;
}

/**
 * `gone`: nobody listens under its name, or another process does, so no answer will come. `silent`:
 * it does not answer now.
 */
export type Sight = 'there' | 'silent' | 'gone';

/** Where nobody listens, it is looked at twice: after a restart of NATS all are back soon. */
export async function lookAt(client: ClusterClient, watched: Watched, timeoutMs: number): Promise<Sight> {
  const sight = await lookOnce(client, watched, timeoutMs);
  if (sight !== 'gone') return sight;
  await sleep(clock, BACK_MS);
  return lookOnce(client, watched, timeoutMs);
}

async function lookOnce(client: ClusterClient, watched: Watched, timeoutMs: number): Promise<Sight> {
  try {
    const { instance } = await client.replica(watched.id).ask('ping', undefined, { timeoutMs });
    return watched.instance === undefined || instance === watched.instance ? 'there' : 'gone';
  } catch (thrown) {
    const { code } = toAntiphonError(thrown);
    return code === 'NO_ACTOR' ? 'gone' : code === 'TIMEOUT' ? 'silent' : 'there';
  }
}

/**
 * Of a silent one. A primary in a long write answers nobody, and stays the primary: then the others
 * know no other one.
 */
export async function isReplaced(
  client: ClusterClient,
  { id }: Watched,
  timeoutMs: number,
): Promise<boolean> {
  const newest = await newestEpoch(client, id, timeoutMs);
  // One that was elected while it had the write is what was hoped for.
  return newest !== undefined && newest.primary !== id;
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
