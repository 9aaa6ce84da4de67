/**
 * What a delivered message says about itself in its reply subject,
 * `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<nanoseconds>.<pending>`.
 * Servers may put a domain and an account's hash before the stream, and one more token at the end
 * (ADR-15).
 */
export interface Delivery {
  readonly seq: number;
  /** The number that the consumer gave it; acknowledgements carry both. */
  readonly consumerSeq: number;
  /** With its microseconds. */
  readonly storedAtMs: number;
}

const SHORT_PREFIX_TOKENS = 4;
const LONG_PREFIX_TOKENS = 6;
const LONG_FORM_TOKENS = 11;
/** A number holds microseconds since 1970 exactly, nanoseconds not. */
const DIGITS_BELOW_MICROSECONDS = 3;

/**
 * Everything up to and with the dot before the delivery count: it is the same for all messages of a
 * consumer.
 */
export function ackPrefix(reply: string): string | undefined {
  const tokens = reply.split('.');
  if (tokens[0] !== '$JS' || tokens[1] !== 'ACK' || tokens.length < 9) return undefined;
  const count = tokens.length >= LONG_FORM_TOKENS ? LONG_PREFIX_TOKENS : SHORT_PREFIX_TOKENS;
  return `${tokens.slice(0, count).join('.')}.`;
}

/** `reply` begins with `prefix`. Undefined when the rest is not what it should be. */
export function readDelivery(reply: string, prefix: string): Delivery | undefined {
  const afterCount = reply.indexOf('.', prefix.length) + 1;
  const afterSeq = reply.indexOf('.', afterCount) + 1;
  const afterConsumerSeq = reply.indexOf('.', afterSeq) + 1;
  const timeEnd = reply.indexOf('.', afterConsumerSeq);
  if (afterCount === 0 || afterSeq === 0 || afterConsumerSeq === 0 || timeEnd < 0) return undefined;
  const seq = digits(reply, afterCount, afterSeq - 1);
  const consumerSeq = digits(reply, afterSeq, afterConsumerSeq - 1);
  const storedAtMs = digits(reply, afterConsumerSeq, timeEnd - DIGITS_BELOW_MICROSECONDS) / 1000;
  return Number.isSafeInteger(seq) && Number.isSafeInteger(consumerSeq)
    ? { seq, consumerSeq, storedAtMs }
    : undefined;
}

/**
 * Acknowledges `seq` and all before it. The count, the time and what is pending are not looked at
 * by the server.
 */
export function ackSubject(prefix: string, seq: number, consumerSeq: number): string {
  const long = prefix.split('.').length > SHORT_PREFIX_TOKENS + 1;
  return `${prefix}1.${seq}.${consumerSeq}.0.0${long ? '.0' : ''}`;
}

const ZERO = 48;
const NINE = 57;

/** Without a substring: this runs for every message. NaN when there is anything but digits. */
function digits(text: string, from: number, to: number): number {
  let value = 0;
  for (let at = from; at < to; at += 1) {
    const code = text.charCodeAt(at);
    if (code < ZERO || code > NINE) return Number.NaN;
    value = value * 10 + (code - ZERO);
  }
  return from < to ? value : Number.NaN;
}
