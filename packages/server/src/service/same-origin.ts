import type { FastifyRequest } from 'fastify';
import { HttpError } from '../http/http-error.js';
import { hostOf } from './listen.js';

/** What a browser says of a request of the page itself, or of its user. */
const OWN: ReadonlySet<string> = new Set(['same-origin', 'none']);

/**
 * A page of somebody else must not act through the browser of an operator. Nothing here is a
 * cookie, and JSON needs a question first, which nobody answers; this is said besides, by what
 * browsers send and pages cannot change. Programs that are no browser send neither. Throws
 * FORBIDDEN.
 */
export function assertSameOrigin({ method, headers }: FastifyRequest): void {
  if (method === 'GET' || method === 'HEAD') return;
  const { origin, host } = headers;
  const site = headers['sec-fetch-site'];
  if (site === undefined ? isOwn(origin, host) : OWN.has(String(site))) return;
  throw new HttpError(
    'FORBIDDEN',
    'This request comes from a page of another origin. Send it from the page of this server, or from a program.',
  );
}

function isOwn(origin: string | undefined, host: string | undefined): boolean {
  if (origin === undefined) return true;
  if (!URL.canParse(origin) || host === undefined) return false;
  return hostOf(new URL(origin).host) === hostOf(host);
}
