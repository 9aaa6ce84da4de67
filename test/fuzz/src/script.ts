/** Statements of one transaction, or of one program. Errors of single statements do not end it. */
export type Step =
  /** Through the library. `group`: prepared and committed as a synchronous cluster does it. */
  | { readonly type: 'library' | 'group'; readonly on: string; readonly statements: readonly string[] }
  /** By another program; BEGIN, COMMIT and SAVEPOINT are statements. */
  | {
      readonly type: 'foreign';
      readonly on: string;
      readonly foreignKeys: boolean;
      readonly recursiveTriggers: boolean;
      readonly statements: readonly string[];
    }
  /** Somebody adds a column, writes, meets the refusal, and takes the column away again. */
  | {
      readonly type: 'drift';
      readonly on: string;
      readonly statements: readonly string[];
      readonly add: string;
      readonly drop: string;
    }
  /** What lies in the outbox was written up to so long ago. */
  | { readonly type: 'age'; readonly on: string; readonly upToMs: number }
  /** The replica ends and starts again. */
  | { readonly type: 'restart'; readonly on: string }
  /** Everything everywhere, and then all is compared. */
  | { readonly type: 'sync' }
  | { readonly type: 'publish'; readonly on: string }
  | { readonly type: 'deliver'; readonly on: string; readonly entries: number };

/** A run, in full: what it does depends on nothing else. */
export interface Script {
  readonly seed: number;
  /** The second writes too: there is nothing to compare with but the other. */
  readonly writers: 1 | 2;
  readonly rowVersions: boolean;
  readonly certified: boolean;
  /** Other programs are refused. */
  readonly libraryOnly: boolean;
  /** The first one is the primary of epochs, and what it has not published can be undone. */
  readonly failover: boolean;
  readonly ddl: readonly string[];
  /** Rows that are there before there is a replica. */
  readonly setup: readonly string[];
  readonly steps: readonly Step[];
}

export function describeScript(script: Script): string {
  const { seed, writers, rowVersions, certified, libraryOnly, ddl, setup, steps } = script;
  const line = (text: string): string => `  ${text.replaceAll('\n', ' ')};`;
  return [
    `-- seed ${seed}, writers ${writers}${rowVersions ? ', row versions' : ''}${certified ? ', certified' : ''}${libraryOnly ? ', library only' : ''}`,
    ...ddl.map(line),
    ...setup.map(line),
    ...steps.flatMap((step) => [
      `-- ${describeStep(step)}`,
      ...('statements' in step ? step.statements.map(line) : []),
    ]),
  ].join('\n');
}

function describeStep(step: Step): string {
  switch (step.type) {
    case 'foreign':
      return `foreign on ${step.on}, foreign_keys ${step.foreignKeys ? 'on' : 'off'}, recursive_triggers ${step.recursiveTriggers ? 'on' : 'off'}`;
    case 'drift':
      return `drift on ${step.on}: ${step.add}; …; ${step.drop}`;
    case 'age':
      return `age on ${step.on} up to ${step.upToMs} ms`;
    case 'deliver':
      return `deliver ${step.entries} to ${step.on}`;
    case 'sync':
      return 'sync';
    default:
      return `${step.type} on ${step.on}`;
  }
}
