import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { NatsServer } from '@antiphon/nats-server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ENDLESS = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n';

let dir: string;
let server: NatsServer;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'antiphon-close-'));
  server = await NatsServer.start({ storeDir: join(dir, 'nats') });
});
afterAll(async () => {
  await server.stop();
  rmSync(dir, { recursive: true, force: true });
});

let programs = 0;

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly wal: boolean;
}

/** Runs it as a plain script: nothing but the replica keeps the process alive. */
async function run(body: string): Promise<Ran> {
  const name = `p${++programs}`;
  const [program, file] = [join(dir, `${name}.mjs`), join(dir, `${name}.db`)];
  const built = (packageName: string): string =>
    JSON.stringify(new URL(`../../../${packageName}/dist/index.js`, import.meta.url));
  writeFileSync(
    program,
    `import { createReplica } from ${built('replica')};
     import { openDatabase, sqlite } from ${built('sqlite')};
     const file = ${JSON.stringify(file)};
     const start = () => createReplica({
       cluster: '${name}', id: 'x1', servers: '${server.url}', store: sqlite({ file }),
     });
     const db = openDatabase(file);
     db.exec("CREATE TABLE t (id TEXT PRIMARY KEY, v); INSERT INTO t VALUES ('a', 1)");
     db.close();
     ${body}`,
  );
  const child = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const [code, out, err] = await Promise.all([exited, text(child.stdout), text(child.stderr)]);
  return { code, out: out + err, wal: existsSync(`${file}-wal`) };
}

const QUERY = `await replica.query('SELECT 1 AS one');`;
const CLOSE = `await replica.close(); console.log('after');`;

describe('close() settles in a program that has nothing else to do', () => {
  it.each<[string, string]>([
    ['after nothing at all', `const replica = await start(); ${CLOSE}`],
    ['after a query', `const replica = await start(); ${QUERY} ${CLOSE}`],
    [
      'after several at once',
      `const replica = await start();
       await Promise.all([1, 2, 3, 4].map(() => replica.query('SELECT 1'))); ${CLOSE}`,
    ],
    [
      'during a query',
      `const replica = await start(); ${QUERY}
       const running = replica.query(${JSON.stringify(ENDLESS)}).then(() => 'ran', ({ code }) => code);
       await new Promise((resolve) => setTimeout(resolve, 200));
       await replica.close();
       if (await running === 'CLOSED') console.log('after');`,
    ],
    [
      'twice',
      `const replica = await start(); ${QUERY}
       const first = replica.close(); await replica.close(); await first; ${CLOSE}`,
    ],
    ['inside of a function', `(async () => { const replica = await start(); ${QUERY} ${CLOSE} })();`],
    [
      'as a handler of SIGTERM',
      `const replica = await start(); ${QUERY}
       process.once('SIGTERM', async () => { ${CLOSE} });
       process.kill(process.pid, 'SIGTERM');`,
    ],
    [
      'when its scope is left',
      `const replica = await start(); ${QUERY}
       await replica[Symbol.asyncDispose](); console.log('after');`,
    ],
    [
      'after a statement watchdog was stopped',
      `const { StatementWatchdog } = await import(${JSON.stringify(
        new URL('../../../sqlite/dist/index.js', import.meta.url).href,
      )});
       const watchdog = StatementWatchdog.start({ name: 'x1' });
       const replica = await start(); ${QUERY} watchdog.stop(); ${CLOSE}`,
    ],
    [
      'when a change was read and one written',
      `const replica = await start();
       await replica.transaction((tx) => tx.run("INSERT INTO t VALUES ('b', 2)"));
       for await (const _ of replica.changes({ from: 'beginning' })) break;
       ${QUERY} ${CLOSE}`,
    ],
    [
      'while a subscription has a change in hand, and another one stands by',
      `const replica = await start();
       await replica.transaction((tx) => tx.run("INSERT INTO t VALUES ('b', 2)"));
       const subscribe = () => replica.subscribe('s', { from: 'beginning' });
       const [active, standby] = [subscribe(), subscribe()];
       void active.ack((await active.next()).value);
       const next = standby.next();
       await replica.close();
       if ((await next).done && (await active.next()).done) console.log('after');`,
    ],
  ])('%s', async (_, body) => {
    const { code, out, wal } = await run(body);
    expect({ code, out, wal }).toEqual({ code: 0, out: 'after\n', wal: false });
  });

  it('without a server', async () => {
    const lonely = await NatsServer.start({ storeDir: join(dir, 'lonely') });
    const { code, out, wal } = await run(
      `const replica = await createReplica({
         cluster: 'lonely', id: 'x1', servers: '${lonely.url}', store: sqlite({ file }),
       });
       ${QUERY}
       const active = replica.subscribe('s', { from: 'beginning' });
       void active.ack((await active.next()).value);
       process.kill(${String(lonely.pid)}, 'SIGKILL');
       await new Promise((resolve) => setTimeout(resolve, 300));
       ${CLOSE}`,
    );
    await lonely.stop();
    expect({ code, out, wal }).toEqual({ code: 0, out: 'after\n', wal: false });
  });
});
