import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { describeReport, type SimulationReport } from './report.js';
import { NO_FEATURES, type Features } from './features.js';
import { ALL_CHAOS, type ChaosSwitches, type SimulatedTopology, type SimulatedUpdate } from './options.js';
import { describeLogLoss, simulateLogLoss } from './log-loss.js';
import { inProcesses } from './processes.js';
import { simulate } from './simulate.js';

const USAGE = `usage: simulate [--seeds 1-100] [--topology multi-primary|primary-replica|both] [--update async|sync|both] [--duration-ms N] [--replicas N] [--without powerLoss,restores,…] [--with randomTables,…]
                [--log-loss] [--jobs 1] [--first] [--trace] [--json]

Runs simulated clusters and checks invariants I1 to I5, and I6, I8, I11 and I12 of synchronous ones. A failing seed replays exactly:
  node packages/simulator/dist/main.js --seeds 42 --topology multi-primary --update async --trace
With --log-loss, runs in which the log loses acknowledged entries and grows again (I14).
--jobs N runs seeds in N processes at a time; --first ends with the first that fails.
Exit codes: 0 all held, 1 some did not, 2 usage.`;

interface Command {
  readonly first: number;
  readonly last: number;
  readonly topologies: readonly SimulatedTopology[];
  readonly updates: readonly SimulatedUpdate[];
  readonly durationMs: number | undefined;
  readonly replicas: number | undefined;
  readonly chaos: Partial<ChaosSwitches>;
  readonly features: Partial<Features>;
  readonly logLoss: boolean;
  /** Processes at a time. */
  readonly jobs: number;
  readonly upToFirst: boolean;
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
  const startedMs = performance.now();
  const tally = new Tally(command, print);
  if (command.jobs > 1) await runApart(command, args, tally);
  else await runHere(command, tally);
  return tally.sum((performance.now() - startedMs) / 1000);
}

/** What came of the runs. */
class Tally {
  readonly #failed: SimulationReport[] = [];
  #runs = 0;

  constructor(
    private readonly command: Command,
    private readonly print: (line: string) => void,
  ) {}

  take(report: SimulationReport): void {
    this.#runs++;
    if (!report.ok) this.#failed.push(report);
    show(report, this.command, this.print);
  }

  /** One that failed is enough. */
  get isOver(): boolean {
    return this.command.upToFirst && this.#failed.length > 0;
  }

  /** The exit code. */
  sum(seconds: number): number {
    const failed = this.#failed.map(({ seed, topology, update }) => ({ seed, topology, update }));
    const runs = this.#runs;
    const seeds = failed.map(({ seed }) => seed).join(', ');
    const which = seeds === '' ? '' : `: seeds ${seeds}`;
    const text = `${runs} runs in ${seconds.toFixed(1)} s, ${failed.length} failed${which}`;
    this.print(
      this.command.json ? JSON.stringify({ runs, failed, seconds: Number(seconds.toFixed(1)) }) : text,
    );
    return failed.length === 0 ? 0 : 1;
  }
}

async function runHere(command: Command, tally: Tally): Promise<void> {
  const { first, last, topologies, updates, durationMs, replicas, chaos, features } = command;
  const options = {
    ...{ chaos, features },
    ...(durationMs !== undefined && { durationMs }),
    ...(replicas !== undefined && { replicas }),
  };
  for (let seed = first; seed <= last; seed++) {
    for (const topology of topologies) {
      for (const update of updates) {
        if (tally.isOver) return;
        tally.take(await simulate(seed, { ...options, topology, update }));
      }
    }
  }
}

/** In other processes, with the same arguments. */
async function runApart(
  { first, last, jobs, trace }: Command,
  args: readonly string[],
  tally: Tally,
): Promise<void> {
  const onLine = (line: string): boolean => {
    const report = JSON.parse(line) as Partial<SimulationReport>;
    // The last line of each process is its sum.
    if (report.seed === undefined) return true;
    tally.take(report as SimulationReport);
    return false;
  };
  // Of options that are given twice, the last one counts.
  const command = [fileURLToPath(import.meta.url), ...args, '--jobs', '1', '--json'];
  if (trace) command.push('--trace');
  await inProcesses({ first, last, processes: jobs, command, onLine, isOver: () => tally.isOver });
}

async function loseLogs(
  { first, last, topologies, updates, replicas, features, json }: Command,
  print: (line: string) => void,
): Promise<number> {
  let failed = 0;
  for (let seed = first; seed <= last; seed++) {
    for (const [topology, update] of topologies.flatMap((topology) =>
      updates.map((update) => [topology, update] as const),
    )) {
      const report = await simulateLogLoss(seed, {
        topology,
        update,
        features,
        ...(replicas && { replicas }),
      });
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
        with: { type: 'string', default: '' },
        'log-loss': { type: 'boolean', default: false },
        jobs: { type: 'string', default: '1' },
        first: { type: 'boolean', default: false },
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
  const [without = [], having = []] = [values.without, values.with].map((names) =>
    names.split(',').filter((name) => name !== ''),
  );
  const known = { ...ALL_CHAOS, ...NO_FEATURES };
  const wrong = [...without, ...having].find((name) => !(name in known));
  if (wrong !== undefined) return `There is no ${wrong}; give some of ${Object.keys(known).join(', ')}`;
  const off = Object.fromEntries(without.map((name) => [name, false]));
  const chaos = pick(ALL_CHAOS, off);
  const features = pick(NO_FEATURES, {
    ...off,
    ...Object.fromEntries(having.map((name) => [name, true])),
  });
  const { trace, json, first: upToFirst } = values;
  const jobs = Number(values.jobs);
  if (!Number.isInteger(jobs) || jobs < 1) return `--jobs is ${values.jobs}; give a number of processes`;
  const last = Number(range[2] ?? first);
  const logLoss = values['log-loss'];
  return {
    first,
    last,
    topologies,
    updates,
    durationMs,
    replicas,
    chaos,
    features,
    logLoss,
    jobs,
    upToFirst,
    trace,
    json,
  };
}

/** Those of them that `kind` has. */
function pick<Kind extends object>(kind: Kind, values: Readonly<Record<string, boolean>>): Partial<Kind> {
  return Object.fromEntries(Object.entries(values).filter(([name]) => name in kind)) as Partial<Kind>;
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
