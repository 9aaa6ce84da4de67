import { AntiphonError, ConflictError, ERROR_CODES, type ErrorCode } from '@antiphon/core';
import { messageOf } from '../errors.js';
import type { Codec } from './codec.js';
import { conflictFromWire, conflictToWire } from './conflict-details.js';

/** Of a message or a context field. */
const MAX_ERROR_TEXT = 4096;

// A reply on the wire is a map: `{ ok: value }`, `{}` for no value, or
// `{ error: { code, message, retriable, context } }`, of a ConflictError with its `details`; and
// `bundles: true` beside it where the command takes several requests in one message.

/** What a reply says of its sender. */
export interface ReplyMark {
  readonly bundles?: true;
}

export function encodeValue(codec: Codec, value: unknown, mark?: ReplyMark): Uint8Array {
  return codec.encode(value === undefined ? { ...mark } : { ok: value, ...mark });
}

/**
 * Cause and stack stay at home. What is no AntiphonError was chosen by the actor
 * (`message.reject`).
 */
export function encodeError(codec: Codec, thrown: unknown, mark?: ReplyMark): Uint8Array {
  const known = thrown instanceof AntiphonError ? thrown : undefined;
  const context: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(known?.context ?? {})) {
    if (typeof field === 'string') context[name] = field.slice(0, MAX_ERROR_TEXT);
    else if (typeof field === 'number' || typeof field === 'boolean') context[name] = field;
  }
  const message = messageOf(thrown).slice(0, MAX_ERROR_TEXT);
  const details = thrown instanceof ConflictError ? { details: conflictToWire(thrown.details) } : {};
  return codec.encode({
    error: {
      code: known?.code ?? 'REMOTE',
      message,
      retriable: known?.retriable ?? false,
      context,
      ...details,
    },
    ...mark,
  });
}

/**
 * The value of a reply. Throws the error it carries, with its code, or MALFORMED_MESSAGE.
 * `onBundles`: called when it says that several requests may be one message.
 */
export function decodeReply(codec: Codec, data: Uint8Array, from: string, onBundles?: () => void): unknown {
  let reply: unknown;
  try {
    reply = codec.decode(data);
  } catch {
    // As anything else that is no reply.
  }
  if (onBundles !== undefined && isMap(reply) && reply['bundles'] === true) onBundles();
  if (isMap(reply) && !('error' in reply)) return reply['ok'];
  const error = isMap(reply) ? reply['error'] : undefined;
  if (!isMap(error) || typeof error['message'] !== 'string') {
    const text = `${from} answered with something that is not a reply. Check what listens there.`;
    throw new AntiphonError('MALFORMED_MESSAGE', text, { context: { remote: from } });
  }
  const { code, retriable, context, details } = error;
  const message = error['message'];
  const options = {
    retriable: retriable === true,
    context: { ...(isMap(context) ? context : {}), remote: from, remoteCode: code },
  };
  if (code === 'CONFLICT') throw new ConflictError(message, conflictFromWire(details), options);
  throw new AntiphonError(isCode(code) ? code : 'REMOTE', message, options);
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(ERROR_CODES, code);
}
