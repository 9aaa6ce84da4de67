import { setTimeout as sleep } from 'node:timers/promises';
import { AntiphonError } from '@antiphon/core';
import type { StreamInfo } from 'nats';
import type { Requester } from '../connection/requester.js';
import { ApiError, toPortError } from '../jetstream/api-error.js';
import type { JetStreamApi } from '../jetstream/api.js';
import { logSubjects, streamName } from '../subjects.js';
import { assertLeads } from './leader-contact.js';
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
      assertLeads(info);
      const { last_seq: lastSeq } = info.state;
      const generation = lastSeq === 0 ? undefined : await readGeneration(api, cluster, { signal });
      if (generation !== undefined) {
        return viewOf(info, generation);
      }
      if (lastSeq > 0) {
        throw new AntiphonError('LOG_REPLACED', noRecord(context.stream, info.state), { context });
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

/** Where the first entry is gone, replicas that run write the record again. */
function noRecord(stream: string, { first_seq: firstSeq }: StreamInfo['state']): string {
  const what = `The stream ${stream} holds messages but no record of an Antiphon log`;
  if (firstSeq <= 1)
    return `${what}: it was made by something else. Choose another cluster name, or move that stream away.`;
  return (
    `${what}: it begins with message ${firstSeq}, what was before was purged or fell to a limit of the stream. ` +
    'A replica that runs writes the record again as soon as the stream takes it. Raise or lift its limits, and start again. ' +
    'Do not delete it while any replica works with it. Where none does, follow docs/lost-log.md.'
  );
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
