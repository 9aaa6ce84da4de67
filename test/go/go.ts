import { execFile, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const execute = promisify(execFile);

/** Where Debian puts the sources of Go's libraries. ANTIPHON_GOPATH names another such folder. */
const LIBRARIES = process.env['ANTIPHON_GOPATH'] ?? '/usr/share/gocode';

/** Why programs that need these libraries cannot be built here; undefined: they can. */
export function whyNoGo(libraries: Readonly<Record<string, string>>): string | undefined {
  if (spawnSync('go', ['version']).status !== 0) return 'no go: apt-get install golang-go';
  const missing = Object.entries(libraries).filter(([path]) => !existsSync(join(LIBRARIES, 'src', path)));
  if (missing.length === 0) return undefined;
  return `no ${missing.map(([path]) => path).join(', ')}: apt-get install ${missing.map(([, name]) => name).join(' ')}`;
}

/** A program of one file, built. */
export class GoProgram implements Disposable {
  readonly binary: string;

  private constructor(private readonly folder: string) {
    this.binary = join(folder, 'program');
  }

  /** Blocks no thread: a replica of this process would lose its lease while it is built. */
  static async build(source: string): Promise<GoProgram> {
    const program = new GoProgram(mkdtempSync(join(tmpdir(), 'antiphon-go-')));
    const { binary, folder } = program;
    const file = join(folder, 'main.go');
    writeFileSync(file, source);
    const env = { ...process.env, GO111MODULE: 'off', GOPATH: LIBRARIES, GOFLAGS: '' };
    try {
      await execute('go', ['build', '-o', binary, file], { env, cwd: folder });
    } catch (error) {
      program[Symbol.dispose]();
      throw error;
    }
    return program;
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
