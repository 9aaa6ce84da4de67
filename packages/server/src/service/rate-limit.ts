import { isIPv6 } from 'node:net';
import { AntiphonError } from '@antiphon/core';

interface Bucket {
  readonly left: number;
  readonly atMs: number;
}

/** Whoever was quiet for longest is forgotten first, and begins anew. */
const MAX_CLIENTS = 10_000;
const SECOND_MS = 1000;

/**
 * How often one client may ask: a token bucket for each, which holds what a second gives, so that a
 * client that was quiet may ask that much at once.
 */
export class RateLimit {
  /** In the order of their last request. */
  readonly #buckets = new Map<string, Bucket>();

  constructor(
    private readonly perSecond: number,
    private readonly nowMs: () => number = () => performance.now(),
  ) {}

  get clients(): number {
    return this.#buckets.size;
  }

  /** Throws OVERLOADED. */
  take(client: string): void {
    const atMs = this.nowMs();
    const before = this.#buckets.get(client) ?? { left: this.perSecond, atMs };
    const gained = ((atMs - before.atMs) * this.perSecond) / SECOND_MS;
    const left = Math.min(this.perSecond, before.left + gained);
    this.#buckets.delete(client);
    this.#buckets.set(client, { left: left < 1 ? left : left - 1, atMs });
    const [quietest] = this.#buckets.keys();
    if (this.#buckets.size > MAX_CLIENTS && quietest !== undefined) this.#buckets.delete(quietest);
    if (left >= 1) return;
    const message =
      `This client has asked more than ${this.perSecond} times within a second. ` +
      'Ask less often, or raise `http.limits.requestsPerSecond`.';
    throw new AntiphonError('OVERLOADED', message);
  }
}

/** Whoever has a token is one client wherever it is; others are told apart by their address. */
export function clientOf(bearer: string | undefined, address: string): string {
  return bearer === undefined ? `address ${networkOf(address)}` : `token ${bearer}`;
}

/** Of IPv6, one host has at least a network of 64 bits to itself. */
function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined || !isIPv6(address)) return mapped ?? address;
  const [head = ''] = address.split('::', 1);
  const groups = [...head.split(':'), '0', '0', '0', '0'].map((group) => group || '0');
  return groups.slice(0, 4).join(':');
}
