import { AntiphonError, type ErrorCode } from '@antiphon/core';
import { ErrorCode as NatsErrorCode } from 'nats';
import type { ConnectSettings } from './connect-options.js';

interface Explanation {
  readonly code: ErrorCode;
  /** Instead of the client's own words, where they say too little. */
  readonly reason?: string;
  readonly advice: string;
}

const REFUSED_LOGINS = new Set<string>([
  NatsErrorCode.AuthorizationViolation,
  NatsErrorCode.AuthenticationExpired,
  NatsErrorCode.AccountExpired,
]);
const UNTRUSTED = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_SIGNATURE_FAILURE',
]);
const OUT_OF_DATE = new Set(['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID']);
const OTHER_NAME = 'ERR_TLS_CERT_ALTNAME_INVALID';
/**
 * What a server says when it wants a certificate of the client, or does not accept the one it got.
 */
const CLIENT_CERTIFICATE =
  /certificate.required|bad.certificate|unknown.ca|alert certificate|handshake.failure/i;

const OWN_CERTIFICATE = 'Give `tls.cert` and `tls.key`, signed by a CA that nats-server knows.';

/** Why no connection came about, and what to do about this very cause. */
export function unusable({ shownServers, client }: ConnectSettings, thrown: unknown): AntiphonError {
  // The client rejects with nothing at all when the server hangs up in the middle of a handshake.
  const cause = thrown instanceof Error ? thrown : new Error('the server hung up');
  const { code, reason = cause.message, advice } = explain(cause, client.tls !== undefined);
  const message = `No NATS server at ${shownServers} could be used (${reason}). ${advice}`;
  return new AntiphonError(code, message, { cause, context: { servers: shownServers } });
}

function explain(error: Error, tls: boolean): Explanation {
  const codes = codesOf(error);
  const has = (known: ReadonlySet<string>): boolean => codes.some((code) => known.has(code));
  if (has(REFUSED_LOGINS)) {
    const advice =
      'Correct the user name and password, token, nkey or credentials, or the users of nats-server.';
    return { code: 'ACCESS_DENIED', reason: 'it refuses the login', advice };
  }
  if (has(UNTRUSTED)) {
    return {
      code: 'ACCESS_DENIED',
      advice: 'No CA that is trusted here signed its certificate. Name the CA in `tls.ca`.',
    };
  }
  if (has(OUT_OF_DATE)) {
    return {
      code: 'ACCESS_DENIED',
      advice: "Renew the server's certificate, or correct this machine's clock.",
    };
  }
  if (codes.includes(OTHER_NAME)) {
    return { code: 'ACCESS_DENIED', advice: "Use the name or address that the server's certificate is for." };
  }
  const text = error.message;
  if (CLIENT_CERTIFICATE.test(text) || codes.some((code) => CLIENT_CERTIFICATE.test(code))) {
    const reason = "it does not accept this client's certificate";
    return { code: 'ACCESS_DENIED', reason, advice: OWN_CERTIFICATE };
  }
  if (tls && codes.includes(NatsErrorCode.ServerOptionNotAvailable)) {
    const advice = 'Turn TLS on at the server, or use a nats:// address without `tls`.';
    return { code: 'ACCESS_DENIED', reason: 'it offers no TLS', advice };
  }
  return {
    code: 'LOG_UNAVAILABLE',
    advice: tls
      ? 'Start nats-server there, or correct `servers`. For a server with handshake_first, set `tls.handshakeFirst`.'
      : 'Start nats-server there, or correct `servers`.',
  };
}

/** The server asks every client for a certificate, and this one has none. */
export function certificateWanted({ shownServers }: ConnectSettings): AntiphonError {
  const message = `No NATS server at ${shownServers} could be used (it wants a certificate of this client). ${OWN_CERTIFICATE}`;
  return new AntiphonError('ACCESS_DENIED', message, { context: { servers: shownServers } });
}

/** Of the error and of what it hides behind, outermost first. */
function codesOf(error: unknown, depth = 0): readonly string[] {
  if (depth > 3 || typeof error !== 'object' || error === null) return [];
  const { code, chainedError } = error as { readonly code?: unknown; readonly chainedError?: unknown };
  return [...(typeof code === 'string' ? [code] : []), ...codesOf(chainedError, depth + 1)];
}
