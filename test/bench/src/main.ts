import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Bench } from './bench.js';
import { bulk } from './cases/bulk.js';
import { catchUp } from './cases/catch-up.js';
import { failover } from './cases/failover.js';
import { memory } from './cases/memory.js';
import { propagation } from './cases/propagation.js';
import { serve } from './cases/serve.js';
import { sync } from './cases/sync.js';
import { transactions } from './cases/transactions.js';
import { createReport } from './figure.js';
import { PeerUnavailable } from './peers/unavailable.js';

const BENCHES: Readonly<Record<string, Bench>> = {
  bulk,
  transactions,
  propagation,
  'catch-up': catchUp,
  memory,
  sync,
  failover,
  serve,
};
const WITH_PEERS = ['bulk', 'sync'];
const DEFAULT_ROUNDS = 5;
const EXIT = { ok: 0, failed: 1, usage: 2, interrupted: 130 };

const USAGE = `Usage: npm run bench -- NAME [options]

Names: ${Object.keys(BENCHES).join(', ')}, all

  --json        an object a line: { bench, case, metric, value, unit }
  --rounds N    measured rounds after one that warms up (default ${DEFAULT_ROUNDS}); the median is reported
  --rows N      rows of a round
  --peers       in the same run, with bulk: PostgreSQL's streaming and logical replication;
                with sync: PostgreSQL with synchronous standbys, and MariaDB Galera
  --soak MIN    with failover: full load for so many minutes, with nothing wrong, and nobody may take over
  --folder DIR  where the databases are written (default: the system's folder for temporary files)

Example: npm run bench -- bulk --json --rows 100000
`;

interface Arguments {
  readonly names: readonly string[];
  readonly json: boolean;
  readonly rounds: number;
  readonly rows: number | undefined;
  readonly peers: boolean;
  readonly soakMinutes: number | undefined;
  readonly parent: string;
}

function readArguments(argv: readonly string[]): Arguments | string {
  const options = {
    json: { type: 'boolean' },
    rounds: { type: 'string' },
    rows: { type: 'string' },
    peers: { type: 'boolean' },
    soak: { type: 'string' },
    folder: { type: 'string' },
    help: { type: 'boolean' },
  } as const;
  try {
    const { values, positionals } = parseArgs({ args: [...argv], options, allowPositionals: true });
    if (values.help === true) return '';
    const names = positionals.flatMap((name) => (name === 'all' ? Object.keys(BENCHES) : [name]));
    const unknown = names.find((name) => BENCHES[name] === undefined);
    if (unknown !== undefined) return `There is no bench "${unknown}".`;
    if (names.length === 0) return 'Name a bench.';
    const rounds = count(values.rounds ?? String(DEFAULT_ROUNDS));
    const rows = values.rows === undefined ? undefined : count(values.rows);
    if (rounds === undefined) return '--rounds must be a whole number above 0.';
    if (values.rows !== undefined && rows === undefined) return '--rows must be a whole number above 0.';
    if (values.peers === true && !names.some((name) => WITH_PEERS.includes(name)))
      return `--peers goes with ${WITH_PEERS.join(' and ')}.`;
    const soakMinutes = values.soak === undefined ? undefined : count(values.soak);
    if (values.soak !== undefined && soakMinutes === undefined)
      return '--soak must be a whole number above 0.';
    if (values.soak !== undefined && !names.includes('failover')) return '--soak goes with failover.';
    const parent = values.folder ?? tmpdir();
    return {
      names,
      json: values.json === true,
      rounds,
      rows,
      peers: values.peers === true,
      soakMinutes,
      parent,
    };
  } catch (error) {
    return (error as Error).message;
  }
}

function count(text: string): number | undefined {
  return /^[1-9]\d{0,8}$/.test(text) ? Number(text) : undefined;
}

async function run({ names, json, rounds, rows, peers, soakMinutes, parent }: Arguments): Promise<number> {
  const report = createReport(json);
  const folder = mkdtempSync(join(parent, 'antiphon-bench-'));
  // PostgreSQL runs as another user when this is root, and must be able to pass.
  chmodSync(folder, 0o755);
  const started = new Started();
  let interrupted = false;
  const interrupt = (): void => {
    interrupted = true;
    void started.stopAll();
  };
  // Not `once`: NatsServer leaves the end of this process to it only while somebody listens.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt);
  // Whoever read the figures is gone, as with `| head`.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', interrupt);
  try {
    for (const name of names) {
      if (interrupted) break;
      const own = join(folder, name);
      const onEnd = (stop: () => Promise<void>): void => started.add(stop);
      const soak = soakMinutes === undefined ? {} : { soakMinutes };
      await BENCHES[name]?.({ rounds, rows, peers, ...soak, folder: own, report, onEnd });
      await started.stopAll();
      rmSync(own, { recursive: true, force: true });
      report.end();
    }
    return interrupted ? EXIT.interrupted : EXIT.ok;
  } catch (error) {
    if (interrupted) return EXIT.interrupted;
    report.end();
    report.note(error instanceof PeerUnavailable ? error.message : String((error as Error).stack ?? error));
    return EXIT.failed;
  } finally {
    await started.stopAll();
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * What was started, to be stopped in the opposite order. Whoever asks waits until all of it has
 * stopped.
 */
class Started {
  readonly #stops: (() => Promise<void>)[] = [];
  #stopping = Promise.resolve();

  add(stop: () => Promise<void>): void {
    this.#stops.push(stop);
  }

  stopAll(): Promise<void> {
    this.#stopping = this.#stopping.then(async () => {
      for (let stop = this.#stops.pop(); stop !== undefined; stop = this.#stops.pop())
        await stop().catch(() => undefined);
    });
    return this.#stopping;
  }
}

const parsed = readArguments(process.argv.slice(2));
if (typeof parsed === 'string') {
  process.stderr.write(parsed === '' ? USAGE : `${parsed}\n\n${USAGE}`);
  process.exitCode = parsed === '' ? EXIT.ok : EXIT.usage;
} else {
  // Connections that are still timing out have no reason to keep the process.
  process.exit(await run(parsed));
}
