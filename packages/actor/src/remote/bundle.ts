import type { Codec } from './codec.js';

/**
 * Several requests of one command in one message:
 *
 * ```text
 * request   [bytes, …]                        each as a message of its own has it
 * reply     { bundle: [index, bytes, …] }     the replies to them, in whatever order
 *           { …, rest: key }                  those that are ready; there are more to come
 * request   key                               for those, answered in the same way
 * ```
 *
 * Each message gets one reply: NATS permits no second one where replicas answer by
 * `allow_responses`. A reply to a single request has `bundles: true` where its side understands
 * this; one that does not answers a bundle with an error.
 */
export interface BundleReply {
  /** By the index of the request. */
  readonly replies: readonly (readonly [index: number, reply: Uint8Array])[];
  readonly rest: string | undefined;
}

/** Requests of one message; more are sent in another one, and refused. */
export const MOST_BUNDLED = 256;
/** About, of the requests of one message: a larger one goes alone. */
export const BUNDLE_BYTES = 64 * 1024;
/** About, of the replies of one message. */
export const REPLY_BYTES = 256 * 1024;

/** The requests, or the key for the rest of the replies; undefined for a single request. */
export function parseBundle(input: unknown): readonly Uint8Array[] | string | undefined {
  if (typeof input === 'string') return input;
  return isListOfBytes(input) ? input : undefined;
}

export function encodeBundleReply(codec: Codec, { replies, rest }: BundleReply): Uint8Array {
  return codec.encode({ bundle: replies.flat(), rest });
}

/** undefined for what is no reply to a bundle. */
export function parseBundleReply(codec: Codec, data: Uint8Array): BundleReply | undefined {
  let input: unknown;
  try {
    input = codec.decode(data);
  } catch {
    return undefined;
  }
  if (typeof input !== 'object' || input === null) return undefined;
  const { bundle, rest } = input as { readonly bundle?: unknown; readonly rest?: unknown };
  if (!Array.isArray(bundle) || (rest !== undefined && typeof rest !== 'string')) return undefined;
  const replies: [number, Uint8Array][] = [];
  for (let place = 0; place < bundle.length; place += 2) {
    const [index, reply] = [bundle[place] as unknown, bundle[place + 1] as unknown];
    if (typeof index !== 'number' || !(reply instanceof Uint8Array)) return undefined;
    replies.push([index, reply]);
  }
  return { replies, rest };
}

function isListOfBytes(input: unknown): input is readonly Uint8Array[] {
  return Array.isArray(input) && input.length > 0 && input.every((item) => item instanceof Uint8Array);
}
