/** The data of the events in a stream of server-sent events, however it comes in pieces. */
export class EventReader {
  #rest = '';

  /** Of the events that end in this piece. */
  read(piece: string): readonly string[] {
    const parts = (this.#rest + piece).split('\n\n');
    this.#rest = parts.pop() ?? '';
    return parts.flatMap((part) => {
      const lines = part.split('\n').flatMap((line) => (line.startsWith('data: ') ? [line.slice(6)] : []));
      return lines.length === 0 ? [] : [lines.join('\n')];
    });
  }
}
