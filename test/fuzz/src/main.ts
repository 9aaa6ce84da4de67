import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { MODES, randomScript, type Mode } from './random-script.js';
import { runScript, type Verdict } from './run.js';
import { describeScript, type Script } from './script.js';
import { smallerScript } from './smaller.js';

const USAGE = `usage: fuzz [--seeds 1-100] [--mode ${MODES.join('|')}|all|turns] [--whole] [--json] [--replay FILE]

Random schemas and statements on an SQLite database with Antiphon and on one without: both must hold the same, and so must a replica.
Each seed runs in all modes, or with turns in one: they take turns. In the mode two-writers two replicas write at once, and must hold the same in the end. A seed that fails is made smaller, unless --whole
is given; --json prints scripts that --replay runs again. Exit codes: 0 all passed, 1 some did not, 2 usage.`;

/** A long run says how far it is. */
const SEEDS_PER_LINE = 500;

interface Command {
  readonly first: number;
  readonly last: number;
  readonly modes: readonly Mode[];
  readonly turns: boolean;
  readonly whole: boolean;
  readonly json: boolean;
  readonly replay: string | undefined;
}

export async function main(args: readonly string[], print: (line: string) => void): Promise<number> {
  const command = parse(args);
  if (typeof command === 'string') {
    print(command);
    return command === USAGE ? 0 : 2;
  }
  if (command.replay !== undefined) {
    const script = JSON.parse(readFileSync(command.replay, 'utf8')) as Script;
    return report(script, await runScript(script), command, print);
  }
  const counts = { runs: 0, refused: 0, failed: 0 };
  const startedMs = performance.now();
  for (let seed = command.first; seed <= command.last; seed++) {
    for (const mode of command.turns ? turnOf(seed) : command.modes) {
      const script = randomScript(seed, mode);
      const verdict = await runScript(script);
      counts.runs++;
      if (verdict.type === 'refused') counts.refused++;
      if (verdict.type !== 'failed') continue;
      counts.failed++;
      print(`FAILED seed ${seed} mode ${mode}: ${verdict.kind}`);
      const shown = command.whole ? script : await smallerScript(script, verdict.kind);
      report(shown, await runScript(shown), command, print);
    }
    if (seed % SEEDS_PER_LINE === 0) print(`seed ${seed}: ${described(counts, startedMs)}`);
  }
  print(described(counts, startedMs));
  return counts.failed === 0 ? 0 : 1;
}

interface Counts {
  readonly runs: number;
  readonly refused: number;
  readonly failed: number;
}

function described({ runs, refused, failed }: Counts, startedMs: number): string {
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  return `${runs} runs in ${seconds} s, ${refused} schemas refused, ${failed} failed`;
}

function turnOf(seed: number): readonly Mode[] {
  const at = seed % MODES.length;
  return MODES.slice(at, at + 1);
}

function report(script: Script, verdict: Verdict, { json }: Command, print: (line: string) => void): number {
  print(json ? JSON.stringify(script) : describeScript(script));
  if (verdict.type === 'failed') print(`=> ${verdict.kind}: ${verdict.detail}`);
  else print(`=> ${verdict.type}${verdict.type === 'refused' ? `: ${verdict.reason}` : ''}`);
  return verdict.type === 'failed' ? 1 : 0;
}

/** A text: what is wrong with the arguments, or the usage. */
function parse(args: readonly string[]): Command | string {
  let values;
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: {
        seeds: { type: 'string', default: '1-100' },
        mode: { type: 'string', default: 'all' },
        whole: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        replay: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    }));
  } catch (error) {
    return `${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`;
  }
  if (values.help) return USAGE;
  const range = /^(\d+)(?:-(\d+))?$/.exec(values.seeds);
  if (range === null) return `--seeds is ${values.seeds}; give one number or a range like 1-100`;
  const modes = ['all', 'turns'].includes(values.mode) ? MODES : MODES.filter((mode) => mode === values.mode);
  if (modes.length === 0) return `--mode is ${values.mode}; give all, turns or one of ${MODES.join(', ')}`;
  const first = Number(range[1]);
  const { whole, json, replay } = values;
  return {
    first,
    last: Number(range[2] ?? first),
    modes,
    turns: values.mode === 'turns',
    whole,
    json,
    replay,
  };
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  process.exitCode = await main(process.argv.slice(2), (line) => process.stdout.write(`${line}\n`));
}
