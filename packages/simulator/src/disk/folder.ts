import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** In memory where the system has such a place: nothing in here has to survive this process. */
const MEMORY = '/dev/shm';

/** A folder of its own for the databases of one run. */
export class Folder {
  readonly path = mkdtempSync(join(existsSync(MEMORY) ? MEMORY : tmpdir(), 'antiphon-simulation-'));

  fileOf(name: string): string {
    return join(this.path, `${name}.db`);
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
