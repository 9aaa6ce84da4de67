import { createHash } from 'node:crypto';
import { eventually } from '@antiphon/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HttpServer } from './index.js';
import { get, post, Served, write } from './testing/served.js';

interface Shown {
  readonly seenBy: string;
  readonly primary?: string;
  readonly role?: string;
  readonly members: readonly { readonly id: string; readonly status?: { readonly lifecycle: string } }[];
}

let served: Served;
let server: HttpServer;

beforeAll(async () => {
  served = await Served.start(3, { failover: { mode: 'manual' } });
  server = await served.server({}, 'r2');
});
afterAll(() => served[Symbol.asyncDispose]());

const shown = async (): Promise<Shown> => (await get(server, '/v1/cluster')).body as unknown as Shown;

describe('the whole cluster', () => {
  it('is shown by every member, with who is the primary', async () => {
    const cluster = await shown();
    expect(cluster).toMatchObject({ seenBy: 'r2', primary: 'r1', role: 'admin' });
    expect(cluster.members.map(({ id, status }) => [id, status?.lifecycle])).toEqual([
      ['r1', 'primary'],
      ['r2', 'following'],
      ['r3', 'following'],
    ]);
  });

  it('comes again and again, and goes on without a member that ends', async () => {
    const ended = new AbortController();
    const { body } = await fetch(`${server.url}/v1/cluster/stream`, { signal: ended.signal });
    const seen: Shown[] = [];
    const reading = (async () => {
      let rest = '';
      for await (const piece of body!.pipeThrough(new TextDecoderStream())) {
        const events = (rest + piece).split('\n\n');
        rest = events.pop() ?? '';
        for (const event of events)
          if (event.includes('data: ')) seen.push(JSON.parse(event.split('data: ')[1]!));
      }
    })().catch(() => undefined);
    await eventually('two pictures', () => seen.length >= 2);
    await served.cluster.killReplica('r3');
    const silent = (): boolean => seen.at(-1)?.members.find(({ id }) => id === 'r3')?.status === undefined;
    await eventually('r3 is silent', silent, { timeoutMs: 5000 });
    expect(seen.at(-1)?.members.find(({ id }) => id === 'r3')).toMatchObject({ error: { code: 'NO_ACTOR' } });
    ended.abort();
    await reading;
    await served.cluster.startReplica('r3');
  });

  it('says who was the primary, and who would be', async () => {
    expect((await get(server, '/v1/cluster/epochs')).body).toMatchObject({
      epochs: [
        { number: 0, primary: 'r1' },
        { number: 1, primary: 'r1', began: { why: 'restart' } },
      ],
    });
    const { body } = await get(server, '/v1/cluster/candidates');
    expect(body).toMatchObject({ failover: 'manual', primary: 'r1', answers: true });
    expect(body['candidates']).toHaveLength(3);
  });

  it('is read through any member, which the answer names', async () => {
    await write(server, 'INSERT INTO other VALUES (1, ?)', ['seen']);
    await served.cluster.caughtUp();
    for (const replica of ['r1', 'r2', 'r3'])
      expect(await post(server, '/v1/cluster/query', { sql: 'SELECT * FROM other', replica })).toMatchObject({
        status: 200,
        body: { replica, columns: ['id', 'note'], rows: [{ id: 1, note: 'seen' }] },
      });
    const unknown = await post(server, '/v1/cluster/query', { sql: 'SELECT 1', replica: 'r4' });
    expect(unknown).toMatchObject({ status: 404, body: { error: { code: 'NOT_FOUND', retriable: false } } });
    const writes = await post(server, '/v1/cluster/query', { sql: 'DELETE FROM other', replica: 'r1' });
    expect(writes).toMatchObject({ status: 400, body: { error: { code: 'BAD_SQL' } } });
  });

  it('has empty ledgers of every member', async () => {
    for (const path of ['/v1/cluster/rescues', '/v1/cluster/quarantine']) {
      const { body } = await get(server, path);
      expect(body['replicas'], path).toMatchObject([{ id: 'r1' }, { id: 'r2' }, { id: 'r3' }]);
    }
    expect((await get(server, '/v1/cluster/rescue?replica=r1&id=1')).status).toBe(400);
    expect((await get(server, '/v1/cluster/quarantined?replica=r1&seq=1')).status).toBe(400);
  });
});

describe('what an operator does to it', () => {
  it('reaches the member that is named', async () => {
    const drained = await post(server, '/v1/admin/drain', { replica: 'r3' });
    expect(drained.body).toHaveProperty('drainedSinceMs');
    expect(served.replica('r3').reads.status).toHaveProperty('drainedSinceMs');
    await post(server, '/v1/admin/resume', { replica: 'r3' });
    expect(served.replica('r3').reads.status).not.toHaveProperty('drainedSinceMs');
    const retried = await post(server, '/v1/admin/quarantine/retry', { replica: 'r1' });
    expect(retried.body).toMatchObject({ replica: 'r1', results: [] });
    const discarded = await post(server, '/v1/admin/quarantine/discard', { replica: 'r1', seq: 1 });
    expect(discarded.body).toMatchObject({ discarded: 0 });
    expect((await post(server, '/v1/admin/rescue/dismiss', { replica: 'r1', id: 1 })).status).toBe(400);
    expect((await post(server, '/v1/admin/rescue/reapply', { replica: 'r1', id: 1 })).status).toBe(400);
  });

  it('compares all replicas', async () => {
    const { status, body } = await post(server, '/v1/admin/verify', {});
    expect({ status, outcome: body['outcome'], absent: body['absent'] }).toEqual({
      ...{ status: 200, outcome: 'equal', absent: [] },
    });
  });

  it('moves the role of the primary, without a loss', async () => {
    const done = await post(server, '/v1/admin/switchover', { to: 'r2' });
    expect(done).toMatchObject({ status: 200, body: { replica: 'r1', primary: 'r2', epoch: 2 } });
    expect(await shown()).toMatchObject({ primary: 'r2' });
    const nobody = await post(server, '/v1/admin/switchover', { to: 'r9' });
    expect(nobody).toMatchObject({ status: 404, body: { error: { code: 'NOT_FOUND' } } });
  });
});

describe('who may', () => {
  const sha256 = (token: string): string => createHash('sha256').update(token).digest('hex');
  const READ = ['/v1/cluster', '/v1/cluster/epochs', '/v1/cluster/candidates', '/v1/cluster/rescues'];

  it('see it needs the role read, and act needs admin', async () => {
    const tokens = [
      { name: 'see', role: 'read', sha256: sha256('see') } as const,
      { name: 'act', role: 'admin', sha256: sha256('act') } as const,
    ];
    const guarded = await served.server({ tokens }, 'r1');
    const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` });
    for (const path of READ) {
      expect((await get(guarded, path)).status, path).toBe(401);
      expect((await get(guarded, path, bearer('see'))).status, path).toBe(200);
    }
    expect((await get(guarded, '/v1/cluster', bearer('see'))).body).toMatchObject({ role: 'read' });
    const body = { replica: 'r1' };
    for (const path of ['/v1/admin/drain', '/v1/admin/resume', '/v1/admin/quarantine/retry']) {
      expect((await post(guarded, path, body, bearer('see'))).status, path).toBe(403);
      expect((await post(guarded, path, body, bearer('act'))).status, path).toBe(200);
    }
    // The page itself shows nothing yet.
    expect((await get(guarded, '/')).status).toBe(200);
  });

  it('a page of another origin may not, whatever its browser would send', async () => {
    const resume = (headers: Record<string, string>) => post(server, '/v1/admin/resume', {}, headers);
    for (const site of ['cross-site', 'same-site'])
      expect(await resume({ 'sec-fetch-site': site })).toMatchObject({
        ...{ status: 403, body: { error: { code: 'FORBIDDEN' } } },
      });
    for (const origin of ['https://elsewhere.example', 'null'])
      expect((await resume({ origin })).status, origin).toBe(403);
    expect((await resume({ 'sec-fetch-site': 'same-origin', origin: server.url })).status).toBe(200);
    expect((await resume({ origin: server.url })).status).toBe(200);
  });
});

describe('the page', () => {
  it('is served with what it needs, from here only, and everything but itself is kept', async () => {
    const { status, headers, body } = await get(server, '/');
    const html = String(body['text']);
    expect({ status, type: headers.get('content-type') }).toEqual({
      status: 200,
      type: 'text/html; charset=utf-8',
    });
    expect(headers.get('cache-control')).toBe('no-store');
    const policy = headers.get('content-security-policy') ?? '';
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toMatch(/unsafe|\*|https?:/);
    const files = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path!);
    expect(files.length).toBeGreaterThanOrEqual(3);
    for (const path of files) {
      expect(path).toMatch(/^\/assets\/[\w.-]+-[\w-]{8}\.(js|css|svg)$/);
      const file = await fetch(server.url + path);
      expect({ path, status: file.status }).toEqual({ path, status: 200 });
      expect(file.headers.get('cache-control')).toContain('immutable');
    }
    // What stands in the page itself would need an exception in the policy.
    expect(html).not.toMatch(/<style|style=|<script(?![^>]* src=)[^>]*>|\son\w+=/);
  });
});
