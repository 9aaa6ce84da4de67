import type { BenchOptions } from '../bench.js';
import type { ReadLoad, ReadsDone } from '../node/protocol.js';
import { READERS, ServeCluster } from '../serve-cluster.js';
import type { Series } from '../series.js';
import { percentile } from '../statistics.js';

const ROWS = 10_000;
/** Of one round with many at once; one at a time makes a tenth of it. */
const DEFAULT_READS = 20_000;
const SINGLE_SHARE = 0.1;
const IN_FLIGHT = 64;
const US_PER_SECOND = 1e6;
const HTTP_REPLICA = READERS[0];

type Add = Series['add'];

/** Reads of one row by its key, from an application's own process. */
export async function measureReads(options: BenchOptions, series: Series): Promise<void> {
  const { folder, report, rounds, rows: reads = DEFAULT_READS, onEnd } = options;
  report.note('starting a primary and four replicas');
  const cluster = await ServeCluster.start(`${folder}-reads`, READERS);
  onEnd(() => cluster.stop());
  await cluster.load(ROWS);
  const url = await cluster.replica(HTTP_REPLICA).call<string>('serveHttp');
  for (let round = 0; round <= rounds; round += 1) {
    const add: Add = (...value) => (round === 0 ? undefined : series.add(...value));
    const named = round === 0 ? 'warm-up' : `round ${round}`;
    report.note(`serve ${named}: ${await oneAtATime(cluster, url, Math.ceil(reads * SINGLE_SHARE), add)}`);
    report.note(`serve ${named}: ${await manyAtOnce(cluster, url, reads, add)}`);
    report.note(`serve ${named}: ${await byReplicas(cluster, reads, add)}`);
  }
  await cluster.stop();
}

async function oneAtATime(cluster: ServeCluster, url: string, reads: number, add: Add): Promise<string> {
  const said: string[] = [];
  for (const how of ['balanced', 'direct', 'http'] as const) {
    const { latenciesMs } = await read(cluster, { how, url, reads, inFlight: 1 });
    const [p50, p99] = [percentile(Array.from(latenciesMs), 0.5), percentile(Array.from(latenciesMs), 0.99)];
    add(`${NAMES[how]}, one at a time`, 'p50', 'ms', p50);
    add(`${NAMES[how]}, one at a time`, 'p99', 'ms', p99);
    said.push(`${how} p50 ${p50.toFixed(3)} ms`);
  }
  return said.join(', ');
}

async function manyAtOnce(cluster: ServeCluster, url: string, reads: number, add: Add): Promise<string> {
  const said: string[] = [];
  const cost: Record<string, number> = {};
  for (const how of ['balanced', 'direct', 'http'] as const) {
    const serversBefore = cluster.serversCpuSeconds();
    const { seconds, cpuSeconds } = await read(cluster, { how, url, reads, inFlight: IN_FLIGHT });
    const name = `${NAMES[how]}, ${IN_FLIGHT} in flight`;
    cost[how] = (cpuSeconds * US_PER_SECOND) / reads;
    add(name, 'throughput', 'reads/s', reads / seconds);
    add(name, 'processor time of the client per read', 'µs', cost[how]);
    const others = ((cluster.serversCpuSeconds() - serversBefore) * US_PER_SECOND) / reads;
    add(name, 'processor time of all others per read', 'µs', others);
    said.push(`${how} ${Math.round(reads / seconds)} reads/s`);
  }
  const alone = await cluster.client.call<number>('routing', { reads, replicas: READERS.length });
  add('balancer', 'processor time per read, alone', 'µs', alone);
  add(
    'balancer',
    'of the client per read, balanced − direct',
    'µs',
    (cost.balanced ?? 0) - (cost.direct ?? 0),
  );
  return `${said.join(', ')}, the balancer alone ${alone.toFixed(1)} µs`;
}

/** The others are drained meanwhile. */
async function byReplicas(cluster: ServeCluster, reads: number, add: Add): Promise<string> {
  const said: string[] = [];
  for (let serving = 1; serving <= READERS.length; serving += 1) {
    for (const [index, name] of READERS.entries())
      await cluster.replica(name).call('serveReads', { serves: index < serving });
    await cluster.client.call('sees', { replicas: serving });
    const { seconds } = await read(cluster, { how: 'balanced', reads, inFlight: IN_FLIGHT });
    const name = `${NAMES.balanced}, ${IN_FLIGHT} in flight, of ${serving} replica${serving === 1 ? '' : 's'}`;
    add(name, 'throughput', 'reads/s', reads / seconds);
    said.push(`${serving}: ${Math.round(reads / seconds)}`);
  }
  return `reads/s by replicas ${said.join(', ')}`;
}

const NAMES = { balanced: 'balanced read', direct: 'direct read', http: 'HTTP query' } as const;

function read(cluster: ServeCluster, load: Omit<ReadLoad, 'rows' | 'replicas'>): Promise<ReadsDone> {
  return cluster.client.call<ReadsDone>('read', { ...load, rows: ROWS, replicas: READERS });
}
