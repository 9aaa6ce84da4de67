import { AntiphonError, type PublishRetention } from '@antiphon/core';
import type { StreamConfig, StreamInfo } from 'nats';
import { ApiError } from '../jetstream/api-error.js';
import type { CallOptions, JetStreamApi } from '../jetstream/api.js';
import { streamName } from '../subjects.js';
import { fileStream } from '../jetstream/file-stream.js';

/** Antiphon tells attempts apart by the end of the stream, and needs no memory of ids. */
const DEDUPE_WINDOW_NS = 1_000_000_000;
const NS_PER_MS = 1_000_000;

/** What a stream of published changes is to be. */
export interface ChangesStream {
  readonly cluster: string;
  readonly stream: string;
  /** With wildcards. */
  readonly subjects: string;
  readonly retention: PublishRetention;
}

/** As it is now; it is made when it is missing. Throws LOG_REFUSED when it is another one. */
export async function findOrCreateChanges(
  api: JetStreamApi,
  wanted: ChangesStream,
  options: CallOptions,
): Promise<StreamInfo> {
  const info = await findOrCreate(api, wanted, options);
  const problem = problemOf(info, wanted);
  if (problem === undefined) return info;
  const { cluster, stream } = wanted;
  throw new AntiphonError('LOG_REFUSED', problem, { context: { cluster, stream } });
}

async function findOrCreate(
  api: JetStreamApi,
  wanted: ChangesStream,
  options: CallOptions,
): Promise<StreamInfo> {
  try {
    return await api.streamInfo(wanted.stream, options);
  } catch (error) {
    if (!(error instanceof ApiError) || !error.noStream) throw error;
  }
  try {
    const { config } = await api.streamInfo(streamName(wanted.cluster), options);
    return await api.createStream(configOf(wanted, config.num_replicas), options);
  } catch (error) {
    // Somebody else was faster.
    if (error instanceof ApiError && error.streamNameInUse) return api.streamInfo(wanted.stream, options);
    if (error instanceof ApiError && error.subjectsOverlap) throw overlap(wanted, error);
    throw error;
  }
}

function overlap({ cluster, stream, subjects }: ChangesStream, cause: ApiError): AntiphonError {
  const message = `Another stream than ${stream} takes subjects of ${subjects}. Choose another \`publish.subject\`, or name that stream in \`publish.stream\`.`;
  return new AntiphonError('LOG_REFUSED', message, { cause, context: { cluster, stream } });
}

function problemOf({ config }: StreamInfo, { stream, subjects }: ChangesStream): string | undefined {
  const found = config.subjects?.join(' ') ?? '';
  if (found !== subjects)
    return `The stream ${stream} takes ${found === '' ? 'nothing' : found}, and not ${subjects}. Give the \`publish.subject\` that it was made for, another \`publish.stream\`, or delete the stream.`;
  // A queue whose messages go once they are acknowledged forgets the place.
  if (String(config.retention) === 'limits') return undefined;
  return `The stream ${stream} has the retention ${config.retention}. It needs "limits": make it anew, or let Antiphon make it.`;
}

function configOf(
  { cluster, stream, subjects, retention }: ChangesStream,
  replicas: number,
): Partial<StreamConfig> & { name: string } {
  const { maxAgeMs = 0, maxBytes = -1, maxMessages = -1 } = retention;
  return {
    ...fileStream('old'),
    name: stream,
    description: `Antiphon cluster ${cluster}: published changes`,
    subjects: [subjects],
    num_replicas: replicas,
    max_msgs: maxMessages,
    max_bytes: maxBytes,
    max_age: maxAgeMs * NS_PER_MS,
    max_msg_size: -1,
    max_msgs_per_subject: -1,
    max_consumers: -1,
    duplicate_window: DEDUPE_WINDOW_NS,
  };
}
