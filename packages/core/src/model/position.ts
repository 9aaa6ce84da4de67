/** A place in the log. `seq` is the JetStream sequence of the last entry dealt with; 0 is before the first. */
export interface Position {
  /** Identity of the stream: positions of different generations cannot be compared (I14). */
  readonly generation: string;
  readonly seq: number;
}

export function formatPosition(position: Position): string {
  return `${position.generation.slice(0, 8)}/${position.seq}`;
}
