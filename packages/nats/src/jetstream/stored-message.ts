import { readHeader } from '../connection/message-headers.js';

/** As JetStream writes it; `data` and `hdrs` are base64. */
export interface StoredMessageBody {
  readonly subject: string;
  readonly seq: number;
  readonly data?: string;
  readonly hdrs?: string;
  readonly time: string;
}

export interface StoredMessage {
  readonly subject: string;
  readonly seq: number;
  readonly data: Uint8Array;
  /** With its microseconds. */
  readonly storedAtMs: number;
  header(name: string): string | undefined;
}

export function decodeStoredMessage(body: StoredMessageBody): StoredMessage {
  const headers = body.hdrs === undefined ? '' : Buffer.from(body.hdrs, 'base64').toString('utf8');
  return {
    subject: body.subject,
    seq: body.seq,
    data: new Uint8Array(Buffer.from(body.data ?? '', 'base64')),
    storedAtMs: parseTime(body.time),
    header: (name) => readHeader(headers, name),
  };
}

/**
 * RFC 3339 with up to nine digits of a second, of which `Date` reads three. To the double that a
 * delivery's nanoseconds give.
 */
function parseTime(time: string): number {
  const fraction = /\.(\d+)/.exec(time)?.[1] ?? '';
  const seconds = Date.parse(fraction === '' ? time : time.replace(`.${fraction}`, ''));
  return (seconds * 1000 + Number(fraction.slice(0, 6).padEnd(6, '0'))) / 1000;
}
