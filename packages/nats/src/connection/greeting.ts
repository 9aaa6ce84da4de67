import { connect } from 'node:net';

const DEFAULT_PORT = 4222;
const GREETING = 'INFO ';
/** NATS greets at once. Whoever says nothing for so long is asked something, which other protocols answer in their own way. */
const SILENCE_MS = 500;
const QUESTION = 'PING\r\n';

/**
 * Undefined when any of these servers greets as NATS does, else what is wrong with them. Asked before the client dials: it never
 * hangs up on a server that accepts and says nothing, and its words for "nothing listens there" differ from system to system.
 */
export async function whyNobodyGreets(
  servers: readonly URL[],
  timeoutMs: number,
): Promise<string | undefined> {
  const reasons = servers.map(async ({ hostname, port, host }) => {
    const name = hostname.replace(/^\[(.*)\]$/, '$1');
    const reason = await whyNoGreeting(name, port === '' ? DEFAULT_PORT : Number(port), timeoutMs);
    if (reason === undefined) return;
    throw new Error(servers.length === 1 ? reason : `${host}: ${reason}`);
  });
  return Promise.any(reasons).then(
    () => undefined,
    (thrown: unknown) =>
      (thrown as AggregateError).errors.map((error) => (error as Error).message).join('; '),
  );
}

function whyNoGreeting(host: string, port: number, timeoutMs: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    let received = '';
    const socket = connect({ host, port });
    const finish = (reason: string | undefined): void => {
      clearTimeout(limit);
      clearTimeout(question);
      socket.destroy();
      resolve(reason);
    };
    const limit = setTimeout(
      () => finish('it accepts connections and says nothing: another kind of server, or one that is stopped'),
      timeoutMs,
    );
    const question = setTimeout(() => socket.write(QUESTION), SILENCE_MS);
    socket.setEncoding('utf8');
    socket.on('error', ({ code, message }: NodeJS.ErrnoException) => {
      if (code === 'ECONNREFUSED') finish('nothing listens there');
      else if (code === 'ENOTFOUND') finish(`the name ${host} is not known`);
      else finish(message);
    });
    socket.on('close', () =>
      finish('it hangs up without a greeting; a server that expects TLS at once needs `tls`'),
    );
    socket.on('data', (chunk: string) => {
      received += chunk;
      if (received.startsWith(GREETING)) finish(undefined);
      else if (received.length >= GREETING.length) finish('what answers there is not NATS; check the port');
    });
  });
}
