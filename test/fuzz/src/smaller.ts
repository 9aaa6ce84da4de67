import { runScript } from './run.js';
import type { Script, Step } from './script.js';

const MAX_RUNS = 400;

/**
 * The smallest script found that fails in the same way: without steps, statements and definitions
 * that the failure does not need.
 */
export async function smallerScript(script: Script, kind: string): Promise<Script> {
  let runs = 0;
  const stillFails = async (candidate: Script): Promise<boolean> => {
    if (runs++ >= MAX_RUNS) return false;
    const verdict = await runScript(candidate);
    return verdict.type === 'failed' && verdict.kind === kind;
  };
  let smallest = script;
  for (let before = ''; before !== JSON.stringify(smallest);) {
    before = JSON.stringify(smallest);
    for (const reduction of REDUCTIONS) smallest = await shortened(smallest, reduction, stillFails);
    if (runs >= MAX_RUNS) break;
  }
  return smallest;
}

/** A list in a script, and the script with another in its place. */
interface Reduction<Item> {
  get(script: Script): readonly Item[];
  set(script: Script, items: readonly Item[]): Script;
}

interface Placed {
  readonly step: number;
  readonly statement: string;
}

const REDUCTIONS: readonly Reduction<unknown>[] = [
  {
    get: ({ steps }) => steps,
    set: (script, steps) => ({ ...script, steps: steps as Step[] }),
  },
  {
    get: ({ setup }) => setup,
    set: (script, setup) => ({ ...script, setup: setup as string[] }),
  },
  {
    get: ({ steps }) =>
      steps.flatMap((step, index): Placed[] =>
        'statements' in step ? step.statements.map((statement) => ({ step: index, statement })) : [],
      ),
    set: (script, placed) => ({
      ...script,
      steps: script.steps.map((step, index) =>
        'statements' in step
          ? {
              ...step,
              statements: (placed as Placed[])
                .filter((one) => one.step === index)
                .map((one) => one.statement),
            }
          : step,
      ),
    }),
  },
  {
    get: ({ ddl }) => ddl,
    set: (script, ddl) => ({ ...script, ddl: ddl as string[] }),
  },
];

/**
 * Leaves out halves, then quarters, and so on down to single items (Zeller's ddmin, without its
 * complements).
 */
async function shortened<Item>(
  script: Script,
  { get, set }: Reduction<Item>,
  stillFails: (script: Script) => Promise<boolean>,
): Promise<Script> {
  let smallest = script;
  for (let size = Math.ceil(get(script).length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = get(smallest).length - size; from > -size; from -= size) {
      const items = get(smallest);
      const candidate = set(smallest, [...items.slice(0, Math.max(0, from)), ...items.slice(from + size)]);
      if (items.length > 0 && (await stillFails(candidate))) smallest = candidate;
    }
  }
  return smallest;
}
