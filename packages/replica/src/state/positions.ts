import type { Clock, Gap, StoreState } from '@antiphon/core';

/**
 * What positions have to know of the database: as of its last commit, and what it was told since.
 */
type Committed = Pick<StoreState, 'position' | 'gaps'>;

/** The end of the log, as it was at `asOfMs` of the monotonic clock, or later. */
interface Look {
  readonly seq: number;
  readonly asOfMs: number;
}

const MAX_LOOKS = 64;

/**
 * How far this replica is in the log: sequence numbers of entries, in one place. At any time
 *
 *     durable ≤ applied ≤ passed ≤ end   and   observed ≤ end
 *
 * in the sense of the getters below. `durable` and `applied` fall when a gap is noted; a position
 * never counts as applied beyond something that is missing here (I6). A group that is committed in
 * place is passed before it is observed.
 */
export class Positions {
  /** The last entry up to which a commit of this process has put everything on the disk. */
  #committedSeq: number;
  #observedSeq: number;
  #skippedSeq = 0;
  #endSeq = 0;
  #endSeenAtMs = 0;
  /** Ends of the log that are not applied yet, the oldest first. */
  #looks: readonly Look[] = [];
  #lookSpacingMs = 0;
  /** Everything that the log held then is applied here. */
  #freshAtMs = -Infinity;
  #inStepAtMs: number;
  #gaps: readonly Gap[] = [];
  #firstGapSeq = Infinity;
  readonly #endListeners = new Set<(seq: number) => void>();

  constructor(
    private readonly committed: () => Committed,
    private readonly clock: Clock,
  ) {
    const { seq } = committed().position;
    this.#committedSeq = seq;
    this.#observedSeq = seq;
    this.#inStepAtMs = clock.monotonicMs();
  }

  /**
   * The log up to here is on the disk, with everything of it that is to be applied: what this
   * replica acknowledges.
   */
  get durable(): number {
    return this.completeUpTo(this.#committedSeq);
  }

  /** Everything up to here that is to be applied is applied, perhaps not yet on the disk. */
  get applied(): number {
    return this.completeUpTo(this.passed);
  }

  /** Dealt with: applied, quarantined, or without effect here; or noted as a gap. Never falls. */
  get passed(): number {
    return Math.max(this.#skippedSeq, this.committed().position.seq);
  }

  /** Read, in log order, before anything was decided about it. Never falls. */
  get observed(): number {
    return this.#observedSeq;
  }

  /** The end of the log as it was last seen. Falls when the log has lost its end. */
  get end(): number {
    return Math.max(this.#endSeq, this.passed, this.#observedSeq);
  }

  /** Wall time, ms; 0 before the first look. */
  get endSeenAtMs(): number {
    return this.#endSeenAtMs;
  }

  /** Up to `seq`, but for what comes from the first gap on. */
  completeUpTo(seq: number): number {
    const { gaps } = this.committed();
    if (gaps !== this.#gaps) {
      this.#gaps = gaps;
      this.#firstGapSeq = Math.min(Infinity, ...gaps.map((gap) => gap.seq));
    }
    return Math.min(seq, this.#firstGapSeq - 1);
  }

  /** On the disk by a commit. */
  commit(seq: number): void {
    this.#committedSeq = Math.max(this.#committedSeq, seq);
  }

  observe(seq: number): void {
    this.#observedSeq = Math.max(this.#observedSeq, seq);
  }

  /**
   * No reader shows it, so nothing else would ever move a position past it: the log's own first
   * record.
   */
  skip(seq: number): void {
    this.#skippedSeq = Math.max(this.#skippedSeq, seq);
  }

  /** Entries between `passed` and `end`. */
  get lagEntries(): number {
    return this.end - this.passed;
  }

  /** Since this replica was last in step; 0 when it is. */
  get lagSeconds(): number {
    if (this.lagEntries === 0) return 0;
    return (this.clock.monotonicMs() - this.#inStepAtMs) / 1000;
  }

  inStep(): void {
    this.#inStepAtMs = this.clock.monotonicMs();
  }

  /**
   * Everything that the log held at this moment, monotonic, is applied here; -Infinity until that
   * was seen once. Bounded by how often the log's end is looked at.
   */
  get freshAtMs(): number {
    this.#judgeLooks();
    return this.#freshAtMs;
  }

  /** Far behind, a coarser memory will do. */
  #noteLook(look: Look): void {
    const last = this.#looks.at(-1);
    if (last === undefined) this.#lookSpacingMs = 0;
    else if (look.asOfMs - last.asOfMs < this.#lookSpacingMs) return;
    this.#looks = [...this.#looks, look];
    if (this.#looks.length < MAX_LOOKS) return;
    const [first = look] = this.#looks;
    this.#looks = this.#looks.filter((_, index) => index % 2 === 0);
    this.#lookSpacingMs = (look.asOfMs - first.asOfMs) / this.#looks.length;
  }

  #judgeLooks(): void {
    const { applied } = this;
    const open = this.#looks.findIndex(({ seq }) => seq > applied);
    const reached = open < 0 ? this.#looks : this.#looks.slice(0, open);
    if (reached.length === 0) return;
    this.#freshAtMs = Math.max(this.#freshAtMs, ...reached.map(({ asOfMs }) => asOfMs));
    this.#looks = this.#looks.slice(reached.length);
  }

  /** `asOfMs`: no entry that was there at this moment is behind it; absent where nobody looked. */
  sawEnd(seq: number, asOfMs?: number): void {
    this.#endSeq = seq;
    if (asOfMs !== undefined) {
      this.#judgeLooks();
      if (this.applied >= seq) this.#freshAtMs = Math.max(this.#freshAtMs, asOfMs);
      else this.#noteLook({ seq, asOfMs });
    }
    this.#endSeenAtMs = this.clock.nowMs();
    for (const listener of [...this.#endListeners]) listener(seq);
  }

  onEnd(listener: (seq: number) => void): () => void {
    this.#endListeners.add(listener);
    return () => void this.#endListeners.delete(listener);
  }
}
