import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';

/**
 * `.antiphon/context.json`: which cluster runs in this folder. `up` and `demo` write it while they
 * run, so that `antiphon status` needs no options in the same folder or below it.
 */
const contextSchema = z.object({
  cluster: z.string(),
  servers: z.array(z.string()).min(1).readonly(),
  /** The process that runs the cluster. */
  pid: z.number().int(),
  replicas: z.array(z.object({ id: z.string(), file: z.string() })).readonly(),
});

export type ClusterContext = z.infer<typeof contextSchema>;

export const CONTEXT_FOLDER = '.antiphon';
const CONTEXT_FILE = 'context.json';

export function writeContext(folder: string, context: ClusterContext): void {
  mkdirSync(join(folder, CONTEXT_FOLDER), { recursive: true });
  writeFileSync(contextPath(folder), `${JSON.stringify(context, undefined, 2)}\n`);
}

/** Removes this process's context; one that another process has written since is left alone. */
export function removeContext(folder: string): void {
  if (readContext(folder)?.pid === process.pid) rmSync(contextPath(folder), { force: true });
}

/** The nearest context of a running cluster, from this folder upwards. */
export function findContext(folder: string): ClusterContext | undefined {
  for (let current = resolve(folder); ; current = dirname(current)) {
    const context = runningContext(current);
    if (context !== undefined) return context;
    if (dirname(current) === current) return undefined;
  }
}

/** The context of this very folder, when its cluster still runs. */
export function runningContext(folder: string): ClusterContext | undefined {
  const context = readContext(folder);
  return context !== undefined && isRunning(context.pid) ? context : undefined;
}

/** Undefined when there is none, or it is cut off or foreign. */
export function readContext(folder: string): ClusterContext | undefined {
  try {
    return contextSchema.safeParse(JSON.parse(readFileSync(contextPath(folder), 'utf8'))).data;
  } catch {
    return undefined;
  }
}

function contextPath(folder: string): string {
  return join(folder, CONTEXT_FOLDER, CONTEXT_FILE);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // It runs, and belongs to somebody else.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
