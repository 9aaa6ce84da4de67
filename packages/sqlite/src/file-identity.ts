import { stat } from 'node:fs/promises';
import { storeReplaced } from './state.js';

/** Which file stood at a path. Open connections go on with a file that was moved or deleted, where nobody else sees what they write. */
export class FileIdentity {
  private constructor(
    private readonly path: string,
    private readonly device: bigint,
    private readonly inode: bigint,
  ) {}

  static async of(path: string): Promise<FileIdentity> {
    const { dev, ino } = await stat(path, { bigint: true });
    return new FileIdentity(path, dev, ino);
  }

  /** STORE_REPLACED when another file, or none, stands there now. A path that cannot be looked at is no finding. */
  async assertSame(): Promise<void> {
    let found: { readonly dev: bigint; readonly ino: bigint };
    try {
      found = await stat(this.path, { bigint: true });
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') return;
      throw storeReplaced(`${this.path} was moved or deleted`);
    }
    if (found.dev === this.device && found.ino === this.inode) return;
    throw storeReplaced(`${this.path} is another file than the one that was opened`);
  }
}
