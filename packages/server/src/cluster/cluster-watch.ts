import type { Replica } from '@antiphon/replica';
import type { OwnCluster } from './own-cluster.js';
import { type ClusterPicture, pictureOf } from './picture.js';

/** Between two pictures. */
const LOOK_MS = 1000;
/** While a primary is missed: what happens then is what somebody watches. */
const LOOK_OFTEN_MS = 250;

type Listener = (picture: ClusterPicture) => void;

/** Looks at the cluster again and again while somebody watches: once for all of them. */
export class ClusterWatch {
  readonly #listeners = new Set<Listener>();
  #looking: Promise<ClusterPicture> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly replica: Replica<unknown>,
    private readonly cluster: OwnCluster,
  ) {}

  /** Everybody who asks meanwhile gets the same picture. Never rejects. */
  look(): Promise<ClusterPicture> {
    this.#looking ??= pictureOf(this.replica, this.cluster).finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  /** What it returns ends it. */
  on(listener: Listener): () => void {
    this.#listeners.add(listener);
    if (this.#listeners.size === 1) void this.#round();
    else void this.look().then((picture) => this.#listeners.has(listener) && listener(picture));
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) clearTimeout(this.#timer);
    };
  }

  async #round(): Promise<void> {
    const beganMs = performance.now();
    const picture = await this.look();
    if (this.#listeners.size === 0) return;
    for (const listener of [...this.#listeners]) listener(picture);
    const everyMs = missesPrimary(picture) ? LOOK_OFTEN_MS : LOOK_MS;
    const inMs = Math.max(0, beganMs + everyMs - performance.now());
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#round(), inMs);
  }
}

function missesPrimary({ primary, members }: ClusterPicture): boolean {
  if (primary === undefined) return false;
  return members.find(({ id }) => id === primary)?.status?.lifecycle !== 'primary';
}
