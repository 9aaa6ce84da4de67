import { connect } from 'node:net';

/** Something that a user may be denied. */
export interface Attempt {
  readonly operation: 'publish' | 'subscribe';
  readonly subject: string;
}

const VIOLATION = /^-ERR 'Permissions Violation for (Publish|Subscription) to "([^"]+)"/;

/**
 * Tries them all on one connection, by the protocol of NATS itself: no client stands between. What
 * it returns was denied.
 */
export function deniedOf(
  port: number,
  login: { readonly user: string; readonly pass: string },
  attempts: readonly Attempt[],
): Promise<readonly Attempt[]> {
  const socket = connect(port, '127.0.0.1');
  const options = { verbose: false, pedantic: false, headers: true, ...login };
  const lines = attempts.map(({ operation, subject }, index) =>
    operation === 'publish' ? `PUB ${subject} 0\r\n\r\n` : `SUB ${subject} ${index + 1}\r\n`,
  );
  socket.write(`CONNECT ${JSON.stringify(options)}\r\n${lines.join('')}PING\r\n`);
  let heard = '';
  return new Promise((resolve, reject) => {
    socket.setTimeout(10_000, () => socket.destroy(new Error(`no answer: ${heard}`)));
    socket.once('error', reject);
    socket.once('close', () => reject(new Error(`the server closed the connection: ${heard}`)));
    socket.setEncoding('utf8').on('data', (text: string) => {
      heard += text;
      if (!/^PONG\r?$/m.test(heard)) return;
      socket.removeAllListeners().destroy();
      resolve(heard.split('\r\n').flatMap(denialIn));
    });
  });
}

function denialIn(line: string): readonly Attempt[] {
  const [, what, subject] = VIOLATION.exec(line) ?? [];
  if (subject === undefined) return [];
  return [{ operation: what === 'Publish' ? 'publish' : 'subscribe', subject }];
}
