/** What the threads share: numbers first, then the text of a statement. */
export interface WatchdogData {
  readonly shared: SharedArrayBuffer;
  readonly name: string;
  readonly blockedMs: number;
}

export const HEARTBEAT = 0;
export const IS_RUNNING = 1;
export const TEXT_LENGTH = 2;
export const TEXT_OFFSET = 16;
export const TEXT_BYTES = 1000;
