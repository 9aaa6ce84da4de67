import { AntiphonError, checkOptions } from '@antiphon/core';
import type { StreamConfig } from 'nats';
import { logSubjects, streamName } from '../subjects.js';
import { fileStream } from '../jetstream/file-stream.js';

export interface LogOptions {
  /** Of the stream, when it is created: 1, 3 or 5; default 1. */
  readonly replicas?: number;
  /** Of one entry, in bytes; default 512 KiB. Never more than the server and the stream take. */
  readonly maxMessageBytes?: number;
  /**
   * Of the whole log, when it is created, in bytes; default unlimited. A full log refuses appends
   * and drops nothing.
   */
  readonly maxLogBytes?: number;
  /**
   * How long the log remembers ids, when it is created; default 30 s. It costs the server memory
   * for every entry of that time, and only saves readers from seeing a repetition, which they can
   * tell by themselves.
   */
  readonly dedupeWindowMs?: number;
  /** After which an append without an answer is `unknown`; default 5 s. */
  readonly appendTimeoutMs?: number;
  /**
   * What appends may wait for an answer at a time; more are refused as OVERLOADED. Default 16384
   * and 32 MiB.
   */
  readonly maxPendingAppends?: number;
  readonly maxPendingAppendBytes?: number;
  /**
   * What a reader keeps ready for `next`, requested data included; default 8 MiB and 32768 entries.
   */
  readonly maxReadAheadBytes?: number;
  readonly maxReadAheadEntries?: number;
  /** How often the stream's identity is looked at; default 1 s. */
  readonly checkIntervalMs?: number;
}

export type LogSettings = Required<LogOptions>;

const MIB = 1_048_576;
const DEFAULTS: LogSettings = {
  replicas: 1,
  maxMessageBytes: MIB / 2,
  maxLogBytes: -1,
  dedupeWindowMs: 30_000,
  appendTimeoutMs: 5000,
  maxPendingAppends: 16_384,
  maxPendingAppendBytes: 32 * MIB,
  maxReadAheadBytes: 8 * MIB,
  maxReadAheadEntries: 32_768,
  checkIntervalMs: 1000,
};

/** What the headers of an entry may take on top of its data. */
export const HEADER_ALLOWANCE_BYTES = 1024;

/** @throws AntiphonError BAD_OPTION */
export function settleLogOptions(options: LogOptions): LogSettings {
  checkOptions(options, DEFAULTS, 'log()');
  const settings = { ...DEFAULTS, ...options };
  for (const [name, value] of Object.entries(settings)) {
    const unlimited = name === 'maxLogBytes' && value === -1;
    if (unlimited || (Number.isSafeInteger(value) && value > 0)) continue;
    throw new AntiphonError('BAD_OPTION', `The log option ${name} is ${value}. Give a whole number above 0.`);
  }
  return settings;
}

/** Keeps everything: only the archivist removes entries, and only what every member has. */
export function streamConfig(
  cluster: string,
  settings: LogSettings,
): Partial<StreamConfig> & { name: string } {
  return {
    ...fileStream('new'),
    name: streamName(cluster),
    description: `Antiphon cluster ${cluster}: the log of all its changes`,
    subjects: [logSubjects(cluster)],
    num_replicas: settings.replicas,
    max_msg_size: settings.maxMessageBytes + HEADER_ALLOWANCE_BYTES,
    max_bytes: settings.maxLogBytes,
    max_msgs: -1,
    max_age: 0,
    max_msgs_per_subject: -1,
    max_consumers: -1,
    duplicate_window: settings.dedupeWindowMs * 1_000_000,
    allow_direct: false,
  };
}
