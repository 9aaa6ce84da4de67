import type { Msg } from 'nats';
import { isNoResponders } from '../connection/requester.js';
import { ApiError, type ApiErrorBody } from '../jetstream/api-error.js';

/** What the log said to one publish. */
export type PublishAnswer =
  | { readonly type: 'stored'; readonly stream: string; readonly seq: number; readonly duplicate: boolean }
  | { readonly type: 'error'; readonly error: ApiError }
  | { readonly type: 'no-responders' }
  | { readonly type: 'unreadable' };

const decoder = new TextDecoder();

interface AnswerBody {
  readonly error?: ApiErrorBody;
  readonly stream?: unknown;
  readonly seq?: unknown;
  readonly duplicate?: unknown;
}

export function readPublishAnswer(message: Msg): PublishAnswer {
  if (isNoResponders(message)) return { type: 'no-responders' };
  let body: AnswerBody | null;
  try {
    body = JSON.parse(decoder.decode(message.data)) as AnswerBody | null;
  } catch {
    return { type: 'unreadable' };
  }
  if (body?.error !== undefined) return { type: 'error', error: new ApiError('the publish', body.error) };
  if (typeof body?.seq !== 'number' || typeof body.stream !== 'string') return { type: 'unreadable' };
  return { type: 'stored', stream: body.stream, seq: body.seq, duplicate: body.duplicate === true };
}
