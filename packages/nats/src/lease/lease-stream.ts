import { AntiphonError } from '@antiphon/core';
import type { StreamConfig, StreamInfo } from 'nats';
import { ApiError } from '../jetstream/api-error.js';
import type { CallOptions, JetStreamApi } from '../jetstream/api.js';
import { leaseStream, leaseSubject, streamName } from '../subjects.js';
import { fileStream } from '../jetstream/file-stream.js';

/** A record takes about a hundred bytes. */
const MAX_RECORD_BYTES = 4096;

/**
 * The sequence number of its last message; 0 when there never was one. Makes the stream when it is
 * missing: whoever needs the lease does, since who made the cluster may be the one that is gone.
 */
export async function lastSeqOfLease(
  api: JetStreamApi,
  cluster: string,
  options: CallOptions,
): Promise<number> {
  const stream = leaseStream(cluster);
  const { config, state } = await findOrCreate(api, cluster, options);
  if (config.subjects.includes(leaseSubject(cluster))) return state.last_seq;
  const message = `The stream ${stream} is not the lease of the cluster ${cluster}: it takes ${config.subjects.join(' ')}. Choose another cluster name, or move that stream away.`;
  throw new AntiphonError('LOG_REFUSED', message, { context: { cluster, stream } });
}

async function findOrCreate(api: JetStreamApi, cluster: string, options: CallOptions): Promise<StreamInfo> {
  const stream = leaseStream(cluster);
  try {
    return await api.streamInfo(stream, options);
  } catch (error) {
    if (!(error instanceof ApiError) || !error.noStream) throw error;
  }
  try {
    return await api.createStream(leaseConfig(cluster, await replicasOfLog(api, cluster, options)), options);
  } catch (error) {
    // Somebody else was faster.
    if (error instanceof ApiError && error.streamNameInUse) return api.streamInfo(stream, options);
    throw error;
  }
}

/** The lease must not be gone while the log is there. */
async function replicasOfLog(api: JetStreamApi, cluster: string, options: CallOptions): Promise<number> {
  try {
    return (await api.streamInfo(streamName(cluster), options)).config.num_replicas;
  } catch (error) {
    if (error instanceof ApiError && error.noStream) return 1;
    throw error;
  }
}

function leaseConfig(cluster: string, replicas: number): Partial<StreamConfig> & { name: string } {
  return {
    ...fileStream('old'),
    name: leaseStream(cluster),
    description: `Antiphon cluster ${cluster}: who may write`,
    subjects: [leaseSubject(cluster)],
    num_replicas: replicas,
    max_msgs: 1,
    max_msg_size: MAX_RECORD_BYTES,
    max_bytes: -1,
    max_age: 0,
    max_msgs_per_subject: -1,
    max_consumers: -1,
    // A replica of the stream that lags would answer as well, with an old lease.
    allow_direct: false,
  };
}
