import { connect } from 'node:net';

const DEFAULT_PORT = 4222;
const GREETING = 'INFO ';
/** Far above any real greeting. */
const MAX_GREETING_BYTES = 64 * 1024;
/**
 * NATS greets at once. Whoever says nothing for so long is asked something, which other protocols
 * answer in their own way.
 */
const SILENCE_MS = 500;
const QUESTION = 'PING\r\n';

/** `tlsVerify`: it asks every client for a certificate. */
export type Greeting =
  { readonly type: 'nats'; readonly tlsVerify: boolean } | { readonly type: 'none'; readonly reason: string };

/**
 * What the first of these servers that greets as NATS does says of itself, or what is wrong with
 * all of them. Asked before the client dials: it never hangs up on a server that accepts and says
 * nothing, its words for "nothing listens there" differ from system to system, and it may miss why
 * a server hung up.
 */
export async function greetingOf(servers: readonly URL[], timeoutMs: number): Promise<Greeting> {
  const reasons: string[] = [];
  const greetings = servers.map(async (server) => {
    const { host, port } = endpointOf(server);
    const greeting = await greetingFrom(host, port, timeoutMs);
    if (greeting.type === 'nats') return greeting;
    reasons.push(servers.length === 1 ? greeting.reason : `${server.host}: ${greeting.reason}`);
    throw new Error(greeting.reason);
  });
  return Promise.any(greetings).catch(() => ({ type: 'none', reason: reasons.join('; ') }));
}

export function endpointOf({ hostname, port }: URL): { readonly host: string; readonly port: number } {
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  return { host, port: port === '' ? DEFAULT_PORT : Number(port) };
}

function greetingFrom(host: string, port: number, timeoutMs: number): Promise<Greeting> {
  return new Promise((resolve) => {
    let received = '';
    const socket = connect({ host, port });
    const finish = (greeting: Greeting): void => {
      clearTimeout(limit);
      clearTimeout(question);
      socket.destroy();
      resolve(greeting);
    };
    const none = (reason: string): void => finish({ type: 'none', reason });
    const limit = setTimeout(
      () => none('it accepts connections and says nothing: another kind of server, or one that is stopped'),
      timeoutMs,
    );
    const question = setTimeout(() => socket.write(QUESTION), SILENCE_MS);
    socket.setEncoding('utf8');
    socket.on('error', ({ code, message }: NodeJS.ErrnoException) => {
      if (code === 'ECONNREFUSED') none('nothing listens there');
      else if (code === 'ENOTFOUND') none(`the name ${host} is not known`);
      else none(message);
    });
    socket.on('close', () =>
      none('it hangs up without a greeting; a server that expects TLS at once needs `tls.handshakeFirst`'),
    );
    socket.on('data', (chunk: string) => {
      received += chunk;
      const isNats = received.startsWith(GREETING.slice(0, received.length));
      if (!isNats) return none('what answers there is not NATS; check the port');
      const complete = received.includes('\r\n') || received.length > MAX_GREETING_BYTES;
      if (complete) finish({ type: 'nats', tlsVerify: /"tls_verify":\s*true/.test(received) });
    });
  });
}
