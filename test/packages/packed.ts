import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export interface Ended {
  readonly code: number;
  readonly output: string;
}

/** Runs a program to its end; `output` has both streams. */
export async function run(folder: string, program: string, args: readonly string[]): Promise<Ended> {
  const { NODE_OPTIONS: _, ...env } = process.env;
  const options = { cwd: folder, env, maxBuffer: 64 * 1024 * 1024 };
  try {
    const { stdout, stderr } = await promisify(execFile)(program, args, options);
    return { code: 0, output: stdout + stderr };
  } catch (error) {
    const {
      code,
      stdout = '',
      stderr = '',
    } = error as Partial<Record<'stdout' | 'stderr', string>> & {
      readonly code?: number | string;
    };
    if (typeof code !== 'number') throw error;
    return { code, output: stdout + stderr };
  }
}

/** A published package, and the tarball that npm makes of it. */
export interface Packed {
  readonly name: string;
  readonly tarball: string;
  /** What a program can import, `./internal` included; JSON files and the command are none. */
  readonly modules: readonly string[];
}

interface Manifest {
  readonly name: string;
  readonly exports: Readonly<Record<string, unknown>>;
}

/** `npm run pack`, of what is built, into a folder. */
export async function packAll(folder: string): Promise<readonly Packed[]> {
  const script = join(ROOT, 'infra', 'scripts', 'pack.mjs');
  const { code, output } = await run(ROOT, process.execPath, [script, folder, '--built']);
  const tarballs = output.split('\n').filter((line) => line.endsWith('.tgz'));
  if (code !== 0 || tarballs.length === 0) throw new Error(`Packing failed:\n${output}`);
  return Promise.all(
    tarballs.map(async (tarball) => {
      const { output: text } = await run(folder, 'tar', ['-xzOf', tarball, 'package/package.json']);
      const { name, exports } = JSON.parse(text) as Manifest;
      const modules = Object.entries(exports).flatMap(([path, targets]) =>
        typeof targets === 'string' || path === './bin' ? [] : [`${name}${path.slice(1)}`],
      );
      return { name, tarball, modules };
    }),
  );
}

export function readBytes(file: string): ArrayBuffer {
  const { buffer, byteOffset, byteLength } = readFileSync(file);
  return buffer.slice(byteOffset, byteOffset + byteLength);
}
