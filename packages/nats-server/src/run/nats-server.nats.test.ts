import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, StorageType } from 'nats';
import { eventually } from '@antiphon/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NatsServer } from './nats-server.js';
import { identify, isSameProcess } from './process-identity.js';
import { probeServer } from './server-probe.js';
import type { ServerExit } from './server-process.js';
import type { NatsServerOptions } from './server-settings.js';

let dir: string;
const servers: NatsServer[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'antiphon-server-'));
});
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.stop()));
  rmSync(dir, { recursive: true, force: true });
});

async function start(options: Partial<NatsServerOptions> = {}): Promise<NatsServer> {
  const server = await NatsServer.start({ storeDir: join(dir, 'store'), ...options });
  servers.push(server);
  return server;
}

function startFails(options: Partial<NatsServerOptions>, message: RegExp): Promise<void> {
  return expect(start(options)).rejects.toMatchObject({
    code: 'NATS_SERVER_START',
    message: expect.stringMatching(message),
  });
}

/** One that is not ready before its caller has had the time to give up. */
async function slowServer(): Promise<string> {
  const server = await start();
  await server.stop();
  const file = join(dir, 'slow-nats-server');
  writeFileSync(file, `#!/bin/sh\n[ "$1" = --version ] || sleep 5\nexec '${server.binary}' "$@"\n`, {
    mode: 0o755,
  });
  return file;
}

async function publishOne(server: NatsServer, stream: string): Promise<number> {
  const connection = await connect({ servers: server.url });
  try {
    const manager = await connection.jetstreamManager();
    await manager.streams.add({ name: stream, subjects: [stream], storage: StorageType.File });
    return (await connection.jetstream().publish(stream, 'x')).seq;
  } finally {
    await connection.close();
  }
}

async function messagesIn(server: NatsServer, stream: string): Promise<number> {
  const connection = await connect({ servers: server.url });
  try {
    const manager = await connection.jetstreamManager();
    return (await manager.streams.info(stream)).state.messages;
  } finally {
    await connection.close();
  }
}

describe('a server', () => {
  it('starts on a free port with JetStream, and stops', async () => {
    const server = await start();
    expect(server.url).toBe(`nats://127.0.0.1:${server.port}`);
    expect(server.version).toMatch(/^\d+\.\d+\.\d+/);
    expect(await probeServer('127.0.0.1', server.port, 1000)).toMatchObject({ jetstream: true });
    expect(await publishOne(server, 'one')).toBe(1);
    const identity = identify(server.pid!)!;
    await Promise.all([server.stop(), server.stop()]);
    expect(server.state).toBe('stopped');
    expect(server.pid).toBeUndefined();
    expect(isSameProcess(identity)).toBe(false);
    expect(await probeServer('127.0.0.1', server.port, 1000)).toBeUndefined();
    expect(existsSync(join(server.storeDir, 'antiphon-nats-server.json'))).toBe(false);
  });

  it('keeps its port and its messages over stop, kill and restart', async () => {
    const server = await start();
    const { url } = server;
    await publishOne(server, 'one');
    for (const end of [() => server.stop(), () => server.kill(), () => Promise.resolve()]) {
      await end();
      const before = server.pid;
      await server.restart();
      expect(server.url).toBe(url);
      expect(server.pid).not.toBe(before);
      expect(await messagesIn(server, 'one')).toBe(1);
    }
  });

  it('freezes and goes on, and can be stopped while frozen', async () => {
    const server = await start();
    await server.pause();
    expect(server.state).toBe('paused');
    expect(await probeServer('127.0.0.1', server.port, 200)).toBeUndefined();
    server.resume();
    expect(await probeServer('127.0.0.1', server.port, 2000)).toBeDefined();
    await server.pause();
    await server.stop();
    expect(server.state).toBe('stopped');
    expect(() => server.resume()).toThrow(/stopped/);
  });

  it('says when it ended by itself, and can be restarted then', async () => {
    const exits: ServerExit[] = [];
    const server = await start({ onUnexpectedExit: (exit) => exits.push(exit) });
    process.kill(server.pid!, 'SIGKILL');
    await eventually('it says so', () => exits.length > 0);
    expect(exits).toEqual([{ code: undefined, signal: 'SIGKILL' }]);
    expect(server.state).toBe('stopped');
    await server.restart();
    await server.stop();
    await server.restart();
    await server.kill();
    expect(exits).toHaveLength(1);
  });

  it('passes on its limits', async () => {
    const server = await start({
      maxPayload: 2_000_000,
      maxFileStore: 50_000_000,
      maxMemoryStore: 10_000_000,
    });
    const connection = await connect({ servers: server.url });
    expect(connection.info?.max_payload).toBe(2_000_000);
    await connection.close();
    const config = readFileSync(join(server.storeDir, 'nats-server.conf'), 'utf8');
    expect(config).toMatch(/max_file_store: 50000000/);
  });

  it('fsyncs every message where the server can, and says when it cannot', async () => {
    const server = await start({ syncInterval: 'always' });
    expect(server.syncsAlways).toBe(!server.version.startsWith('2.9.'));
  });

  it('works in a folder with quotes, spaces and unicode in its name', async () => {
    const server = await start({ storeDir: join(dir, 'it\'s "här" \\ $X') });
    expect(await publishOne(server, 'one')).toBe(1);
  });

  it('is stopped at the end of an `await using` block', async () => {
    let port: number;
    {
      await using server = await NatsServer.start({ storeDir: join(dir, 'store') });
      port = server.port;
    }
    expect(await probeServer('127.0.0.1', port, 1000)).toBeUndefined();
  });
});

describe('a start that fails', () => {
  it('names the port that is taken and shows the log', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as { port: number };
    await startFails(
      { port },
      new RegExp(`Another program listens on 127.0.0.1:${port}[^]*log lines[^]*in use`),
    );
    other.close();
    await start({ port });
  });

  it('is not misled by another NATS server on the port', async () => {
    const first = await start();
    await startFails({ port: first.port, storeDir: join(dir, 'other') }, /Another program listens/);
    expect(first.state).toBe('running');
  });

  it('says when the store folder is not one', async () => {
    writeFileSync(join(dir, 'file'), '');
    await startFails({ storeDir: join(dir, 'file', 'store') }, /can't be written[^]*choose another folder/);
  });

  it('says when the server can not write its store', async () => {
    writeFileSync(join(dir, 'jetstream'), 'in the way');
    await startFails({ storeDir: dir }, /did not start[^]*JetStream/i);
  });

  it('says when the host is none of this machine', async () => {
    await startFails({ host: '192.0.2.1', port: 4222 }, /is not an address of this machine/);
    await startFails({ host: '192.0.2.1' }, /No free port/);
  });

  it('says when the binary is none', async () => {
    await startFails({ binary: '/nowhere/nats-server' }, /is not a nats-server/);
    await startFails({ binary: process.execPath }, /is not a nats-server/);
  });

  it('ends with ABORTED when the caller gives up', async () => {
    await expect(start({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' });
    const reason = new Error('not needed any more');
    await expect(start({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const starting = start({ signal: controller.signal, binary: await slowServer() });
    const claimFile = join(dir, 'store', 'antiphon-nats-server.json');
    await eventually('it has begun', () => existsSync(claimFile));
    controller.abort();
    await expect(starting).rejects.toMatchObject({ code: 'ABORTED' });
    expect(existsSync(claimFile)).toBe(false);
  });
});

describe('a store that is in use', () => {
  it('is refused while the process that uses it lives', async () => {
    const server = await start();
    await startFails({}, new RegExp(`in use by a nats-server \\(pid ${server.pid}\\)`));
    expect(await publishOne(server, 'one')).toBe(1);
  });

  it('is taken over from a server whose parent was killed', async () => {
    const { child, claim } = await leaveBehind();
    const steps: string[] = [];
    const server = await start({ onStep: (message) => steps.push(message) });
    expect(steps.join('\n')).toContain(`ending a nats-server (pid ${child.pid}) that was left behind`);
    expect(isSameProcess(claim.server)).toBe(false);
    expect(server.state).toBe('running');
  });

  it('never ends a process that only has the same pid', async () => {
    const { child, claim } = await leaveBehind();
    const bystander = spawn('sleep', ['60'], { stdio: 'ignore' });
    try {
      child.kill('SIGKILL');
      const identity = identify(bystander.pid!)!;
      writeClaim({ ...claim, server: { ...claim.server, pid: identity.pid } });
      await (await start()).stop();
      // Not even when it began at the very moment that was written down.
      writeClaim({ ...claim, server: identity });
      await start();
      expect(isSameProcess(identity)).toBe(true);
    } finally {
      bystander.kill('SIGKILL');
    }
  });

  it('does not mind a claim that is cut off or nonsense', async () => {
    for (const text of ['', '{"server":', 'null', '{"server":{"pid":"1"}}']) {
      await (await start()).stop();
      writeFileSync(join(dir, 'store', 'antiphon-nats-server.json'), text);
    }
    await start();
  });

  type Claim = { server: { pid: number; startedAt: string }; owner: object; configFile: string };

  /** A server that nobody looks after, with a claim of an owner that is gone. */
  async function leaveBehind(): Promise<{ child: ChildProcess; claim: Claim }> {
    const first = await start();
    const configFile = join(first.storeDir, 'nats-server.conf');
    const claim = JSON.parse(
      readFileSync(join(first.storeDir, 'antiphon-nats-server.json'), 'utf8'),
    ) as Claim;
    await first.stop();
    const child = spawn(first.binary, ['-c', configFile], { detached: true, stdio: 'ignore' });
    await eventually('it answers', () => probeServer('127.0.0.1', first.port, 1000));
    const left = { ...claim, server: identify(child.pid!)!, owner: { pid: 1, startedAt: 'long ago' } };
    writeClaim(left);
    return { child, claim: left };
  }

  function writeClaim(claim: Claim): void {
    writeFileSync(join(dir, 'store', 'antiphon-nats-server.json'), JSON.stringify(claim));
  }
});
