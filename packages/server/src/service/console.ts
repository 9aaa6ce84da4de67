import { type ConsoleFile, consoleFiles } from '@antiphon/console';
import type { FastifyInstance } from 'fastify';
import { HttpError } from '../http/http-error.js';

export type { ConsoleFile };

const YEAR_S = 31_536_000;
/** Nothing from elsewhere, and nothing that stands in the page itself. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');
const PAGE = {
  'cache-control': 'no-store',
  'content-security-policy': POLICY,
  'cross-origin-opener-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=(), payment=(), usb=()',
};
/** Their names say what is in them. */
const HASHED = { 'cache-control': `public, max-age=${YEAR_S}, immutable` };

let files: Promise<readonly ConsoleFile[]> | undefined;

/** Once for all servers of a process. */
export function readConsole(): Promise<readonly ConsoleFile[]> {
  files ??= consoleFiles();
  return files;
}

/** The page at `/`, and what it consists of. It shows nothing by itself, so it needs no token. */
export function addConsole(app: FastifyInstance, page: readonly ConsoleFile[]): void {
  for (const { path, type, content } of page) {
    const headers = path === '/' ? PAGE : HASHED;
    app.get(path, (_, reply) => reply.headers(headers).type(type).send(content));
  }
  if (page.length > 0) return;
  app.get('/', () => {
    throw new HttpError('NOT_FOUND', 'The console has not been built. Run `npm run build`, and start again.');
  });
}
