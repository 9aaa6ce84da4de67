import { Agent, request } from 'node:http';
import type { Client, ClusterClient } from '@antiphon/client';
import { rowObjects } from '@antiphon/replica/internal';
import type { ReadLoad, ReadsDone } from './protocol.js';

const SQL = 'SELECT id, customer, name, amount FROM orders WHERE id = ?';
/** As `connect()` asks. */
const MOST_ROWS = 10_000;
const TIMEOUT_MS = 10_000;
const US_PER_SECOND = 1e6;

type ReadOne = (id: number) => Promise<unknown>;

interface Connections {
  readonly client: Client;
  readonly direct: ClusterClient;
}

/** So many reads of one row by its key, a number of them at once. Throws where a row is missing. */
export async function runReads(connections: Connections, load: ReadLoad): Promise<ReadsDone> {
  const agent = new Agent({ keepAlive: true, maxSockets: load.inFlight });
  const read = readerOf(connections, load, agent);
  const latenciesMs = new Float64Array(load.reads);
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < load.reads) {
      const turn = next++;
      const startedMs = performance.now();
      // A step that has no common divisor with the rows: each read is of another one.
      if ((await read(1 + ((turn * 7919) % load.rows))) === undefined) throw new Error('a row is missing');
      latenciesMs[turn] = performance.now() - startedMs;
    }
  };
  const [startedMs, before] = [performance.now(), process.cpuUsage()];
  await Promise.all(Array.from({ length: load.inFlight }, lane));
  const seconds = (performance.now() - startedMs) / 1000;
  const { user, system } = process.cpuUsage(before);
  agent.destroy();
  return { seconds, cpuSeconds: (user + system) / US_PER_SECOND, latenciesMs };
}

function readerOf({ client, direct }: Connections, { how, url, replicas }: ReadLoad, agent: Agent): ReadOne {
  switch (how) {
    case 'balanced':
      return async (id) => (await client.query(SQL, [id]))[0];
    case 'direct': {
      const refs = replicas.map((name) => direct.replica(name));
      const question = { sql: SQL, maxRows: MOST_ROWS, consistency: 'any', timeoutMs: TIMEOUT_MS } as const;
      let turn = 0;
      return async (id) => {
        const ref = refs[turn++ % refs.length];
        const answer = await ref?.ask('query', { ...question, params: [id] });
        return answer && rowObjects(answer, 'bigint')[0];
      };
    }
    case 'http':
      return async (id) => {
        const { rows } = JSON.parse(await post(agent, `${url}/v1/query`, { sql: SQL, params: [id] })) as {
          readonly rows: readonly unknown[];
        };
        return rows[0];
      };
  }
}

function post(agent: Agent, url: string, body: unknown): Promise<string> {
  return new Promise((resolve, reject) => {
    const text = JSON.stringify(body);
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
    const asked = request(url, { method: 'POST', agent, headers }, (response) => {
      let answer = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (answer += chunk));
      response.once('error', reject);
      response.once('end', () => {
        if (response.statusCode === 200) resolve(answer);
        else reject(new Error(`status ${String(response.statusCode)}: ${answer}`));
      });
    });
    asked.once('error', reject);
    asked.end(text);
  });
}
