import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { describeReport, type SimulationReport } from './report.js';
import { ALL_CHAOS, type ChaosSwitches, type SimulatedTopology, type SimulatedUpdate } from './options.js';
import { describeLogLoss, simulateLogLoss } from './log-loss.js';
import { simulate } from './simulate.js';

const USAGE = `usage: simulate [--seeds 1-100] [--topology multi-primary|primary-replica|both] [--update async|sync|both] [--duration-ms N] [--replicas N] [--without powerLoss,crashes,…]
                [--log-loss] [--trace] [--json]

Runs simulated clusters and checks invariants I1 to I5, and I6, I8, I11 and I12 of synchronous ones. A failing seed replays exactly:
  node packages/simulator/dist/main.js --seeds 42 --topology multi-primary --update async --trace
With --log-loss, runs in which the log loses acknowledged entries and grows again (I14).
Exit codes: 0 all held, 1 some did not, 2 usage.`;

interface Command {
  readonly first: number;
  readonly last: number;
  readonly topologies: readonly SimulatedTopology[];
  readonly updates: readonly SimulatedUpdate[];
  readonly durationMs: number | undefined;
  readonly replicas: number | undefined;
  readonly chaos: Partial<ChaosSwitches>;
  readonly logLoss: boolean;
  readonly trace: boolean;
  readonly json: boolean;
}

export async function main(args: readonly string[], print: (line: string) => void): Promise<number> {
  const command = parse(args);
  if (typeof command === 'string') {
    print(command);
    return command === USAGE ? 0 : 2;
  }
  if (command.logLoss) return loseLogs(command, print);
  const { first, last, topologies, updates, durationMs, replicas, chaos } = command;
  const options = {
    chaos,
    ...(durationMs !== undefined && { durationMs }),
    ...(replicas !== undefined && { replicas }),
  };
  const failed: SimulationReport[] = [];
  const startedMs = performance.now();
  let runs = 0;
  for (let seed = first; seed <= last; seed++) {
    for (const [topology, update] of topologies.flatMap((topology) =>
      updates.map((update) => [topology, update] as const),
    )) {
      const report = await simulate(seed, { ...options, topology, update });
      runs++;
      if (!report.ok) failed.push(report);
      show(report, command, print);
    }
  }
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  const summary = {
    runs,
    failed: failed.map(({ seed, topology, update }) => ({ seed, topology, update })),
    seconds: Number(seconds),
  };
  if (command.json) print(JSON.stringify(summary));
  else
    print(
      `${runs} runs in ${seconds} s, ${failed.length} failed${failed.length > 0 ? `: seeds ${failed.map(({ seed }) => seed).join(', ')}` : ''}`,
    );
  return failed.length === 0 ? 0 : 1;
}

async function loseLogs(
  { first, last, topologies, updates, replicas, json }: Command,
  print: (line: string) => void,
): Promise<number> {
  let failed = 0;
  for (let seed = first; seed <= last; seed++) {
    for (const [topology, update] of topologies.flatMap((topology) =>
      updates.map((update) => [topology, update] as const),
    )) {
      const report = await simulateLogLoss(seed, { topology, update, ...(replicas && { replicas }) });
      if (!report.ok) failed++;
      print(
        json ? JSON.stringify({ topology, update, ...report }) : describeLogLoss(report, topology, update),
      );
    }
  }
  print(json ? JSON.stringify({ failed }) : `${failed} failed`);
  return failed === 0 ? 0 : 1;
}

function show(report: SimulationReport, { json, trace }: Command, print: (line: string) => void): void {
  if (json) return print(JSON.stringify(trace ? report : { ...report, lastEvents: [] }));
  print(describeReport(report));
  if (trace) for (const line of report.lastEvents) print(`    ${line}`);
}

/** A text: what is wrong with the arguments, or the usage. */
function parse(args: readonly string[]): Command | string {
  let values;
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: {
        seeds: { type: 'string', default: '1-100' },
        topology: { type: 'string', default: 'both' },
        update: { type: 'string', default: 'both' },
        'duration-ms': { type: 'string' },
        replicas: { type: 'string' },
        without: { type: 'string', default: '' },
        'log-loss': { type: 'boolean', default: false },
        trace: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }));
  } catch (error) {
    return `${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`;
  }
  if (values.help) return USAGE;
  const range = /^(\d+)(?:-(\d+))?$/.exec(values.seeds);
  const topologies = TOPOLOGIES[values.topology];
  if (range === null) return `--seeds is ${values.seeds}; give one number or a range like 1-100`;
  if (topologies === undefined)
    return `--topology is ${values.topology}; give ${Object.keys(TOPOLOGIES).join(', ')}`;
  const updates = UPDATES[values.update];
  if (updates === undefined) return `--update is ${values.update}; give ${Object.keys(UPDATES).join(', ')}`;
  const first = Number(range[1]);
  const durationMs = values['duration-ms'] === undefined ? undefined : Number(values['duration-ms']);
  const replicas = values.replicas === undefined ? undefined : Number(values.replicas);
  const without = values.without.split(',').filter((name) => name !== '');
  const unknown = without.find((name) => !(name in ALL_CHAOS));
  if (unknown !== undefined) return `--without ${unknown}: give some of ${Object.keys(ALL_CHAOS).join(', ')}`;
  const chaos = Object.fromEntries(without.map((name) => [name, false]));
  const { trace, json } = values;
  const last = Number(range[2] ?? first);
  const logLoss = values['log-loss'];
  return { first, last, topologies, updates, durationMs, replicas, chaos, logLoss, trace, json };
}

const TOPOLOGIES: Readonly<Record<string, readonly SimulatedTopology[]>> = {
  'multi-primary': ['multi-primary'],
  'primary-replica': ['primary-replica'],
  both: ['multi-primary', 'primary-replica'],
};

const UPDATES: Readonly<Record<string, readonly SimulatedUpdate[]>> = {
  async: ['async'],
  sync: ['sync'],
  both: ['async', 'sync'],
};

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  process.exitCode = await main(process.argv.slice(2), (line) => process.stdout.write(`${line}\n`));
}
