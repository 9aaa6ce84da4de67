import { type PublicationEnd, type PublishedMark, type Registry, type RegistryEntry } from '@antiphon/core';

/** A stream, and which of its messages the place is that of. */
interface CopiedPlace extends PublishedMark {
  readonly created: string;
  readonly seq: number;
}

/**
 * A copy of the newest message's place in the registry. It counts only where the stream ends with
 * exactly that message and does not hold it any more: it was too old, or somebody deleted it.
 */
export class PlaceCopy {
  readonly #key: string;
  #copied: Pick<CopiedPlace, 'created' | 'seq'> | undefined;

  constructor(
    private readonly registry: Registry,
    stream: string,
  ) {
    this.#key = `published.${stream}`;
  }

  /** Undefined: nobody knows. Throws LOG_UNAVAILABLE. */
  async of({ created, seq }: Pick<PublicationEnd, 'created' | 'seq'>): Promise<PublishedMark | undefined> {
    const copy = placeIn(await this.registry.get(this.#key));
    if (copy?.created !== created || copy.seq !== seq) return undefined;
    return { id: copy.id, place: copy.place };
  }

  /** Unless it has this one, or a later one. Throws LOG_UNAVAILABLE. */
  async keep({ created, seq, last }: PublicationEnd): Promise<void> {
    if (last === undefined || (this.#copied?.created === created && this.#copied.seq === seq)) return;
    const entry = await this.registry.get(this.#key);
    const known = placeIn(entry);
    const isNewer = known?.created !== created || known.seq < seq;
    if (isNewer) {
      const value = new TextEncoder().encode(JSON.stringify({ created, seq, ...last }));
      // Whoever else writes one at this moment has a place as good.
      if (entry === undefined) await this.registry.create(this.#key, value);
      else await this.registry.update(this.#key, value, entry.revision);
    }
    this.#copied = { created, seq };
  }
}

function placeIn(entry: RegistryEntry | undefined): CopiedPlace | undefined {
  if (entry === undefined) return undefined;
  try {
    const { created, seq, id, place } = JSON.parse(
      new TextDecoder().decode(entry.value),
    ) as Partial<CopiedPlace>;
    const isComplete =
      [created, id, place].every((text) => typeof text === 'string') && Number.isSafeInteger(seq);
    return isComplete ? ({ created, seq, id, place } as CopiedPlace) : undefined;
  } catch {
    return undefined;
  }
}
