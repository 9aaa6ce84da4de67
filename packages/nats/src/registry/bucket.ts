import { AntiphonError } from '@antiphon/core';
import type { StreamConfig } from 'nats';
import type { StoredMessage } from '../jetstream/stored-message.js';
import { fileStream } from '../jetstream/file-stream.js';

/** How a NATS key-value bucket lies on a stream (ADR-8). */

/** Old revisions are only of interest to people. */
const HISTORY = 5;
const MAX_VALUE_BYTES = 512 * 1024;
const DEDUPE_WINDOW_NANOSECONDS = 120 * 1_000_000_000;
const KEY = /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/;
const MAX_KEY_LENGTH = 256;

export function bucketStream(bucket: string): string {
  return `KV_${bucket}`;
}

/** `key` may be `>`, for all keys. @throws AntiphonError BAD_OPTION */
export function bucketSubject(bucket: string, key: string): string {
  if (key !== '>' && (key.length > MAX_KEY_LENGTH || !KEY.test(key))) {
    const shown = JSON.stringify(key.slice(0, 80));
    const message = `${shown} is not a valid registry key. Use letters, digits, "_" and "-", in parts separated by single dots.`;
    throw new AntiphonError('BAD_OPTION', message);
  }
  return `$KV.${bucket}.${key}`;
}

export function bucketKey(bucket: string, subject: string): string {
  return subject.slice(`$KV.${bucket}.`.length);
}

/** A bucket's delete and purge are messages too. */
export function isDeleted(message: StoredMessage): boolean {
  const operation = message.header('KV-Operation');
  return operation === 'DEL' || operation === 'PURGE';
}

export function bucketConfig(bucket: string, replicas: number): Partial<StreamConfig> & { name: string } {
  return {
    ...fileStream('new'),
    name: bucketStream(bucket),
    subjects: [bucketSubject(bucket, '>')],
    num_replicas: replicas,
    max_msgs_per_subject: HISTORY,
    max_msg_size: MAX_VALUE_BYTES,
    max_msgs: -1,
    max_bytes: -1,
    max_age: 0,
    max_consumers: -1,
    duplicate_window: DEDUPE_WINDOW_NANOSECONDS,
    deny_delete: true,
    deny_purge: false,
    allow_rollup_hdrs: true,
    // A replica that lags would answer as well, with an old value.
    allow_direct: false,
  };
}
