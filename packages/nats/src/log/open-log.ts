import { setTimeout as sleep } from 'node:timers/promises';
import { AntiphonError } from '@antiphon/core';
import type { StreamInfo } from 'nats';
import type { Requester } from '../connection/requester.js';
import { ApiError, toPortError } from '../jetstream/api-error.js';
import type { JetStreamApi } from '../jetstream/api.js';
import { logSubjects, streamName } from '../subjects.js';
import { readGeneration, writeIdentity } from './identity-record.js';
import { viewOf, type StreamView } from './log-guard.js';
import { streamConfig, type LogSettings } from './log-options.js';

/** How often the identity record is written or waited for before it is given up. */
const IDENTITY_ATTEMPTS = 20;
const IDENTITY_WAIT_MS = 100;

interface OpenDeps {
  readonly api: JetStreamApi;
  readonly requester: Requester;
  readonly cluster: string;
  readonly settings: LogSettings;
}

/**
 * Finds the log, or makes it. Any number of processes may do so at the same moment: all get the
 * same one.
 * @throws AntiphonError LOG_REPLACED when there is none or it is not Antiphon's, LOG_REFUSED,
 *   LOG_UNAVAILABLE, ABORTED
 */
export async function openLog(
  deps: OpenDeps,
  { create, signal }: { readonly create: boolean; readonly signal?: AbortSignal },
): Promise<StreamView> {
  const { api, requester, cluster } = deps;
  const context = { cluster, stream: streamName(cluster) };
  try {
    for (let attempt = 1; ; attempt += 1) {
      const info = await findStream(deps, create, signal);
      const { last_seq: lastSeq } = info.state;
      const generation = lastSeq === 0 ? undefined : await readGeneration(api, cluster, { signal });
      if (generation !== undefined) {
        return viewOf(info, generation);
      }
      if (lastSeq > 0) {
        const message = `The stream ${context.stream} holds messages but no record of an Antiphon log: it was purged, or made by something else. Restore it, or delete it and create the cluster anew.`;
        throw new AntiphonError('LOG_REPLACED', message, { context });
      }
      if (attempt === IDENTITY_ATTEMPTS) {
        const message = `The stream ${context.stream} is still empty: its creator has not finished. Try again.`;
        throw new AntiphonError('LOG_UNAVAILABLE', message, { context });
      }
      if (create) await writeIdentity(requester, cluster, signal);
      if (!create || attempt > 1) await sleep(IDENTITY_WAIT_MS);
    }
  } catch (error) {
    throw toPortError(error, context);
  }
}

async function findStream(
  deps: OpenDeps,
  create: boolean,
  signal: AbortSignal | undefined,
): Promise<StreamInfo> {
  const { api, cluster, settings } = deps;
  const stream = streamName(cluster);
  let info: StreamInfo;
  try {
    info = await api.streamInfo(stream, { signal });
  } catch (error) {
    if (!(error instanceof ApiError) || !error.noStream) throw error;
    if (!create) {
      const message = `There is no stream ${stream}. This cluster does not exist here. Check the cluster's name and the NATS server.`;
      throw new AntiphonError('LOG_REPLACED', message, { context: { cluster, stream } });
    }
    info = await createStream(deps, signal);
  }
  const { retention, subjects } = info.config;
  if (String(retention) !== 'limits' || !subjects.includes(logSubjects(cluster))) {
    const message = `The stream ${stream} is not set up as an Antiphon log (retention ${String(retention)}, subjects ${subjects.join(' ')}). Delete it, or choose another cluster name.`;
    throw new AntiphonError('LOG_REFUSED', message, { context: { cluster, stream, settings } });
  }
  return info;
}

async function createStream(deps: OpenDeps, signal: AbortSignal | undefined): Promise<StreamInfo> {
  const { api, cluster, settings } = deps;
  try {
    return await api.createStream(streamConfig(cluster, settings), { signal });
  } catch (error) {
    // Somebody else was faster, with other settings: theirs hold.
    if (error instanceof ApiError && error.streamNameInUse)
      return api.streamInfo(streamName(cluster), { signal });
    throw error;
  }
}
