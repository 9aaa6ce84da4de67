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
  readonly storedAtMs: number;
  header(name: string): string | undefined;
}

export function decodeStoredMessage(body: StoredMessageBody): StoredMessage {
  const headers = body.hdrs === undefined ? '' : Buffer.from(body.hdrs, 'base64').toString('utf8');
  return {
    subject: body.subject,
    seq: body.seq,
    data: new Uint8Array(Buffer.from(body.data ?? '', 'base64')),
    storedAtMs: Date.parse(body.time),
    header: (name) => readHeader(headers, name),
  };
}
