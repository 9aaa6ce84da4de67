import { storeReplaced } from './state.js';
import type { FileId, Surroundings } from './surroundings.js';

/**
 * Which file stood at a path. Open connections go on with a file that was moved or deleted, where
 * nobody else sees what they write.
 */
export class FileIdentity {
  private constructor(
    private readonly path: string,
    private readonly surroundings: Pick<Surroundings, 'fileAt'>,
    private readonly opened: FileId,
  ) {}

  static async of(path: string, surroundings: Pick<Surroundings, 'fileAt'>): Promise<FileIdentity> {
    return new FileIdentity(path, surroundings, await surroundings.fileAt(path));
  }

  /**
   * STORE_REPLACED when another file, or none, stands there now. A path that cannot be looked at is
   * no finding.
   */
  async assertSame(): Promise<void> {
    let found: FileId;
    try {
      found = await this.surroundings.fileAt(this.path);
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') return;
      throw storeReplaced(`${this.path} was moved or deleted`);
    }
    if (found.dev === this.opened.dev && found.ino === this.opened.ino) return;
    throw storeReplaced(`${this.path} is another file than the one that was opened`);
  }
}
